"""The files that a decoding leaves: words, scores, the table of actual and decoded words, the report."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurolm.checks import bad_file
from neurolm.progress import say
from neurolm.statistics import p_equals
from neurolm.storage import read_json, write_text

if TYPE_CHECKING:
    from neurolm.decoding import DecodingEvaluation, WindowScores
    from neurolm.decoding.beam_search import SearchResult
    from neurolm.stimuli import Transcript
    from neurolm.workflows.decoding_config import DecodingConfig

N_KEPT = 10  # hypotheses of the last beam that are kept beside the best


def write_words(folder: Path, found: SearchResult, *, end_s: float) -> dict[str, Any]:
    """words.csv and words.TextGrid; what search.json says of the search."""
    from neurolm.stimuli import write_csv, write_textgrid

    write_csv(found.transcript, folder / "words.csv")
    write_textgrid(found.transcript, folder / "words.TextGrid", end_s=end_s)
    return {
        "story": found.story,
        "word_times": found.word_times,
        "hypotheses": [
            {"words": h.words, "log_likelihood": h.log_likelihood, "log_probability": h.log_probability}
            for h in found.hypotheses[:N_KEPT]
        ],
        "candidates": found.n_candidates,
        "relaxed": {str(word): rule for word, rule in found.relaxed.items()},
    }


def read_words(folder: Path) -> Transcript:
    """The decoded words, from search.json."""
    from neurolm.stimuli import Transcript

    path = folder / "search.json"
    if not path.is_file():
        raise bad_file(path, "no such file", "Run `neurolm decode CONFIG --stage search` first.")
    found = read_json(path)
    times = np.array(found["word_times"])
    return Transcript(tuple(found["hypotheses"][0]["words"]), times, times, name=found["story"] or "decoded")


def write_evaluation(
    folder: Path, evaluation: DecodingEvaluation, config: DecodingConfig, notes: Sequence[str], is_simulated: bool
) -> dict[str, Any]:
    """scores.csv, windows.csv, table.csv, table.txt, figures and report.html; what scores.json says."""
    from neurolm.report.decoding_page import decoding_page, decoding_pictures, verdict

    summary = evaluation.summary()
    tables = {"circular shift": evaluation.scores, "random likelihood": evaluation.published_null}
    scores = [{"null": kind, **row} for kind, one in tables.items() if one is not None for row in one.table()]
    write_text(folder / "scores.csv", csv_text(scores))
    write_text(folder / "windows.csv", csv_text(window_rows(evaluation.scores)))
    write_text(folder / "table.csv", csv_text(evaluation.comparison.to_records()))
    write_text(folder / "table.txt", evaluation.comparison.to_text() + "\n")
    pictures = decoding_pictures(evaluation.scores, evaluation.comparison)
    for name, picture in pictures.items():
        picture.save(folder.parent / "figures", name)
    settings = config.model_dump(mode="json", exclude={"output"})
    page = decoding_page(
        config.title or f"Words of {config.subject or 'a simulated listener'}",
        summary,
        evaluation.comparison,
        pictures,
        notes=notes,
        settings=settings,
        is_simulated=is_simulated,
    )
    page.write(folder.parent / "report.html")
    for row in evaluation.scores.table():
        beside = ""
        if "story_p" in row:
            p = p_equals(float(row["story_p"]), 1 / (1 + int(row["n_null"])))
            beside = f", null {row['null_mean']:.3f}, z {row['story_z']:.1f}, {p}"
        say(f"{row['label']}: {row['story']:.3f}{beside}")
    say(verdict(summary))
    say(f"report: {folder.parent / 'report.html'}")
    return {"summary": summary, "settings": settings, "notes": list(notes)}


def window_rows(scores: WindowScores) -> list[dict[str, Any]]:
    """One row per window: every score, with nulls its null mean, z, p and q."""
    rows: list[dict[str, Any]] = [{"centre_s": float(centre)} for centre in scores.centres]
    for name, values in scores.scores.items():
        columns: dict[str, np.ndarray] = {name: values}
        if name in scores.null:
            columns |= {f"{name}_null": scores.null[name].mean(axis=0), f"{name}_z": scores.window_z(name)}
            columns |= {f"{name}_p": scores.window_p(name), f"{name}_q": scores.window_q(name)}
        for column, numbers in columns.items():
            for row, number in zip(rows, numbers.tolist()):
                row[column] = number
    return rows


def csv_text(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as CSV with a header; `n/a` for what is not known, as BIDS has it."""
    rows = list(rows)
    out = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = csv.writer(out, lineterminator="\n")
    table.writerow(names)
    table.writerows([_cell(row.get(name, float("nan"))) for name in names] for row in rows)
    return out.getvalue()


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "n/a" if value != value else f"{value:.6g}"

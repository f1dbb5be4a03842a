"""The report of a decoding: scores beside chance, the table of words, why it errs, and how it was made."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from neurolm.report.analysis_sections import decoder_section
from neurolm.report.decoded_words_figure import decoded_words
from neurolm.report.decoder_table import DecodedWindow
from neurolm.report.decoding_figures import score_over_time
from neurolm.report.figures import Picture
from neurolm.report.markup import details, element, number, probability, table
from neurolm.report.page import Page, Section, figure, paragraphs
from neurolm.statistics import p_equals

if TYPE_CHECKING:
    from neurolm.decoding.gist import Comparison
    from neurolm.decoding.window_scores import WindowScores

OVER_TIME = ("bertscore", "embedding_recall", "meteor", "bleu1")  # the first of these that was scored is drawn


def decoding_pictures(scores: WindowScores, comparison: Comparison) -> dict[str, Picture]:
    """The figures under their file names."""
    name = next((name for name in OVER_TIME if name in scores.scores), next(iter(scores.scores)))
    null = scores.null.get(name)
    significant = scores.window_q(name) < 0.05 if null is not None else None
    over_time = score_over_time(
        scores.centres, scores.scores[name], label=scores.labels.get(name, name), null=null, is_significant=significant
    )
    return {"decoding-over-time": over_time, "decoding-words": decoded_words(as_windows(comparison))}


def as_windows(comparison: Comparison) -> list[DecodedWindow]:
    """The compared windows as the table shows them."""
    return [
        DecodedWindow(start_s=w.start_s, end_s=w.end_s, heard=w.heard, decoded=w.decoded, marks=w.marks, scores=w.scores)
        for w in comparison.windows
    ]


def decoding_page(
    title: str,
    summary: Mapping[str, Any],
    comparison: Comparison,
    pictures: Mapping[str, Picture],
    *,
    notes: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    is_simulated: bool = False,
) -> Page:
    """Put the page together.

    Parameters
    ----------
    summary : mapping
        `DecodingEvaluation.summary()`.
    notes : sequence of str
        What a reader must know, for example that an encoder was not available.
    settings : mapping, optional
        The config, shown as it was.
    """
    sections = [
        decoder_section(as_windows(comparison), verdict=comparison.rule, over_time=pictures["decoding-over-time"]),
        Section("picture", "The table as a picture", (figure(pictures["decoding-words"], "decoding-words", comparison.rule),)),
        _scores_section(summary),
        _errors_section(summary),
    ]
    if settings is not None or notes:
        text = element("pre", json.dumps(settings, indent=1, sort_keys=True))
        sections.append(Section("how", "How was it made?", (paragraphs(*notes), details("The config", text))))
    warning = "A listener with planted weights and noise: nobody was measured." if is_simulated else ""
    return Page(kind="Decoding report", title=title, verdict=verdict(summary), sections=tuple(sections), warning=warning)


def verdict(summary: Mapping[str, Any]) -> str:
    """What was found, in a sentence or two."""
    words, chance = summary["words"], summary.get("words_by_chance", {})
    exact, gist = (f"{words[mark]:.0%} are {mark}{_by_chance(chance.get(mark))}" for mark in ("exact", "gist"))
    text = f"Of the decoded words {exact}, {gist} and {words['error']:.0%} neither."
    judged = [row for row in summary["scores"] if "story_p" in row]
    if judged:
        text += f" {_above_chance(judged)}"
    return text


def _by_chance(found: Mapping[str, Any] | None) -> str:
    """What null decodes have of these words, and p."""
    if found is None:
        return ""
    return f" (decodes of shifted BOLD {found['mean']:.0%}, {p_equals(found['p'], 1 / (1 + found['n_null']))})"


def _above_chance(judged: Sequence[Mapping[str, Any]]) -> str:
    fewest = min(row.get("n_null", 19) for row in judged)
    if fewest < 19:
        return f"With {fewest} decodes of shifted BOLD no p can reach .05: nothing could have been found. Ask for 19 or more."
    good = ", ".join(str(row["label"]) for row in judged if row["story_p"] <= 0.05)
    if good:
        return f"Above decodes of shifted BOLD at p ≤ .05, each score by itself: {good}."
    return "No score is above that of decodes of shifted BOLD at p ≤ .05."


def _scores_section(summary: Mapping[str, Any]) -> Section:
    header = ("Score", "Story", "Null", "z", "p", "Windows with q < .05")
    children: list[Any] = [_score_table(summary["scores"], header, "Against decodes of the same BOLD rolled in time.")]
    if summary.get("published_null"):
        caption = "Against random likelihoods, the published null: it ignores that a likelihood prefers some words."
        children.append(_score_table(summary["published_null"], header, caption))
    found = summary.get("identification")
    if found:
        children.append(
            element(
                "p",
                f"Windows identified by their words: mean percentile rank {found['mean_percentile_rank']:.2f} over "
                f"{found['n_windows']} windows (chance .5, {p_equals(found['p_value'], _smallest(found))}).",
            )
        )
    return Section("scores", "How good is it?", tuple(children))


def _score_table(rows: Sequence[Mapping[str, Any]], header: Sequence[str], caption: str) -> Any:
    cells = (
        (
            row["label"],
            number(row["story"], 3),
            number(row.get("null_mean"), 3),
            number(row.get("story_z"), 1),
            probability(row.get("story_p"), _smallest(row)),
            f"{row['windows_q05']:.0%}" if _is_number(row.get("windows_q05")) else "n/a",
        )
        for row in rows
    )
    if any("windows_q05" in row and not _is_number(row["windows_q05"]) for row in rows):
        caption += " Windows: n/a where so few null decodes could have shown nothing in any of them."
    return table(header, cells, caption=caption)


def _smallest(found: Mapping[str, Any]) -> float:
    """The least p that its null decodes or permutations can give; 0 where their number is not known."""
    return 1 / (1 + found["n_null"]) if found.get("n_null") else 0.0


def _is_number(value: Any) -> bool:
    return value is not None and math.isfinite(value)


def _errors_section(summary: Mapping[str, Any]) -> Section:
    error = summary["error"]
    gain = error["heard"] - error["decoded"]
    text = (
        f"Log-likelihood of the BOLD: {error['heard']:.1f} under the words heard, {error['decoded']:.1f} under those decoded "
        f"(difference {gain:+.1f}): {error['kind']}."
    )
    meaning = (
        "Search error: the true words are likelier, and the search lost them. Model error: the encoding model prefers its output."
    )
    forced = summary.get("teacher_forced")
    ranked = (
        f"After the true words, the language model proposes {forced['coverage']:.0%} of the true next words: a text "
        f"that follows the true words can add no others. By likelihood the true word ranks above {forced['percentile_rank']:.0%} of the "
        f"other candidates (chance 50%)."
        if forced
        else ""
    )
    return Section("errors", "Why does it err?", (paragraphs(text, meaning, ranked),))

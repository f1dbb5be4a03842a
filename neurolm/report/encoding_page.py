"""The page of an encoding analysis, section by section: alignment before any result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neurolm.report import alignment_figures, encoding_figures
from neurolm.report.alignment import StoryAlignment
from neurolm.report.encoding_report import EncodingReport, LayerScores
from neurolm.report.figures import Picture
from neurolm.report.markup import MISSING, Markup, bullets, details, element, facts, interval, join, number, probability, table
from neurolm.report.methods import cited, methods_paragraph
from neurolm.report.page import Page, Section, figure, file_link, light_list, panels, paragraphs
from neurolm.report.references import bibtex
from neurolm.report.surface_figure import surface_figure, surface_section
from neurolm.report.verdict import lights, shown, verdict

MOST_CURVES = 24  # more regions than this are drawn as one map of colours
MOST_STORIES = 12  # pictures of more stories than this would make the page heavy

_SEVERITY = {"failed": 0, "warning": 1, "ok": 2}


def write_report(report: EncodingReport, path: str | Path, *, figures: str | Path | None = None) -> Path:
    """Write an encoding analysis as one self-contained HTML file.

    Parameters
    ----------
    report : EncodingReport
    path : path
        Of the HTML file; written as a whole.
    figures : path, optional
        Folder for every figure as SVG and PDF and its numbers as CSV.

    Returns
    -------
    path : Path
    """
    if figures is not None:
        for name, picture in report_pictures(report).items():
            picture.save(figures, name)
    return report_page(report).write(path)


def report_page(report: EncodingReport) -> Page:
    """The whole page of a report."""
    why = report.dataset.simulated_because or "No real data were analysed."
    return Page(
        kind="Encoding report",
        title=report.title,
        verdict=verdict(report),
        lights=lights(report),
        warning=f"{why} Nothing on this page is a finding about people." if report.dataset.is_simulated else "",
        sections=(
            Section("analysed", "What was analysed", _analysed(report)),
            Section("alignment", "Do words and BOLD fit together?", _alignment(report)),
            Section("results", "How well is each region predicted?", _results(report)),
            *([surface_section(report.surface)] if report.surface is not None else []),
            *_listeners(report),
            *report.sections,
            *_penalties(report),
            Section("methods", "Methods", _methods(report)),
            Section("provenance", "Settings, versions and inputs", _provenance(report)),
        ),
    )


def report_pictures(report: EncodingReport) -> dict[str, Picture]:
    """Every figure of the page under its file name, many-panelled ones as one figure."""
    pictures: dict[str, Picture] = {}
    if report.alignment:
        pictures["run-spans"] = alignment_figures.run_spans(report.alignment)
    for i, story in enumerate(report.alignment):
        pictures[f"word-rate-and-bold-{i + 1}"] = alignment_figures.word_rate_above_bold(story)
        if story.lags is not None:
            pictures[f"lag-curve-{i + 1}"] = alignment_figures.lag_curve(story.lags, story=story.story)
    for i, scores in enumerate(report.scores):
        pictures[f"regions-{i + 1}"] = encoding_figures.region_summary(scores, report.regions)
        many = len(report.regions) > MOST_CURVES
        draw = encoding_figures.layer_map if many else encoding_figures.layer_curves
        pictures[f"layers-{i + 1}"] = draw(scores, report.regions)
    if report.surface is not None:
        pictures["surface"] = surface_figure(report.surface)
    if report.listeners is not None:
        pictures["listeners"] = encoding_figures.listener_strip(report.listeners, report.scores[-1], report.regions)
    if report.alphas is not None:
        pictures["alphas"] = encoding_figures.alpha_histogram(report.alphas)
    return pictures


def _analysed(report: EncodingReport) -> tuple[Any, ...]:
    dataset, m = report.dataset, report.methods
    model = f"{m.model}, {m.n_model_layers} layers of {m.n_units} units" if m.n_model_layers and m.n_units else m.model
    tested = report.scores[0].layers
    pairs = {
        "Data set": dataset.name,
        "Task": dataset.task,
        "Subjects": _counted(dataset.subjects),
        "Stories": _counted(dataset.stories),
        "Words and volumes": f"{dataset.n_words:,} words, {dataset.n_trs:,} volumes per subject, TR {dataset.tr:g}\u00a0s",
        "Regions": _counted(report.regions),
        "Language model": model,
        "Layers": f"{', '.join(map(str, tested))} (0 = embeddings)" if len(tested) <= 40 else f"{len(tested)} layers",
        "Source": dataset.source,
        "Licence": dataset.licence,
    }
    left_out = [join((element("strong", what), f": {why}")) for what, why in dataset.left_out.items()]
    return (
        facts({name: value for name, value in pairs.items() if value}),
        element("h3", "Left out") if left_out else None,
        bullets(left_out),
        element("h3", "Known about these data") if dataset.known_problems else None,
        bullets(dataset.known_problems),
        *(paragraphs(note) for note in report.notes),
    )


def _counted(names: tuple[str, ...], most: int = 12) -> str:
    listed = ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
    return listed if len(names) == 1 else f"{len(names)}: {listed}"


def _alignment(report: EncodingReport) -> tuple[Any, ...]:
    if not report.alignment:
        return (paragraphs("No alignment check was made. A shifted transcript gives low scores without any error."),)
    spans = alignment_figures.run_spans(report.alignment)
    caption = "Seconds with words and seconds with measured rows. What lies before the first row was heard but not measured."
    # Those with problems first: where there are too many stories, these must not be missed.
    worst = sorted(enumerate(report.alignment), key=lambda pair: _SEVERITY[pair[1].status])
    stories = [join((element("h3", story.story), _story(story, i))) for i, story in worst[:MOST_STORIES]]
    left = (
        f"{len(worst) - MOST_STORIES} more stories, none of them worse than these, are in the table above; "
        "the folder of figures has a picture of each."
        if len(worst) > MOST_STORIES
        else ""
    )
    return (figure(spans, "run-spans", caption), _story_table(report.alignment), *stories, paragraphs(left))


def _story_table(stories: tuple[StoryAlignment, ...]) -> Markup:
    rows = (
        (
            s.story,
            s.status if s.findings else "not checked",
            f"{s.n_words:,}",
            f"{s.n_words_before:,}",
            f"{s.n_words_after:,}",
            f"{len(s.tr_times):,}",
            interval(*s.measured_s, 1),
            number(np.mean(s.word_rate)),
            number(s.lags.best_lag_s, 1) if s.lags else MISSING,
            probability(s.lags.p) if s.lags else MISSING,
            "; ".join(s.dropped) or "nothing",
        )
        for s in stories
    )
    header = ("Story", "Check", "Words", "before", "after", "Rows", "Measured (s)", "Words/TR", "Best lag (s)", "p", "Dropped")
    return table(
        header,
        rows,
        caption="Words before the first and after the last measured row; the lag at which BOLD follows the word rate best.",
        text_columns=(0, 1, 10),
    )


def _story(story: StoryAlignment, i: int) -> Markup:
    caption = "Words in each TR above the BOLD, averaged over regions and subjects" + (
        ", with one standard deviation." if story.bold_sd is not None else "."
    )
    lag_caption = (
        "Word rate against BOLD at each lag. The peak must lie some seconds after the words and above the dashed line; "
        "a peak elsewhere means that words and BOLD are shifted."
    )
    return join(
        (
            light_list(story.findings),
            figure(alignment_figures.word_rate_above_bold(story), f"word-rate-and-bold-{i + 1}", caption),
            figure(alignment_figures.lag_curve(story.lags, story=story.story), f"lag-curve-{i + 1}", lag_caption)
            if story.lags
            else None,
            _words_by_tr(story),
        )
    )


def _words_by_tr(story: StoryAlignment, n_most: int = 400) -> Markup | None:
    if story.words_by_tr is None:
        return None
    rows = [
        (f"{i}", number(time, 1), words, number(bold))
        for i, (time, words, bold) in enumerate(zip(story.tr_times, story.words_by_tr, story.bold_mean, strict=True))
    ][:n_most]
    part = "" if len(rows) == len(story.tr_times) else f" (first {n_most} of {len(story.tr_times):,} rows)"
    caption = f"Every measured row with the words heard in it{part}."
    return details(
        "Words in each row",
        table(("Row", "Time (s)", "Words", "BOLD (z)"), rows, caption=caption, text_columns=(2,)),
        is_printed=False,
    )


def _results(report: EncodingReport) -> tuple[Any, ...]:
    baselines = {b.name: b.description for scores in report.scores for b in scores.baselines if b.description}
    return (
        *(join(_scores(report, scores, i)) for i, scores in enumerate(report.scores)),
        element("h3", "What the baselines are") if baselines else None,
        facts(baselines) if baselines else None,
    )


def _scores(report: EncodingReport, scores: LayerScores, i: int) -> Iterator[Markup | None]:
    yield element("h3", _heading(scores.who))
    caption = _summary_caption(report, scores)
    yield figure(encoding_figures.region_summary(scores, report.regions), f"regions-{i + 1}", caption)
    yield _score_table(report, scores)
    if len(report.regions) > MOST_CURVES:
        picture = encoding_figures.layer_map(scores, report.regions)
        yield figure(picture, f"layers-{i + 1}", "Held-out correlation of every region and layer (0 = embeddings).")
    elif len(scores.layers) > 1:
        limits = encoding_figures.score_limits([scores])
        curves = [encoding_figures.layer_curve(scores, report.regions, r, limits) for r in range(len(report.regions))]
        whole = encoding_figures.curve_table(scores, report.regions)
        yield panels(curves, f"layers-{i + 1}", _curve_caption(report, scores), whole, encoding_figures.curve_key(scores))


def _heading(who: str) -> str:
    return who[:1].upper() + who[1:]


def _summary_caption(report: EncodingReport, scores: LayerScores) -> str:
    parts = [f"Correlation of predicted with held-out BOLD of the {scores.who}, at the layer named in the table."]
    if scores.ceiling_name:
        parts.append(f"Ceiling: {scores.ceiling_name}.")
    if scores.interval is not None and (scores.interval_name or report.methods.interval):
        parts.append(f"Interval: {scores.interval_name or report.methods.interval}.")
    return " ".join(parts)


def _curve_caption(report: EncodingReport, scores: LayerScores) -> str:
    n_null = scores.n_null or report.methods.n_null
    null = f" Grey band: the null{f' ({n_null:,} draws)' if n_null else ''}." if scores.null is not None else ""
    return f"Held-out correlation by layer (0 = embeddings). The ring marks the layer of the table.{null}"


def _score_table(report: EncodingReport, scores: LayerScores) -> Markup:
    now = shown(scores)
    ceiling = np.full(len(report.regions), np.nan) if scores.ceiling is None else scores.ceiling
    header = ("Region", "Layer", "r", "Interval", "Ceiling", "r / ceiling", "p", "q", *(f"{b.name}, r" for b in scores.baselines))
    rows = (
        (
            region,
            now.layer(scores, j),
            number(now.r[j]),
            interval(now.low[j], now.high[j]),
            number(ceiling[j]),
            number(now.share[j]),
            probability(now.p[j]),
            probability(now.q[j]),
            *(number(b.r[j]) for b in scores.baselines),
        )
        for j, region in enumerate(report.regions)
    )
    how = (
        f"The layer was chosen {scores.chosen.how}."
        if scores.chosen is not None
        else "The layer with the highest r, chosen on these scores; p and q are not corrected for that choice."
        if len(scores.layers) > 1
        else ""
    )
    return table(header, rows, caption=f"{_heading(scores.who)}, region by region. {how} q: false discovery rate over regions.")


def _listeners(report: EncodingReport) -> tuple[Section, ...]:
    listeners = report.listeners
    if listeners is None or len(listeners.names) < 2:
        return ()
    scores = report.scores[-1]
    values = encoding_figures.pick(listeners.r, encoding_figures.best_layers(scores))
    rows = [(name, *(number(v) for v in row)) for name, row in zip(listeners.names, values, strict=True)]
    caption = "Held-out correlation of every listener, at the layer of the last table above."
    counts = []
    for name, baseline in listeners.baselines.items():
        better = [f"{region} {int((values[:, j] > baseline[:, j]).sum())}" for j, region in enumerate(report.regions)]
        counts.append(f"Listeners (of {len(rows)}) in whom the language model scores higher than {name}: {', '.join(better)}.")
    picture = encoding_figures.listener_strip(listeners, scores, report.regions)
    children = (
        figure(picture, "listeners", "Every dot is a listener, sorted within each region; the line is their mean."),
        paragraphs(*counts),
        details("Listener by listener", table(("Listener", *report.regions), rows, caption=caption)),
    )
    return (Section("listeners", "Listener by listener", children),)


def _penalties(report: EncodingReport) -> tuple[Section, ...]:
    if report.alphas is None:
        return ()
    caption = "How often each penalty was chosen, over folds, layers, regions and listeners."
    light = [light for light in lights(report) if light.name == "Penalties"]
    children = (light_list(light), figure(encoding_figures.alpha_histogram(report.alphas), "alphas", caption))
    return (Section("penalties", "Ridge penalties", children),)


def _methods(report: EncodingReport) -> tuple[Any, ...]:
    works = cited(report)
    text = bibtex(works)
    return (
        element("p", methods_paragraph(report)),
        element("h3", "References"),
        bullets((work.text for work in works), class_="references"),
        details("BibTeX", element("pre", text, tabindex=0), file_link(text, "references.bib", "Save references.bib")),
    )


def _provenance(report: EncodingReport) -> tuple[Any, ...]:
    made = report.provenance
    settings = [(key, _value(value)) for key, value in flattened(made.settings)]
    stages = [(name, number(seconds, 1)) for name, seconds in made.stages_s.items()]
    if stages:
        stages.append(("all", number(sum(made.stages_s.values()), 1)))
    hashes = [(name, element("span", digest, class_="hash")) for name, digest in made.inputs.items()]
    return (
        table(("Stage", "Seconds"), stages, caption="Run time.") if stages else None,
        facts(dict(made.machine)) if made.machine else None,
        details("Settings", table(("Setting", "Value"), settings, caption="The resolved config.", text_columns=(0, 1)))
        if settings
        else None,
        details("Software", table(("Package", "Version"), made.versions.items(), caption="Versions.", text_columns=(0, 1)))
        if made.versions
        else None,
        details("Inputs", table(("File", "SHA-256"), hashes, caption="Hashes of the inputs.", text_columns=(0, 1)))
        if hashes
        else None,
    )


def flattened(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings as (dotted key, value), in order."""
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _value(value: Any) -> str:
    if isinstance(value, float) and not np.isfinite(value):
        return MISSING
    if isinstance(value, (list, tuple)):
        return ", ".join(_value(v) for v in value)
    return str(value)

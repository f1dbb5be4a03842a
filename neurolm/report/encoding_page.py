"""The page of an encoding analysis, section by section: alignment before any result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from neurolm.report.alignment_section import alignment_pictures, alignment_section
from neurolm.report.encoding_report import EncodingReport
from neurolm.report.figures import Picture
from neurolm.report.markup import MISSING, bullets, details, element, facts, join, number, table
from neurolm.report.methods import cited, methods_paragraph
from neurolm.report.page import Page, Section, file_link, paragraphs
from neurolm.report.references import bibtex
from neurolm.report.score_sections import result_sections, score_pictures
from neurolm.report.surface_figure import surface_figure, surface_section
from neurolm.report.verdict import lights, verdict


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
    results, *others = result_sections(report)
    return Page(
        kind="Encoding report",
        title=report.title,
        verdict=verdict(report),
        lights=lights(report),
        warning=f"{why} Nothing on this page is a finding about people." if report.dataset.is_simulated else "",
        sections=(
            Section("analysed", "What was analysed", _analysed(report)),
            alignment_section(report.alignment),
            results,
            *([surface_section(report.surface)] if report.surface is not None else []),
            *others,
            *report.sections,
            Section("methods", "Methods", _methods(report)),
            Section("provenance", "Settings, versions and inputs", _provenance(report)),
        ),
    )


def report_pictures(report: EncodingReport) -> dict[str, Picture]:
    """Every figure of the page under its file name, many-panelled ones as one figure."""
    pictures = alignment_pictures(report.alignment) | score_pictures(report)
    if report.surface is not None:
        pictures["surface"] = surface_figure(report.surface)
    return pictures | dict(report.pictures)


def _analysed(report: EncodingReport) -> tuple[Any, ...]:
    dataset, m = report.dataset, report.methods
    model = f"{m.model}, {m.n_model_layers} layers of {m.n_units} units" if m.n_model_layers and m.n_units else m.model
    tested, n_regions = report.scores[0].layers, len(report.regions)
    pairs = {
        "Data set": dataset.name,
        "Task": dataset.task,
        "Subjects": _counted(dataset.subjects),
        "Stories": _counted(dataset.stories),
        "Words and volumes": f"{dataset.n_words:,} words, {dataset.n_trs:,} volumes per subject, TR {dataset.tr:g}\u00a0s",
        report.columns.capitalize(): _counted(report.regions) if report.columns == "regions" else f"{n_regions:,}",
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


def _methods(report: EncodingReport) -> tuple[Any, ...]:
    works = cited(report)
    text = bibtex(works)
    return (
        element("p", methods_paragraph(report)),
        element("h3", "References"),
        bullets((work.text for work in works), class_="references"),
        details(
            "BibTeX", element("pre", text, tabindex=0), file_link(text, "references.bib", "Save references.bib"), is_printed=False
        ),
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

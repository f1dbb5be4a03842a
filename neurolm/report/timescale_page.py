"""The page of an analysis of timescales: one section for each estimator, and what listeners share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from neurolm.brain.space import place_names
from neurolm.report.analysis_sections import timescale_pictures, timescale_section
from neurolm.report.figures import Picture
from neurolm.report.markup import element, facts, interval, number, probability, table
from neurolm.report.page import Page, Section, csv_link
from neurolm.report.resolution import could_be_found
from neurolm.report.timescale_figures import MOST_PANELS

if TYPE_CHECKING:
    from neurolm.timescales.window_result import WindowResult


@dataclass(frozen=True)
class _Told:
    """How an estimator is described: its heading, how it works, what its curve and its index are called."""

    title: str
    intro: str
    score: str
    window: str = "window"
    scale: str = "context"
    tested: str = "prediction"


TOLD = {
    "context": _Told(
        "How much context does the prediction need?",
        "Encoding models were refitted on hidden states that saw exactly so many words. The window is the least context at "
        "which held-out correlation reaches 95% of its highest value.",
        "held-out r",
    ),
    "surprisal": _Told(
        "How much context does surprisal need?",
        "The same for one number: the surprisal of each word given so many words before it, less its mean, so that it does "
        "not count words.",
        "held-out r",
    ),
    "bands": _Told(
        "Which timescales of the features predict?",
        "Features were split into bands of timescales that add up to them, looking at the past only. A region's timescale is "
        "the mean log timescale of the bands, weighted by what each explains of held-out variance.",
        "share of variance",
        "timescale",
        "band",
    ),
    "scramble": _Told(
        "How large must unbroken pieces be?",
        "A fitted model heard a story that was cut into pieces in random order. The window is the size of pieces from which on "
        "its response, put back into order, correlates with the response to the intact story as the criterion asks.",
        "r, scrambled and intact",
        scale="piece",
    ),
    "swap": _Told(
        "For how long does one word matter?",
        "A fitted model heard a story twice, one word replaced. The window is the number of words that hold three quarters of "
        "the change.",
        "change, of that at once",
        scale="words from the swap on",
    ),
    "switch": _Told(
        "How soon is context built up, and how soon lost?",
        "A fitted model heard one story switched to another. Construction: how soon a response after a foreign past is that "
        "after the true one. Forgetting: how soon two continuations of one past lose what they share. A linear integrator "
        "forgets as slowly as it constructs (ratio near 1); one that is reset forgets at once (near 0).",
        "context built up",
        "half-time",
        "time from the switch",
    ),
    "forecast": _Told(
        "Do features of coming words add anything?",
        "Gain of held-out correlation from a window of coming words. Text is predictable, so that the gain is compared with "
        "that of simulated responses that follow the past alone; p speaks of that comparison.",
        "gain of held-out r",
        "distance of the largest gain",
        "distance",
        "gain",
    ),
}


def timescale_page(
    title: str,
    results: Mapping[str, Mapping[str, WindowResult]],
    *,
    isc: Mapping[str, Sequence[Any]] | None = None,
    n_isc_null: int = 0,
    facts: Mapping[str, str] | None = None,
    warning: str = "",
) -> tuple[Page, dict[str, Picture]]:
    """Everything that was estimated.

    Parameters
    ----------
    title : str
    results : mapping of who to mapping of estimator to WindowResult
        Who is "group" or a subject; estimators are those of `TOLD`.
    isc : mapping of str to column, optional
        Columns that place a voxel, then isc, low, high, p, q.
    n_isc_null : int
        Surrogates behind its p.
    facts : mapping, optional
        Data, model, software.
    warning : str
        Shown above all for simulated data.

    Returns
    -------
    page : Page
    pictures : mapping of file name to Picture
    """
    sections, pictures = timescale_sections(results)
    if isc is not None:
        sections.append(isc_section(isc, n_isc_null))
    if facts:
        sections.append(_facts_section(facts))
    return Page(kind="Timescales", title=title, verdict=_verdict(results), sections=tuple(sections), warning=warning), pictures


def timescale_sections(results: Mapping[str, Mapping[str, WindowResult]]) -> tuple[list[Section], dict[str, Picture]]:
    """One section for each estimator of everyone, for this page or another one, and their figures."""
    sections: list[Section] = []
    pictures: dict[str, Picture] = {}
    for who, by_estimator in results.items():
        for name in (known for known in TOLD if known in by_estimator):
            result, told = by_estimator[name], TOLD[name]
            key = name if who == "group" else f"{who}-{name}"
            heading = told.title if who == "group" else f"{who}: {told.title}"
            assert result.space is not None
            regions = place_names(result.space)
            words = {"score": told.score, "window": told.window, "scale": told.scale}
            text = {"title": heading, "intro": told.intro, "tested": told.tested}
            sections.append(timescale_section(result, regions, name=key, more=_more(result), **text, **words))
            pictures |= timescale_pictures(result, regions, name=key, **words)
    return sections, pictures


def isc_section(isc: Mapping[str, Sequence[Any]], n_null: int = 0, level: float = 0.05) -> Section:
    """What listeners share: leave-one-out intersubject correlation, with `n_null` surrogates behind its p."""
    smallest = 1 / (1 + n_null) if n_null else 0.0
    places = [name for name in isc if name not in ("isc", "low", "high", "p", "q")]
    names = [" ".join(str(isc[place][i]) for place in places) for i in range(len(isc["isc"]))]
    rows = (
        (name, number(r), interval(low, high), probability(p, smallest), probability(q))
        for name, r, low, high, p, q in zip(names, *(isc[key] for key in ("isc", "low", "high", "p", "q")))
    )
    text = (
        "Each listener's response was correlated with the mean of the others. Intervals: every listener left out in turn "
        "(jackknife), Student's t on Fisher's z. "
        "p: against responses with random phases, which keep their autocorrelation."
    )
    known = np.asarray(isc["isc"], dtype=np.float64)
    summary = (
        f"Mean over {len(known):,}: {number(np.nanmean(known))}; from {number(np.nanmin(known))} to {number(np.nanmax(known))}."
    )
    q = np.asarray(isc["q"], dtype=np.float64)
    n_tested = int(np.isfinite(q).sum())
    summary += f" Above chance in {int((q <= level).sum()):,} of {n_tested:,} at a false discovery rate of {level:g}."
    summary = f"{summary} {could_be_found(n_null, n_tested, level, 'columns')}".rstrip()
    whole = table(("Region", "r", "95% interval", "p", "q"), rows, caption="Leave-one-out intersubject correlation.")
    children = (element("p", text), element("p", summary), whole if len(names) <= MOST_PANELS else None, csv_link(isc, "isc"))
    return Section("isc", "What do listeners share?", children)


def _more(result: WindowResult) -> dict[str, np.ndarray]:
    """Further columns of an estimator's table."""
    details: dict[str, np.ndarray] = {}
    forgetting = result.details.get("forgetting")
    if forgetting is not None:
        details |= {"Forgetting (words)": forgetting.index, "Forgetting / construction": result.details["ratio"]}
    if "structure_yoking" in result.details:
        details["Influence across / within sentences"] = result.details["structure_yoking"]
    if "held_out_correlation" in result.details:
        details["Held-out r"] = result.details["held_out_correlation"]
    return details


def _verdict(results: Mapping[str, Mapping[str, WindowResult]]) -> str:
    parts, lost = [], []
    for who, by_estimator in results.items():
        whose = "" if who == "group" else f"{who}: "
        for name in (known for known in TOLD if known in by_estimator):
            result = by_estimator[name]
            known = result.index[np.isfinite(result.index)]
            if len(known) and name in _SHORT:
                middle = number(np.median(known), 1)
                parts.append(f"{whose}{_SHORT[name]}: median {middle} {result.units} in {len(known):,} regions")
            if result.details.get("recovery", {}).get("n_withheld"):
                lost.append(f"{whose}{_SHORT.get(name, name)}")
    found = f"Windows by {'; '.join(parts)}." if parts else "No window is given." if lost else "No window was found."
    if not lost:
        return found
    return f"{found} Withheld, wholly or in part, because planted windows are not found on these features: {', '.join(lost)}."


_SHORT = {"context": "context", "bands": "bands of features", "scramble": "scrambling"}


def _facts_section(told: Mapping[str, str]) -> Section:
    return Section("facts", "From what, and how?", (facts(told),))

"""What `neurolm timescales map` leaves, in the shape of a BIDS derivative.

timescales/<estimator>.json                                   what was made, from which settings: the mark of a finished estimator
<who>/<who>_desc-<estimator>_timescales.h5                    curves, windows, intervals, p, the language model's own windows
<who>/func/<who>_desc-<estimator>_stat-window_statmap.*       the map, with a JSON sidecar
timescales/isc.csv                                            intersubject correlation by region
figures/, report.html

<who> is `group` (the mean listener) or `sub-<label>`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurolm import __version__
from neurolm.brain.voxel_map import write_voxel_map
from neurolm.checks import bad_file
from neurolm.storage import read_json, write_json, write_text
from neurolm.workflows.study import ALIGNMENT, Study
from neurolm.workflows.timescales_data import IN_SILICO, listeners, settings_of, stacked_listeners
from neurolm.workflows.timescales_estimators import Bench, estimate, own_windows

if TYPE_CHECKING:
    from neurolm.progress import Progress
    from neurolm.timescales import WindowResult


def mark_path(plan: Study, name: str) -> Path:
    return plan.output / "timescales" / f"{name}.json"


def result_files(plan: Study, finished: Sequence[str]) -> list[Path]:
    """Files of finished estimators."""
    return [plan.output / file for name in finished for file in read_json(mark_path(plan, name))["files"]]


def load_results(plan: Study, finished: Sequence[str]) -> dict[str, dict[str, WindowResult]]:
    """{"group" or "sub-01": {estimator: result}} of finished estimators; isc has a table instead."""
    from neurolm.timescales import load_windows

    results: dict[str, dict[str, WindowResult]] = {}
    for path in result_files(plan, finished):
        if path.suffix == ".h5":
            who, name = path.parent.name, path.stem.split("_desc-")[1].removesuffix("_timescales")
            results.setdefault(who, {})[name] = load_windows(path)[0]
    return results


def write_windows(plan: Study, bench: Bench, name: str, report: Progress) -> None:
    """Estimate, save and map one estimator for everyone."""
    from neurolm.timescales import save_windows

    settings = settings_of(plan, name)
    results = [(who, estimate(bench, name, who, report)) for who in bench.everyone]
    trained, untrained = own_windows(bench, name, report)
    files = []
    counts = {}
    if name in IN_SILICO:
        counts = {"readings_asked": bench.remembered.n_asked, "readings_made": bench.remembered.n_computed}
        bench.remembered.forget()
    for who, result in results:
        told = result.beside(trained, untrained)
        provenance = {"settings": settings, "subjects": list(plan.subjects), "stories": list(plan.stories), **counts}
        path = plan.output / who.stem / f"{who.stem}_desc-{name}_timescales.h5"
        save_windows(path, told, provenance)
        made = [path, *_write_map(path.parent / "func" / f"{who.stem}_desc-{name}_stat-window_statmap", told, provenance)]
        files += [str(file.relative_to(plan.output)) for file in made]
    recovery = {who.stem: result.details["recovery"] for who, result in results if "recovery" in result.details}
    told_of = {"recovery": recovery} if recovery else {}
    write_json(mark_path(plan, name), {"settings": settings, "files": files, **counts, **told_of})


def write_isc(plan: Study, report: Progress) -> None:
    """Leave-one-out intersubject correlation, its test and its interval, one row for each region or voxel."""
    from neurolm.brain import isc_interval, isc_test
    from neurolm.encoding import fdr
    from neurolm.report.figures import csv_text

    data, space = stacked_listeners(plan), listeners(plan)[0].space
    test = isc_test(data, n_null=plan.config.fit.permutations, rng=plan.config.seed, progress=report)
    low, high = isc_interval(data)
    table = {**space.table(), "isc": test.isc, "low": low, "high": high, "p": test.p_values, "q": fdr(test.p_values)}
    write_text(plan.output / "timescales" / "isc.csv", csv_text(table))
    write_json(
        mark_path(plan, "isc"), {"settings": settings_of(plan, "isc"), "files": ["timescales/isc.csv"], "n_null": len(test.null)}
    )


def write_page(plan: Study, finished: Sequence[str]) -> Path:
    """Figures and report.html from the estimators that are finished."""
    from neurolm.report.timescale_page import timescale_page

    results = load_results(plan, finished)
    has_isc = "isc" in finished
    isc = read_columns(plan.output / "timescales" / "isc.csv") if has_isc else None
    if not results and isc is None:
        raise bad_file(plan.output, "holds no finished estimator", "Run `neurolm timescales map CONFIG` first.")
    page, pictures = timescale_page(
        plan.config.title or plan.dataset.info.name,
        results,
        isc=isc,
        n_isc_null=int(read_json(mark_path(plan, "isc")).get("n_null", 0)) if has_isc else 0,
        facts=_facts(plan),
        warning="No person was measured." if plan.dataset.is_simulated else "",
    )
    for name, picture in pictures.items():
        picture.save(plan.output / "figures", name)
    return page.write(plan.output / "report.html")


def alignment_fact(plan: Study) -> str:
    """Which failed checks of words against BOLD the config overrode, if any failed."""
    from neurolm.datasets.alignment_check import AlignmentCheck

    checks = [AlignmentCheck.from_json(one) for one in read_json(plan.output / ALIGNMENT)]
    failed = [f"{finding.name} ({check.story})" for check in checks for finding in check.failed]
    if failed:
        return f"went on in spite of the failed check {', '.join(failed)}, as `override` asks"
    return f"no check of words against BOLD failed in {'the story' if len(checks) == 1 else f'{len(checks)} stories'}"


def _facts(plan: Study) -> dict[str, str]:
    features, info = plan.config.features, plan.dataset.info
    return {
        "Data": f"{info.name}: {len(plan.subjects)} subjects, {len(plan.stories)} stories. {info.citation}",
        "Language model": f"{features.model}, layer {features.layer}",
        "Alignment": alignment_fact(plan),
        "Perturbed stories": f"of the data set {plan.config.in_silico.name!r}",
        "Significance": f"false discovery rate {plan.config.fit.fdr:g}, {plan.config.fit.permutations} permutations at most",
        "Software": f"neurolm {__version__}",
    }


def read_columns(path: Path) -> dict[str, list[Any]]:
    """A table by its columns; n/a becomes NaN."""
    import pandas as pd

    frame = pd.read_csv(path, na_values=["n/a"], keep_default_na=False)
    return {str(name): frame[name].tolist() for name in frame}


def _write_map(stem: Path, result: WindowResult, provenance: dict[str, Any]) -> list[Path]:
    assert result.space is not None
    about = {"Description": f"temporal receptive window by {result.estimator}", "Units": result.units}
    return write_voxel_map(stem, result.index, result.space, f"window_{result.units}", {**about, **provenance})

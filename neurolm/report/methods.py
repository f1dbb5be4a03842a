"""The methods paragraph of an encoding analysis, from what was done."""

from __future__ import annotations

from neurolm.report.content_tests import listed
from neurolm.report.encoding_report import EncodingReport, MethodFacts
from neurolm.report.references import REFERENCES, Reference, references

_NULLS = {
    "shift BOLD": "The null distribution keeps the autocorrelation of the BOLD: the measured responses were shifted "
    "circularly{together} and the whole fit was repeated",
    "shift prediction": "The null distribution keeps the autocorrelation: the fit was kept, and the measured responses to the "
    "held-out stories were shifted circularly{together} against its predictions",
    "block": "The null distribution keeps the autocorrelation within blocks: blocks of the held-out predictions were permuted",
}


def methods_paragraph(report: EncodingReport) -> str:
    """Sentences in past tense, ready to be pasted, with short citations in brackets."""
    dataset, methods = report.dataset, report.methods
    sentences = [_data(report), *_features(methods), *_fit(methods), *_statistics(report)]
    if dataset.is_simulated:
        sentences.insert(0, "The data were simulated; nothing here is a finding about people.")
    return " ".join(sentence for sentence in sentences if sentence)


def cited(report: EncodingReport) -> tuple[Reference, ...]:
    """The report's own references and those that the methods paragraph names, each once."""
    paragraph = methods_paragraph(report)
    named = [key for key, work in REFERENCES.items() if work.short in paragraph]
    own = {work.key: work for work in report.references}
    return tuple({**own, **{work.key: work for work in references(named)}}.values())


def _cite(*keys: str) -> str:
    return f"({'; '.join(REFERENCES[key].short for key in keys)})"


def _data(report: EncodingReport) -> str:
    dataset = report.dataset
    sources = "; ".join(work.short for work in report.references)
    n_subjects, n_stories = len(dataset.subjects), len(dataset.stories)
    text = (
        f"We analysed {n_subjects} {_plural('subject', n_subjects)} of the {dataset.name} data set"
        f"{f' ({sources})' if sources and not dataset.is_simulated else ''}: {dataset.task.rstrip('.')}; {n_stories} "
        f"{_plural('story', n_stories, 'stories')}, {dataset.n_words:,} words, {dataset.n_trs:,} volumes per subject "
        f"(TR {dataset.tr:g} s), {len(report.regions):,} {report.columns}."
    )
    if report.methods.preprocessing:
        text += f" BOLD responses were preprocessed per run: {report.methods.preprocessing}."
    return text


def _features(m: MethodFacts) -> list[str]:
    size = f" ({m.n_model_layers} layers, {m.n_units} units each)" if m.n_model_layers and m.n_units else ""
    features = f"The words were given to the language model {m.model}{size}"
    features += f"; {m.context}" if m.context else ""
    features += f". A word was represented by {m.word_vector}." if m.word_vector else "."
    resampling = m.resampling or (
        f"Word vectors were resampled to the volumes with a Lanczos kernel of {m.lobes} lobes {_cite('huth2016')}."
        if m.lobes
        else ""
    )
    delays = (
        f"Features were z-scored with the moments of the training part, and the haemodynamic response was modelled by copies "
        f"delayed by {_listed(m.delays)} TRs {_cite('huth2016')}."
        if m.delays
        else ""
    )
    return [features, resampling, delays]


def _fit(m: MethodFacts) -> list[str]:
    outer = m.outer
    if not outer and m.n_folds:
        gap = f" with a gap of {m.gap_trs} TRs on either side" if m.gap_trs else ""
        outer = f"Responses were predicted across {m.n_folds} contiguous blocks{gap}, never shuffled rows."
    inner = f", by {m.n_inner_folds} inner folds" if m.n_inner_folds else ""
    ridge = (
        f"Linear models were fitted by ridge regression {_cite('hoerl1970')}; the penalty was chosen inside each training "
        f"part{inner}. The score is the correlation of predicted with measured responses that the fit never saw."
    )
    return [outer, ridge]


def _statistics(report: EncodingReport) -> list[str]:
    m = report.methods
    null = ""
    if m.null:
        draws = f" ({m.n_null:,} draws{_sequential(m.stop_after, report.columns)})" if m.n_null else ""
        together = ", those of all subjects by the same lags," if len(report.dataset.subjects) > 1 else ""
        how = _NULLS.get(m.null, m.null).replace("{together}", together)
        null = (
            f"{how}{draws}; p counts the observed value among the draws {_cite('phipson2010')}, and q is "
            f"the false discovery rate over {report.columns} {_cite('benjamini1995')}."
        )
    tested = [b.name for b in report.scores[0].baselines if b.is_tested]
    if null and tested:
        null += (
            f" Differences from {' and '.join(tested)} in the same rows were tested two-sided against the same differences on "
            "these draws."
        )
    if null and m.low_level and report.scores[0].beyond is not None:
        null += (
            f" Low-level features ({listed(m.low_level)}) were fitted alone and together with each layer, scaled to the same total "
            "variance; the difference was tested one-sided against circular shifts of the residuals of the low-level model with both "
            f"fits repeated {_cite('freedman1983')}."
        )
    if (content := report.scores[0].content) is not None:
        null += (
            f" The content-free baseline moved the features over the words of each story by {len(content.draws):,} random lags, their "
            "means removed, and repeated the fit and the choice of layers and penalties."
        )
    interval = f"Intervals: {m.interval}." if m.interval else ""
    maps = f"Maps are shown on the {report.surface.mesh} surface {_cite('fischl1999')}." if report.surface is not None else ""
    return [m.ceiling, null, interval, maps]


def _sequential(stop_after: int, columns: str) -> str:
    """How many draws those took whose p was known early."""
    if not stop_after:
        return ""
    return f" at most: {columns} left the null once it had reached their scores {stop_after} times {_cite('besag1991')}"


def _plural(noun: str, count: int, plural: str = "") -> str:
    return noun if count == 1 else plural or f"{noun}s"


def _listed(items: tuple[int, ...]) -> str:
    texts = [str(i) for i in items]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"

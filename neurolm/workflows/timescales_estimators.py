"""The estimators of a config, each as one function of the BOLD that it is asked about."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from neurolm.checks import bad
from neurolm.progress import Progress, progress
from neurolm.workflows.extraction import open_model
from neurolm.workflows.study import Study
from neurolm.workflows.timescales_data import IN_SILICO, Who, fit_settings, listeners, perturbed_stories, transcripts

if TYPE_CHECKING:
    from neurolm.brain import BoldRun
    from neurolm.features import Features, LMStates, Surprisal
    from neurolm.stimuli import Transcript
    from neurolm.timescales import EncodingResponder, FitSettings, ForecastGain, Recovery, RememberedFeatures, WindowResult

    Run = Callable[["Bench", Sequence[BoldRun], FitSettings, Progress], WindowResult]


class Bench:
    """The language model, its untrained twin, and features that several estimators share; made when first used."""

    def __init__(self, plan: Study) -> None:
        self.plan, self.config = plan, plan.config
        self.stories: list[Transcript] = transcripts(plan)
        self._models: dict[int, tuple[Sequence[BoldRun], EncodingResponder, Any]] = {}

    @cached_property
    def everyone(self) -> list[Who]:
        """Whose windows are estimated, prepared once: a fitted model is kept for each."""
        return listeners(self.plan)

    @cached_property
    def lm(self) -> Any:
        with progress("model") as report:
            report(0, 1, "", f"loading {self.config.features.model}")
            return _hashed_once(open_model(self.config.features.model, self.config.device))

    @cached_property
    def untrained(self) -> Any:
        from neurolm.lm.untrained import untrained

        return _hashed_once(untrained(self.lm, seed=self.config.seed))

    @cached_property
    def heard(self) -> list[Transcript]:
        """Stories that fitted models hear perturbed."""
        return perturbed_stories(self.plan)

    @cached_property
    def remembered(self) -> RememberedFeatures:
        """Features of perturbed stories: voxels and the model's units hear the same ones."""
        from neurolm.timescales import RememberedFeatures

        return RememberedFeatures(self.states(self.lm, cached=False))

    def states(self, lm: Any, *, cached: bool = True, alone: bool = False) -> LMStates:
        """The config's hidden states; `alone`: of each word by itself."""
        from neurolm.features import FeatureCache, LMStates
        from neurolm.stimuli import ContextWindow

        asked = self.config.features
        context = ContextWindow(None if asked.context.unit == "story" else asked.context.n, asked.context.unit)
        context = ContextWindow(1, "words") if alone else context
        cache = FeatureCache() if cached else None
        rules: dict[str, Any] = {"lowercase": asked.lowercase, "spaces": asked.spaces}
        return LMStates(lm, asked.layer, context, asked.pooling, **rules, cache=cache)

    def sweep(self, lm: Any, stories: Sequence[Transcript], progress: Progress) -> list[Mapping[int, Features]]:
        return [self.states(lm).sweep(story, self.config.context.words, progress) for story in stories]

    def features(self) -> list[Features]:
        return [self.states(self.lm).extract(story) for story in self.stories]

    def responder(self, runs: Sequence[BoldRun], settings: FitSettings, progress: Progress, *, tested: bool) -> tuple[Any, Any]:
        """A fitted model of these voxels, once for all experiments, and the test of its predictions."""
        from neurolm.encoding import EncodingModel
        from neurolm.timescales import EncodingResponder, prediction_test

        if id(runs) not in self._models:
            features = self.features()
            model = EncodingModel(
                settings.alphas,
                delays=settings.delays,
                n_folds=settings.n_folds,
                gap=settings.gap,
                max_gap_s=settings.max_gap_s,
                device=settings.device,
            ).fit(features, runs)
            test = prediction_test(model, features, runs, settings, progress) if tested else None
            self._models[id(runs)] = (runs, EncodingResponder(model, self.remembered), test)  # runs: no other gets their id
        return self._models[id(runs)][1:]


def check_estimators(plan: Study, lm: Any) -> None:
    """Refuse what the estimators could not read with this model, before anything is computed.

    Raises
    ------
    InputError
        If a context of a sweep, or a perturbed story, does not fit the model, or its units have no timescales for bands.
    """
    from neurolm.stimuli import ContextWindow

    bench, config = Bench(plan), plan.config
    bench.lm = lm
    states = bench.states(lm, cached=False)
    for story in bench.stories:
        if "context" in config.estimators:
            states.prepare(story, [ContextWindow(config.context.words[-1])])
        if "surprisal" in config.estimators:
            _surprisal_space(bench, lm).prepare(story, [ContextWindow(config.surprisal.words[-1])])
    if "bands" in config.estimators and config.bands.kind == "units":
        _check_units(bench)
    if any(name in config.estimators for name in IN_SILICO):
        for story in bench.heard:
            states.prepare(story, [states.context])


def _hashed_once(lm: Any) -> Any:
    """The model, whose weights do not change here: hashed once, not for every excerpt that it reads."""
    lm.weights_hash = functools.cache(lm.weights_hash)
    return lm


def estimate(bench: Bench, name: str, who: Who, progress: Progress) -> WindowResult:
    """One estimator for one subject or the mean listener, with the language model's own windows beside it."""
    from neurolm.timescales import jackknifed, withheld

    run, settings = ESTIMATORS[name], fit_settings(bench.plan)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*of the targets chose the")  # told by details, not by region
        result = run(bench, who.runs, settings, progress)
        if who.halves is not None:
            quick = replace(settings, n_permutations=1, n_bootstrap=1, level=1.0)
            result = jackknifed(result, run(bench, who.halves, quick, progress), len(bench.plan.subjects))
        if name in DRIVES:
            result = withheld(result, recovery_of(bench, name, who, float(result.scales[-1]), progress))
    return replace(result, space=who.space)


def recovery_of(bench: Bench, name: str, who: Who, longest: float, progress: Progress) -> Recovery:
    """How well an estimator finds planted windows on the features, words and volumes of this analysis."""
    from neurolm.timescales import RecoverySettings, planted_recovery

    asked, settings = bench.config.recovery, fit_settings(bench.plan)
    quick = replace(settings, n_permutations=1, n_bootstrap=1, level=1.0)
    return planted_recovery(
        lambda planted: ESTIMATORS[name](bench, planted, quick, progress),
        DRIVES[name](bench, progress),
        who.runs,
        settings,
        longest=longest,
        settings=RecoverySettings(least=asked.least, n_voxels=asked.voxels),
    )


def _single_words(bench: Bench, progress: Progress) -> list[Features]:
    """The layer's states at each word read by itself."""
    alone = bench.states(bench.lm, alone=True)
    return [alone.extract(story, progress) for story in bench.stories]


def _least_surprisal(bench: Bench, progress: Progress) -> list[Features]:
    """Surprisal with the least context of the sweep, less its mean."""
    swept = _surprisals(bench, bench.lm, bench.stories, progress)
    return [_centred(story[min(story)]) for story in swept]


def own_windows(bench: Bench, name: str, progress: Progress) -> tuple[WindowResult, WindowResult | None]:
    """The windows of the language model's units, and of an untrained one's where the config asks for them."""
    trained = UNITS[name](bench, bench.lm, progress)
    return trained, UNITS[name](bench, bench.untrained, progress) if bench.config.untrained else None


def _context(bench: Bench, runs: Sequence[BoldRun], settings: FitSettings, progress: Progress) -> WindowResult:
    from neurolm.timescales import ContextWindowSweep

    return ContextWindowSweep(settings=settings).run(bench.sweep(bench.lm, bench.stories, progress), runs, progress)


def _surprisal(bench: Bench, runs: Sequence[BoldRun], settings: FitSettings, progress: Progress) -> WindowResult:
    from neurolm.timescales import ContextWindowSweep

    swept = [{n: _centred(one) for n, one in story.items()} for story in _surprisals(bench, bench.lm, bench.stories, progress)]
    return ContextWindowSweep(settings=settings).run(swept, runs, progress)


def _surprisals(bench: Bench, lm: Any, stories: Sequence[Transcript], progress: Progress) -> list[Mapping[int, Features]]:
    space = _surprisal_space(bench, lm)
    return [space.sweep(story, bench.config.surprisal.words, progress) for story in stories]


def _surprisal_space(bench: Bench, lm: Any) -> Surprisal:
    from neurolm.features import FeatureCache, Surprisal
    from neurolm.stimuli import ContextWindow

    asked = bench.config.features
    rules: dict[str, Any] = {"lowercase": asked.lowercase, "spaces": asked.spaces}
    return Surprisal(lm, ContextWindow(bench.config.surprisal.words[-1]), **rules, cache=FeatureCache())


def _centred(features: Features) -> Features:
    """Less its mean over the story: summed into TRs it no longer counts words."""
    return replace(features, values=features.values - features.values.mean(0))


def _bands(bench: Bench, runs: Sequence[BoldRun], settings: FitSettings, progress: Progress) -> WindowResult:
    from neurolm.timescales import UnitTimescale, bank_bands, spectral_bands

    asked = bench.config.bands
    if asked.kind == "spectral":
        bands = [spectral_bands(story, asked.time_constants) for story in bench.features()]
    else:
        bands = [bank_bands(story, _unit_words(bench), asked.n_bands) for story in bench.features()]
    return UnitTimescale(settings=settings).run(bands, runs, progress)


def _unit_words(bench: Bench) -> Any:
    """Timescales of the layer's units in words, by their forget gates while they read the first story."""
    from neurolm.timescales import token_ids, unit_timescales

    layer = _check_units(bench)
    ids = token_ids(bench.lm, bench.stories[0])
    return unit_timescales(bench.lm, ids)[layer - 1] * len(bench.stories[0]) / len(ids)


def _check_units(bench: Bench) -> int:
    """The layer whose units have timescales, enough of them for the bands."""
    from neurolm.features.memory import layer_widths
    from neurolm.lm import LSTM, MultiTimescaleLSTM

    lm, layer = bench.lm, bench.config.features.layer % (bench.lm.n_layers + 1)
    if not isinstance(lm, (LSTM, MultiTimescaleLSTM)) or layer == 0:
        raise bad(
            "bands.kind", "be spectral unless a layer of an LSTM gives the features", f"units, and layer {layer} of {lm.name}"
        )
    if bench.config.bands.n_bands > layer_widths(lm)[layer]:
        raise bad("bands.n_bands", f"be at most {layer_widths(lm)[layer]}, the units of the layer", bench.config.bands.n_bands)
    return layer


def _forecast(bench: Bench, runs: Sequence[BoldRun], settings: FitSettings, progress: Progress) -> WindowResult:
    return _gain(bench, settings).run(bench.features(), runs, progress)


def _gain(bench: Bench, settings: FitSettings) -> ForecastGain:
    from neurolm.timescales import ForecastGain

    asked = bench.config.forecast
    n_null = asked.draws if settings.n_permutations > 1 else 1
    return ForecastGain(asked.distances, width=asked.width, n_components=asked.components, n_null=n_null, settings=settings)


def _in_silico(name: str) -> Run:
    def run(bench: Bench, runs: Sequence[BoldRun], settings: FitSettings, progress: Progress) -> WindowResult:
        from neurolm.timescales.held_out_fit import held_out_fit, stack

        responder, test = bench.responder(runs, settings, progress, tested=settings.n_permutations > 1)
        found = _experiment(bench, name, settings)(responder, bench.heard, None if test is None else test.p_values, progress)
        data = stack(bench.features(), runs, settings)
        details = {**found.details, "held_out_correlation": held_out_fit(data.X, data, settings).scores}
        return replace(found, details=details if test is None else {**details, "n_null": test.n_permutations})

    return run


def _experiment(bench: Bench, name: str, settings: FitSettings) -> Callable[..., WindowResult]:
    from neurolm.timescales import ScrambleWindow, SwapWindow, SwitchWindow

    draws: dict[str, Any] = {"n_bootstrap": settings.n_bootstrap, "level": settings.level, "seed": settings.seed}
    if name == "scramble":
        scramble = bench.config.scramble
        levels = ScrambleWindow(scramble.levels, n_scrambles=scramble.orders, criterion=scramble.criterion, settings=settings)
        return levels.simulate
    if name == "swap":
        swap = bench.config.swap
        return SwapWindow(swap.lags, n_swaps=swap.swaps, past=swap.past, **draws).run
    switch = bench.config.switch
    return SwitchWindow(switch.segments, past=switch.past, n_words=switch.words, **draws).run


def _context_units(bench: Bench, lm: Any, progress: Progress) -> WindowResult:
    from neurolm.timescales import ContextWindowSweep

    return ContextWindowSweep().units(bench.sweep(lm, _enough(bench, lm), progress))


def _surprisal_units(bench: Bench, lm: Any, progress: Progress) -> WindowResult:
    """The model's surprisal is its one unit here."""
    from neurolm.timescales import ContextWindowSweep

    return ContextWindowSweep().units(_surprisals(bench, lm, _enough(bench, lm), progress))


def _enough(bench: Bench, lm: Any) -> list[Transcript]:
    """All stories for the trained model; an untrained one reads a part of the first, which is as good for it."""
    return bench.stories if lm is bench.lm else [bench.stories[0][: bench.config.untrained_words]]


def _band_units(bench: Bench, lm: Any, progress: Progress) -> WindowResult:
    from neurolm.timescales import UnitTimescale

    return UnitTimescale().units(_whole_stories(bench, lm, progress), bench.config.bands.time_constants)


def _forecast_units(bench: Bench, lm: Any, progress: Progress) -> WindowResult:
    """A row for each word and many units: a coarser grid of penalties is enough."""
    settings = fit_settings(bench.plan)
    gain = _gain(bench, replace(settings, alphas=settings.alphas[::4]))
    return gain.units(_whole_stories(bench, lm, progress), progress)


def _whole_stories(bench: Bench, lm: Any, progress: Progress) -> list[Features]:
    return [bench.states(lm).extract(story, progress) for story in bench.stories]


def _in_silico_units(name: str) -> Callable[[Bench, Any, Progress], WindowResult]:
    def run(bench: Bench, lm: Any, progress: Progress) -> WindowResult:
        from neurolm.timescales import UnitResponder

        space = bench.remembered if lm is bench.lm else bench.states(lm, cached=False)
        settings = replace(fit_settings(bench.plan), n_bootstrap=1)
        return _experiment(bench, name, settings)(UnitResponder(space), bench.heard, None, progress)

    return run


ESTIMATORS: dict[str, Run] = {
    "context": _context,
    "surprisal": _surprisal,
    "bands": _bands,
    "forecast": _forecast,
    **{name: _in_silico(name) for name in IN_SILICO},
}
UNITS: dict[str, Callable[[Bench, Any, Progress], WindowResult]] = {
    "context": _context_units,
    "surprisal": _surprisal_units,
    "bands": _band_units,
    "forecast": _forecast_units,
    **{name: _in_silico_units(name) for name in IN_SILICO},
}
# What planted voxels average over the past. Forecasts have their own null of voxels that cannot know the future.
DRIVES: dict[str, Callable[[Bench, Progress], list[Features]]] = {
    "context": _single_words,
    "surprisal": _least_surprisal,
    "bands": _single_words,
    **dict.fromkeys(IN_SILICO, _single_words),
}

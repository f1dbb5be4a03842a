"""Names and signatures that callers rely on."""

import importlib
import inspect

import pytest

NAMES = {
    "neurolm": "load_dataset read_transcript load LMStates ContextWindow Design EncodingModel correlation_score VoxelMap run",
    "neurolm.stimuli": "Transcript read_transcript read_textgrid ContextWindow scramble",
    "neurolm.temporal": "lanczos_matrix delay_run",
    "neurolm.brain": "BoldRun VoxelMap noise_ceiling intersubject_correlation",
    "neurolm.lm": "RNN LSTM MultiTimescaleLSTM Transformer TimeSeriesModel load generate scaled_dot_product_attention",
    "neurolm.training": "Trainer gradient_norm_by_lag perplexity",
    "neurolm.features": "LMStates Surprisal WordRate WordLength",
    "neurolm.datasets": "load_dataset simulate_subject",
    "neurolm.encoding": "Design Delays EncodingModel RidgeCV BandedRidgeCV correlation_score r2_score leave_one_run_out "
    "contiguous_blocks permutation_test fdr variance_partition",
    "neurolm.workflows": "run check extract encode compare timescales contrast decode report train status",
    "neurolm.decoding": "NoiseModel ResponseLikelihood WordRateModel BeamSearch score_windows identify",
}
ARGUMENTS = {
    ("neurolm.temporal", "lanczos_matrix"): "from_times to_times lobes",
    ("neurolm.temporal", "delay_run"): "X delays",
    ("neurolm.stimuli", "read_transcript"): "path",
    ("neurolm.stimuli", "read_textgrid"): "path tier",
    ("neurolm.stimuli", "Transcript"): "words onsets offsets",
    ("neurolm.stimuli", "ContextWindow"): "n unit",
    ("neurolm.stimuli", "scramble"): "transcript level rng",
    ("neurolm.lm", "load"): "name_or_path",
    ("neurolm.lm", "scaled_dot_product_attention"): "q k v mask",
    ("neurolm.features", "LMStates"): "lm layer context",
    ("neurolm.encoding", "RidgeCV"): "alphas cv scoring alpha_per_target fit_intercept device dtype n_targets_batch",
}


@pytest.mark.parametrize(("module", "name"), [(m, n) for m, names in NAMES.items() for n in names.split()])
def test_a_name_that_callers_rely_on_is_there(module, name):
    assert callable(getattr(importlib.import_module(module), name))


@pytest.mark.parametrize(("module", "name"), ARGUMENTS)
def test_arguments_keep_their_names_and_order(module, name):
    signature = inspect.signature(getattr(importlib.import_module(module), name))
    wanted = ARGUMENTS[module, name].split()
    assert list(signature.parameters)[: len(wanted)] == wanted

"""What an extraction will take, against counts by hand and against what is really read."""

import pytest
import torch

from neurolm.features import LMStates, Surprisal, plan_extraction
from neurolm.features.preflight import count_flops, matmul_rate
from neurolm.lm import LSTM
from neurolm.stimuli import ContextWindow

WIDTH, N_LAYERS = 32, 3


def test_flops_of_a_transformer_are_those_of_the_formula(models):
    """24 L d^2 + 4 L d T a token, and 2 d V for the head."""
    for name in ("transformer", "gpt2 of transformers"):
        n_tokens = 40
        expected = n_tokens * (24 * N_LAYERS * WIDTH**2 + 4 * N_LAYERS * WIDTH * n_tokens)
        assert count_flops(models[name], n_tokens, [N_LAYERS]) == expected
        head = 2 * n_tokens * WIDTH * models[name].tokenizer.vocab_size
        assert count_flops(models[name], n_tokens, [N_LAYERS], scores=True) == expected + head


def test_flops_of_recurrent_models_are_those_of_the_formula(models):
    """2 H (I + H) a token and layer for an RNN, four times that for an LSTM."""
    assert count_flops(models["RNN"], 10, [N_LAYERS]) == 10 * N_LAYERS * 2 * WIDTH * 2 * WIDTH
    assert count_flops(models["LSTM"], 10, [N_LAYERS]) == 10 * N_LAYERS * 8 * WIDTH * 2 * WIDTH
    assert count_flops(models["LSTM"], 10, [1]) == 10 * 8 * WIDTH * 2 * WIDTH


@pytest.mark.parametrize("context", [ContextWindow(6), ContextWindow(unit="story")], ids=str)
def test_the_plan_counts_what_is_really_read(models, story, context, counting):
    lm = counting(models["transformer"])
    states = LMStates(lm, [1, 3], context, batch_tokens=1)  # one pass a batch: no padding
    plan = plan_extraction(states, story, measure_s=0.01)
    lm.shapes.clear()
    features = states.extract(story)
    assert plan.n_words == len(story)
    assert plan.n_pass_tokens == sum(rows * length for rows, length in lm.shapes)
    assert plan.output_bytes == features.values.nbytes
    passes = [models["transformer"].tokenizer.bos_id] if context.unit == "story" else lm.shapes
    if context.unit == "words":
        assert plan.n_passes == len(passes)
        assert plan.flops == pytest.approx(sum(count_flops(models["transformer"], length, [3]) for _, length in lm.shapes))


def test_layers_of_different_widths_are_counted_each(bpe, story):
    states = LMStates(LSTM(bpe, width=24, n_layers=3, embedding_width=8), [0, 1, 3], ContextWindow(4))
    assert plan_extraction(states, story, measure_s=0.01).output_bytes == states.extract(story).values.nbytes


def test_a_sweep_is_planned_at_the_price_of_its_longest_context(models, make_story):
    story = make_story(make_story().words * 4)
    states = LMStates(models["transformer"], 3, ContextWindow(20))
    swept = plan_extraction(states, story, range(1, 21), measure_s=0.01)
    assert swept.flops < 1.2 * plan_extraction(states, story, measure_s=0.01).flops
    assert swept.n_windows == 20 * len(story)


def test_surprisal_is_planned_with_its_head(models, story):
    lm = models["transformer"]
    plan = plan_extraction(Surprisal(lm, ContextWindow(5)), story, measure_s=0.01)
    states = plan_extraction(LMStates(lm, -1, ContextWindow(5)), story, measure_s=0.01)
    assert plan.flops > states.flops
    assert plan.output_bytes == 2 * 4 * len(story)


def test_the_time_follows_from_the_rate(models, story):
    plan = plan_extraction(LMStates(models["transformer"], 3, ContextWindow(5)), story, measure_s=0.01)
    assert plan.seconds == pytest.approx(plan.flops / (0.8 * plan.flops_per_second))
    assert matmul_rate(torch.device("cpu"), 0.01) > 1e8
    for part in ("57 words in", "tokens", "TFLOP", "MB of features", "MB of memory", "GFLOP/s"):
        assert part in str(plan)

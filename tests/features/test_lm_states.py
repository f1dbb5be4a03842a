"""LMStates against the plainest possible extraction: one window at a time, one word read from it."""

import numpy as np
import pytest
import torch

from neurolm.checks import InputError
from neurolm.features import FeatureSpace, LMStates, join
from neurolm.lm import ToyModel, Transformer, TransformersTokenizer
from neurolm.stimuli import ContextWindow

CONTEXTS = [
    ContextWindow(1),
    ContextWindow(7),
    ContextWindow(200),
    ContextWindow(1, "tokens"),
    ContextWindow(5, "tokens"),
    ContextWindow(30, "tokens"),
    ContextWindow(24, "sliding"),
    ContextWindow(25, "sliding"),
    ContextWindow(unit="story"),
]


def window_of(word, context, spans):
    """First token that word sees, straight from the documentation of ContextWindow."""
    if context.unit == "story":
        return 0
    if context.unit == "words":
        return spans[max(0, word - context.n + 1), 0]
    if context.unit == "tokens":
        return max(0, spans[word, 1] - context.n)
    start = 0
    while not (start <= spans[word, 0] and spans[word, 1] <= start + context.n):
        start += context.n // 2
    return start


def states_one_at_a_time(lm, story, context, layers, pooling, bos=True):
    """{layer: (n_words, D)}, each word from its own forward pass."""
    tokens = lm.tokenizer.encode_words(story.words, leading_space=False)
    rows = {layer: [] for layer in layers}
    for word, (_, stop) in enumerate(tokens.spans):
        start = window_of(word, context, tokens.spans)
        ids = [lm.tokenizer.bos_id] * bos + tokens.ids[start:stop].tolist()
        n_own = min(stop - start, tokens.spans[word, 1] - tokens.spans[word, 0])
        with torch.inference_mode():
            hidden = lm.step(torch.tensor([ids])).hidden
        for layer in layers:
            own = hidden[layer][0, -n_own:].double()
            rows[layer].append({"last": own[-1], "mean": own.mean(0), "sum": own.sum(0)}[pooling].numpy())
    return {layer: np.array(values) for layer, values in rows.items()}


def assert_close(ours, theirs, precision=1e-5):
    assert np.abs(ours - theirs).max() <= precision * np.abs(theirs).max()


@pytest.mark.parametrize("context", CONTEXTS, ids=str)
def test_batched_windows_equal_one_window_at_a_time(lm, story, context):
    ours = LMStates(lm, "all", context).extract_layers(story)
    theirs = states_one_at_a_time(lm, story, context, range(lm.n_layers + 1), "last")
    for layer in range(lm.n_layers + 1):
        assert_close(ours[layer].values, theirs[layer])


@pytest.mark.parametrize("pooling", ["mean", "sum"])
@pytest.mark.parametrize("context", [ContextWindow(7), ContextWindow(unit="story")], ids=str)
def test_pooled_tokens_equal_one_window_at_a_time(lm, story, context, pooling):
    ours = LMStates(lm, [1, 3], context, pooling).extract_layers(story)
    theirs = states_one_at_a_time(lm, story, context, [1, 3], pooling)
    assert_close(ours[1].values, theirs[1])
    assert_close(ours[3].values, theirs[3])


@pytest.mark.parametrize("context", [ContextWindow(6), ContextWindow(24, "sliding")], ids=str)
def test_without_bos_windows_begin_with_their_first_word(lm, story, context):
    ours = LMStates(lm, 2, context, bos=False).extract(story)
    assert_close(ours.values, states_one_at_a_time(lm, story, context, [2], "last", bos=False)[2])


def test_a_story_streamed_in_chunks_equals_the_whole_story_at_once(lm, story):
    at_once = LMStates(lm, "all", ContextWindow(unit="story"), "mean", batch_tokens=100_000).extract(story)
    for chunk in (1, 17, 64):
        streamed = LMStates(lm, "all", ContextWindow(unit="story"), "mean", batch_tokens=chunk).extract(story)
        assert_close(streamed.values, at_once.values)


def test_the_numbers_do_not_depend_on_the_batch(lm, story):
    reference = LMStates(lm, 3, ContextWindow(9)).extract(story).values
    for budget in (1, 50, 300, 100_000):
        assert_close(LMStates(lm, 3, ContextWindow(9), batch_tokens=budget).extract(story).values, reference)


@pytest.mark.parametrize("context", CONTEXTS, ids=str)
def test_a_later_word_changes_no_bit_of_an_earlier_one(lm, make_story, story, context):
    changed_at = 30
    other = story.words[:changed_at] + with_words_of_as_many_tokens(lm.tokenizer, story.words)[changed_at:]
    states = LMStates(lm, "all", context, batch_tokens=1)  # every pass in a batch of its own: shapes are equal
    before, after = states.extract(story).values, states.extract(make_story(other)).values
    np.testing.assert_array_equal(after[:changed_at], before[:changed_at])
    assert not np.array_equal(after[changed_at], before[changed_at])


@pytest.mark.parametrize("context", [ContextWindow(7), ContextWindow(12, "tokens")], ids=str)
def test_a_word_before_the_window_changes_no_bit(lm, make_story, story, context):
    """An exact window has no memory; a cache whose old keys were dropped would have."""
    first_free = 20
    other = with_words_of_as_many_tokens(lm.tokenizer, story.words)[:first_free] + story.words[first_free:]
    states = LMStates(lm, "all", context, batch_tokens=1)
    before, after = states.extract(story).values, states.extract(make_story(other)).values
    beyond = first_free + 11  # whichever way it is counted, twelve tokens are at most twelve words
    np.testing.assert_array_equal(after[beyond:], before[beyond:])
    assert not np.array_equal(after[first_free], before[first_free])


def with_words_of_as_many_tokens(tokenizer, words):
    """Every word replaced by another one of the story with as many tokens."""
    spans = tokenizer.encode_words(words, leading_space=True).spans
    n_tokens = dict(zip(words, spans[:, 1] - spans[:, 0]))
    by_count = {}
    for word in n_tokens:
        by_count.setdefault(n_tokens[word], []).append(word)
    groups = {word: group for group in by_count.values() for word in group}
    return tuple(groups[word][(groups[word].index(word) + 1) % len(groups[word])] for word in words)


def test_n_counts_the_word_itself(lm, story):
    """With one word of context a word's row is a function of that word alone."""
    values = LMStates(lm, 2, ContextWindow(1)).extract(story).values
    words = np.array(story.words)
    for word in ("the", "Alice", "pictures"):
        rows = values[np.flatnonzero(words == word)[1 if word == "Alice" else 0 :]]  # the first one has no leading space
        assert len(rows) >= 1
        np.testing.assert_array_equal(rows, np.broadcast_to(rows[0], rows.shape))


def test_contexts_that_are_shorter_than_asked_are_marked(lm, story):
    features = LMStates(lm, 1, ContextWindow(5)).extract(story)
    assert features.context.tolist()[:7] == [1, 2, 3, 4, 5, 5, 5]
    assert features.shortened.tolist()[:7] == [True] * 4 + [False] * 3
    assert LMStates(lm, 1, ContextWindow(unit="story")).extract(story).context.tolist() == list(range(1, len(story) + 1))


def test_sliding_chunks_keep_every_words_true_context(lm, story):
    features = LMStates(lm, 1, ContextWindow(24, "sliding")).extract(story)
    full = features.context[~features.shortened]
    assert full.min() > 12
    assert full.max() <= 24
    assert features.shortened[0]
    assert not features.shortened[features.context.cumsum() > 300].any()


def test_equal_windows_are_read_once(models, story, counting):
    lm = counting(models["toy"])
    LMStates(lm, 1, ContextWindow(1)).extract(story)
    n_different = len(set(story.words)) + 1  # "Alice" at the start of the story has no leading space
    assert sum(rows for rows, _ in lm.shapes) == n_different + 1  # and one token to learn the width


def test_no_deeper_block_than_asked_is_computed(models, story, counting):
    lm = counting(models["toy"])
    LMStates(lm, [0, 1], ContextWindow(3), batch_tokens=50).extract(story)
    assert lm.asked == {((0, 1), False)}


def test_dropout_is_off_while_states_are_read_and_as_it_was_after(bpe, story):
    lm = Transformer(bpe, width=32, n_layers=2, n_heads=2, dropout=0.5).train()
    states = LMStates(lm, 2, ContextWindow(4))
    first = states.extract(story).values
    np.testing.assert_array_equal(states.extract(story).values, first)
    assert lm.training
    np.testing.assert_array_equal(LMStates(lm.eval(), 2, ContextWindow(4)).extract(story).values, first)
    assert not lm.training


def test_half_precision_models_give_float32_rows(bpe, story):
    lm = Transformer(bpe, width=32, n_layers=2, n_heads=2).eval()
    expected = LMStates(lm, 2, ContextWindow(4), "mean").extract(story).values
    values = LMStates(lm.to(torch.bfloat16), 2, ContextWindow(4), "mean").extract(story).values
    assert values.dtype == np.float32
    assert_close(values, expected, precision=0.03)


def test_layers_come_side_by_side_with_their_slices(lm, story):
    states = LMStates(lm, [3, 1], ContextWindow(4))
    joined, single = states.extract(story), states.extract_layers(story)
    assert list(single) == [1, 3]
    np.testing.assert_array_equal(joined.values[:, joined.slices["layer3"]], single[3].values)
    assert joined.names[joined.slices["layer3"]][0] == "layer3_0"


def test_the_last_layer_can_be_asked_for_by_minus_one(lm, story):
    by_end = LMStates(lm, -1, ContextWindow(4)).extract(story)
    np.testing.assert_array_equal(by_end.values, LMStates(lm, lm.n_layers, ContextWindow(4)).extract(story).values)


def test_settings_tell_every_rule(lm, story):
    states = LMStates(lm, 2, ContextWindow(4), "mean")
    assert isinstance(states, FeatureSpace)
    settings = states.extract(story).settings
    assert settings["context"] == "4 words"
    assert settings["lowercase"] is False
    assert settings["bos"] == lm.tokenizer.bos_id
    assert settings["position_ids"] == "from 0 in every window"
    assert settings["weights"] == lm.weights_hash()


def test_lowercase_reads_folded_words(lm, story):
    folded = LMStates(lm, 2, ContextWindow(4), lowercase=True).extract(story)
    by_hand = LMStates(lm, 2, ContextWindow(4)).extract(story.with_words([w.lower() for w in story.words]))
    np.testing.assert_array_equal(folded.values, by_hand.values)


def test_a_story_in_capitals_is_read_in_lower_case_and_says_so(lm, story):
    capitals = story.with_words([w.upper() for w in story.words])
    with pytest.warns(UserWarning, match="the words of alice are all in capitals; they are read in lower case"):
        features = LMStates(lm, 2, ContextWindow(2)).extract(capitals)
    assert features.settings["lowercase"] is True
    np.testing.assert_array_equal(features.values, LMStates(lm, 2, ContextWindow(2), lowercase=True).extract(story).values)
    with pytest.warns(UserWarning, match="they are read in capitals, as asked"):
        kept = LMStates(lm, 2, ContextWindow(2), lowercase=False).extract(capitals)
    assert not np.array_equal(kept.values, features.values)


def test_running_out_of_memory_halves_the_batch_and_says_so(models, story, counting):
    lm = models["toy"]
    expected = LMStates(lm, 2, ContextWindow(6)).extract(story).values
    with pytest.warns(UserWarning, match="out of memory at .* tokens a batch; going on with") as told:
        values = LMStates(counting(lm, limit=300), 2, ContextWindow(6), batch_tokens=2048).extract(story).values
    assert str(told[0].message).startswith("out of memory at 2048 tokens a batch; going on with")
    assert_close(values, expected)


def test_a_stream_that_runs_out_of_memory_goes_on_in_smaller_chunks(models, story, counting):
    streaming = ContextWindow(unit="story")
    expected = LMStates(models["LSTM"], 2, streaming).extract(story).values
    with pytest.warns(UserWarning, match="out of memory at 40 tokens a batch; going on with"):
        values = LMStates(counting(models["LSTM"], limit=30), 2, streaming, batch_tokens=40).extract(story).values
    assert_close(values, expected)


def test_running_out_of_memory_with_a_single_window_is_an_error(models, story, counting):
    with (
        pytest.warns(UserWarning, match="out of memory"),
        pytest.raises(InputError, match=r"must fit in memory; \d+ tokens do not"),
    ):
        LMStates(counting(models["toy"], limit=3), 2, ContextWindow(6), batch_tokens=100).extract(story)


def test_progress_tells_what_is_done_at_the_start_and_words_a_second(lm, story):
    told = []
    LMStates(lm, 1, ContextWindow(6), batch_tokens=500).extract(story, lambda *args: told.append(args))
    assert told[-1][:3] == (len(story), len(story), "words")
    assert told[0] == (0, len(story), "words", "")
    assert "words/s" in told[1][3]
    assert [t[0] for t in told] == sorted(t[0] for t in told)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda lm: LMStates(lm, 4, ContextWindow(2)), r"layer must lie in 0\.\.3; got 4. This model has 3 layers"),
        (lambda lm: LMStates(lm, [], ContextWindow(2)), "layer must be an integer"),
        (lambda lm: LMStates(lm, "top", ContextWindow(2)), "layer must be one of 'all'"),
        (lambda lm: LMStates(lm, True, ContextWindow(2)), "layer must be an integer"),
        (lambda lm: LMStates(lm, 1, ContextWindow(0)), "n must be an integer >= 1; got 0"),
        (lambda lm: LMStates(lm, 1, 5), "context must be a ContextWindow; got 5"),
        (lambda lm: LMStates(lm, 1, ContextWindow(2), "max"), "pooling must be one of"),
        (lambda lm: LMStates(lm, 1, ContextWindow(2), batch_tokens=0), "batch_tokens must be at least 1"),
    ],
)
def test_bad_arguments_are_named(models, make, message):
    with pytest.raises(InputError, match=message):
        make(models["toy"])


def test_windows_longer_than_the_models_positions_say_what_would_fit(models, make_story, story):
    lm = models["gpt2 of transformers"]
    long = make_story(list(story.words) * 6)
    n_tokens = len(lm.tokenizer.encode_words(long.words, leading_space=False).ids)
    assert n_tokens > 512
    with pytest.raises(InputError, match=r'This model cannot hold the whole story: use ContextWindow\(256, "sliding"\)'):
        LMStates(lm, 1, ContextWindow(unit="story")).extract(long)
    with pytest.raises(InputError, match=r"Ask for at most (\d+) words") as error:
        LMStates(lm, 1, ContextWindow(400)).extract(long)
    fits = int(str(error.value).split("at most ")[1].split()[0])
    LMStates(lm, 0, ContextWindow(fits)).extract(long)
    with pytest.raises(InputError, match="Ask for at most"):
        LMStates(lm, 0, ContextWindow(fits + 1)).extract(long)
    with pytest.raises(InputError, match="Ask for at most 511 tokens"):
        LMStates(lm, 1, ContextWindow(512, "tokens")).extract(long)


def test_a_word_longer_than_a_sliding_chunk_is_named(models, story):
    with pytest.raises(InputError, match=r"n of a sliding context must be long enough.*word \d+ has"):
        LMStates(models["toy"], 1, ContextWindow(4, "sliding")).extract(story)


def test_pooling_over_tokens_that_the_window_cuts_is_refused(models, story):
    with pytest.raises(InputError, match='hold every token of a word for pooling "mean"'):
        LMStates(models["toy"], 1, ContextWindow(2, "tokens"), "mean").extract(story)


def test_a_word_that_gives_no_token_is_named(make_story):
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1, "b": 2}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace("~", "")
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    lm = ToyModel(TransformersTokenizer(PreTrainedTokenizerFast(tokenizer_object=tokenizer)))
    with pytest.raises(InputError, match=r"words must each give at least one token; got '~' at 1, which gives none"):
        LMStates(lm, 1, ContextWindow(2)).extract(make_story(["a", "~", "b"]))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("context", [ContextWindow(7), ContextWindow(24, "sliding"), ContextWindow(unit="story")], ids=str)
def test_a_gpu_gives_what_the_processor_gives(bpe, story, context):
    lm = Transformer(bpe, width=32, n_layers=3, n_heads=4, max_context=512).eval()
    expected = LMStates(lm, "all", context, "mean").extract(story).values
    values = LMStates(lm.to("cuda"), "all", context, "mean").extract(story).values
    assert_close(values, expected, precision=1e-4)


def test_an_empty_story_is_refused(models, story):
    with pytest.raises(InputError, match="at least one word"):
        LMStates(models["toy"], 1, ContextWindow(2)).extract(story[:0])


def test_not_a_number_in_the_states_is_an_error(models, story, counting):
    broken = counting(models["toy"], spoil=True)
    with pytest.raises(InputError, match="layer 1 of toy holds NaN"):
        LMStates(broken, 1, ContextWindow(2)).extract(story)


def test_states_join_with_other_spaces(lm, story):
    a, b = LMStates(lm, 0, ContextWindow(1)).extract(story), LMStates(lm, 3, ContextWindow(8)).extract(story)
    both = join({"static": a, "contextual": b})
    np.testing.assert_array_equal(both.values[:, both.slices["contextual"]], b.values)

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from neurolm.checks import InputError
from neurolm.lm import LSTM, BytePairTokenizer, CharTokenizer, ToyModel, Transformer, WordTokenizer, beam_search, generate
from neurolm.lm.generate import Sampling, draw, generate_ids, restrict

from ..error_lines import one_line

TOKENIZER = WordTokenizer([f"w{i}" for i in range(6)], unknown=None)


def sharpened(lm):
    """A random model with definite opinions."""
    lm.eval().requires_grad_(False)
    for parameter in lm.parameters():
        parameter.mul_(4)
    return lm


MODELS = {
    "lstm": sharpened(LSTM(TOKENIZER, 16, 2)),
    "transformer": sharpened(Transformer(TOKENIZER, 16, 2, 2, 64)),
    "toy": ToyModel(TOKENIZER),
}
every_model = pytest.mark.parametrize("lm", MODELS.values(), ids=MODELS.keys())


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(0.7), Sampling(1.5, top_k=5), Sampling(1.3, 9, 0.8)])
def test_draws_follow_the_distribution(sampling):
    """100,000 draws from 20 tokens; temperature, top-k and top-p worked out by hand."""
    logits = torch.randn(20, generator=generator())
    p = (logits.double() / sampling.temperature).exp()
    order = p.argsort(descending=True)
    if sampling.top_k is not None:
        p[order[sampling.top_k :]] = 0
    p /= p.sum()
    if sampling.top_p is not None:
        n = next(n for n in range(1, 21) if p[order[:n]].sum() >= sampling.top_p)
        p[order[n:]] = 0
        p /= p.sum()

    kept, indices = restrict(logits, sampling)
    torch.testing.assert_close(kept.double(), p[indices], atol=1e-6, rtol=1e-5)
    assert set(indices.tolist()) == set(p.nonzero().flatten().tolist())

    source = generator(1)
    many = indices[torch.multinomial(kept, 100_000, replacement=True, generator=source)]
    single = torch.tensor([draw(logits, sampling, source) for _ in range(2_000)])
    for draws in (many, single):
        counts = torch.bincount(draws, minlength=20)
        assert (counts[p == 0] == 0).all()
        assert chisquare(counts[p > 0].numpy(), (p[p > 0] * len(draws)).numpy()).pvalue > 1e-3


def test_a_temperature_near_zero_takes_the_best():
    logits = torch.randn(20, generator=generator())
    assert {draw(logits, Sampling(1e-4), generator(seed)) for seed in range(20)} == {int(logits.argmax())}
    assert draw(logits, Sampling(0), generator()) == int(logits.argmax())


def test_at_least_one_token_is_always_kept():
    kept, indices = restrict(torch.tensor([0.0, 9.0, 1.0]), Sampling(top_p=1e-9))
    assert (kept.tolist(), indices.tolist()) == ([1.0], [1])


@every_model
def test_streaming_writes_what_reading_it_all_anew_would(lm):
    """Greedy, against a model that gets the whole text each time."""
    made = list(generate_ids(lm, [1, 2, 3], 12, sampling=Sampling(0)))
    seen = [1, 2, 3]
    for _ in range(12):
        seen.append(int(lm.step(torch.tensor([seen])).logits[0, -1].argmax()))
    assert made == seen[3:]


@every_model
def test_equal_seeds_write_equal_texts(lm):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first = generate(lm, "w1 w2", 20, seed=3, stop_at_eos=False)
    torch.rand(5)
    assert generate(lm, "w1 w2", 20, seed=3, stop_at_eos=False) == first
    assert generate(lm, "w1 w2", 20, seed=4, stop_at_eos=False) != first
    torch.manual_seed(7)
    assert torch.equal(torch.get_rng_state(), before)


@every_model
@pytest.mark.parametrize("with_eos", [False, True])
def test_a_wide_beam_finds_what_brute_force_finds(lm, with_eos):
    eos = TOKENIZER.eos_id if with_eos else None
    n, vocabulary, prompt = 4, TOKENIZER.vocab_size, [1, 2]

    def log_probability(continuation):
        logits = lm.step(torch.tensor([prompt + list(continuation)])).logits[0, 1:-1]
        return float(logits.double().log_softmax(-1)[range(len(continuation)), list(continuation)].sum())

    candidates = list(itertools.product(range(vocabulary), repeat=n))
    if with_eos:
        cut = {c[: c.index(eos) + 1] if eos in c else c for c in candidates}
        candidates = sorted(cut)
    best = max(candidates, key=log_probability)
    found, score = beam_search(lm, prompt, n, vocabulary ** (n - 1), eos_id=eos)
    assert tuple(found) == best
    assert score == pytest.approx(log_probability(best), abs=1e-5)


@every_model
def test_a_beam_of_one_is_greedy(lm):
    greedy = list(generate_ids(lm, [1, 2], 10, sampling=Sampling(0)))
    assert beam_search(lm, [1, 2], 10, 1)[0] == greedy


@every_model
def test_a_wider_beam_is_never_less_probable_than_greedy_here(lm):
    scores = [beam_search(lm, [1, 2], 8, width)[1] for width in (1, 8, 64)]
    assert scores[0] <= scores[1] + 1e-6
    assert scores[1] <= scores[2] + 1e-6


def test_it_stops_where_the_text_ends():
    lm = ToyModel(TOKENIZER)
    eos = TOKENIZER.eos_id
    endless = list(generate_ids(lm, [1], 200, seed=1))
    ended = list(generate_ids(lm, [1], 200, seed=1, eos_id=eos))
    assert ended == endless[: endless.index(eos) + 1]
    assert "<eos>" not in generate(lm, "w1", 200, seed=1)
    assert generate(lm, "w1", 200, seed=1, stop_at_eos=False) == " " + TOKENIZER.decode(endless)


def test_pieces_make_the_text_even_where_characters_are_cut():
    """Byte tokens: é, the euro and the smile come as two to four tokens each."""
    tokenizer = BytePairTokenizer.train([""], 257)
    lm = ToyModel(tokenizer)
    target = tokenizer.encode("é€🙂 a")

    class Script:
        """Writes the target, whatever it reads."""

        name, n_layers, max_context, device = "script", 0, None, torch.device("cpu")

        def __init__(self):
            self.tokenizer, self.at = tokenizer, iter(target)

        def step(self, ids, state=None, layers=None, *, logits=True):
            scores = torch.zeros(1, 1, 257)
            scores[0, 0, next(self.at)] = 9
            return type(lm.step(ids))(scores, (), ())

    pieces = []
    text = generate(Script(), "a", len(target), temperature=0, on_token=pieces.append)
    assert text == "é€🙂 a"
    assert pieces == ["é", "€", "🙂", " ", "a"]


def test_pieces_of_words_carry_their_spaces():
    pieces = []
    text = generate(ToyModel(TOKENIZER), "w1", 5, on_token=pieces.append, stop_at_eos=False)
    assert "".join(pieces) == text
    assert len(pieces) == 5


def test_a_full_transformer_goes_on_from_half_its_context():
    lm = sharpened(Transformer(TOKENIZER, 16, 2, 2, 16))
    made = list(generate_ids(lm, [1, 2, 3], 40, sampling=Sampling(0)))
    assert len(made) == 40
    seen = [1, 2, 3, *made[:14]]  # 17 tokens: one more than it holds
    assert made[14] == int(lm.step(torch.tensor([seen[-8:]])).logits[0, -1].argmax())
    assert len(list(generate_ids(lm, [1] * 50, 3))) == 3


def test_an_empty_prompt_begins_a_text():
    assert generate(ToyModel(TOKENIZER), "", 5, stop_at_eos=False)
    with pytest.raises(InputError, match="prompt must hold a token"):
        generate(ToyModel(CharTokenizer("abc")), "", 5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1}, "temperature must be at least 0"),
        ({"temperature": math.nan}, "temperature must be at least 0"),
        ({"top_k": 0}, "top_k must be at least 1"),
        ({"top_p": 0}, r"top_p must lie in \(0, 1\]"),
        ({"beam_width": 0}, "beam_width must be at least 1"),
        ({"beam_width": 2, "temperature": 0.5}, "draws nothing"),
    ],
)
def test_impossible_settings_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        generate(ToyModel(TOKENIZER), "w1", 5, **options)


def test_a_beam_does_not_outgrow_the_context():
    lm = MODELS["transformer"]
    with pytest.raises(InputError, match="fit in the model's 64 tokens"):
        beam_search(lm, [1] * 60, 10, 2)


@pytest.mark.parametrize("temperature", [1e-45, 1e-300, 1e-30])
def test_a_temperature_near_zero_draws_the_best_token(temperature):
    logits = torch.tensor([3.0, 80.0, -500.0, 79.0])
    assert draw(logits, Sampling(temperature), generator()) == 1


@pytest.mark.parametrize("seed", [-1, 2**63, 2**70, 0.5])
def test_a_seed_that_no_generator_takes_is_refused(seed):
    with pytest.raises(InputError, match=r"seed must lie in \[0, 2\^63\)"):
        generate(MODELS["toy"], "w1", 2, seed=seed)


def test_a_negative_number_of_tokens_is_refused():
    with pytest.raises(InputError, match="max_tokens must be at least 0; got -1"):
        generate(MODELS["toy"], "w1", -1)


@settings(max_examples=120, deadline=None, derandomize=True, database=None)
@given(
    temperature=st.sampled_from([-1.0, 0.0, 1e-320, 1e-45, 1e-7, 1.0, 1e7, 1e38, 1e300, math.inf, math.nan]),
    top_k=st.sampled_from([None, -1, 0, 1, 3, 4, 5, 10**9, 2**63]),
    top_p=st.sampled_from([None, -0.1, 0.0, 1e-320, 0.5, 1.0, 1.1, math.nan]),
    seed=st.sampled_from([-1, 0, 2**31, 2**32 - 1, 2**32, 2**63, 2**64]),
)
def test_extreme_sampling_writes_tokens_or_is_refused_with_one_line(temperature, top_k, top_p, seed):
    try:
        text = generate(MODELS["toy"], "w1", 3, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
    except InputError as error:
        one_line(error)
        return
    assert set(text.split()) <= {f"w{i}" for i in range(6)}

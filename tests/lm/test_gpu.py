"""The same numbers on a GPU, to the precision of its kernels."""

import pytest
import torch

from neurolm.lm import LSTM, RNN, FeedForward, MultiTimescaleLSTM, TimeSeriesModel, Transformer, WordTokenizer, generate

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.filterwarnings("ignore:RNN module weights are not part of single contiguous chunk"),
]
TOKENIZER = WordTokenizer([f"w{i}" for i in range(38)])
MODELS = {
    "rnn": lambda: RNN(TOKENIZER, 24, 3),
    "lstm": lambda: LSTM(TOKENIZER, 24, 3),
    "mt-lstm": lambda: MultiTimescaleLSTM(TOKENIZER, 24, 3),
    "transformer": lambda: Transformer(TOKENIZER, 24, 3, 4, 64),
    "feed-forward": lambda: FeedForward(TOKENIZER, 24, 3),
}


@pytest.mark.parametrize("build", MODELS.values(), ids=MODELS.keys())
def test_a_model_computes_the_same_on_the_gpu(build):
    lm = build().eval()
    ids = torch.randint(0, 40, (3, 20), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = lm.step(ids).logits
        lm.to("cuda")
        first = lm.step(ids[:, :9].cuda())
        second = lm.step(ids[:, 9:].cuda(), first.state)
    assert lm.device.type == "cuda"
    joined = torch.cat([first.logits, second.logits], 1).cpu()
    torch.testing.assert_close(joined, expected, atol=1e-4, rtol=1e-3)
    assert generate(lm, "w1", 8, seed=1) == generate(lm, "w1", 8, seed=1)


@pytest.mark.parametrize("core", ["rnn", "lstm", "feed_forward"])
def test_a_time_series_model_computes_the_same_on_the_gpu(core):
    model, x = TimeSeriesModel(2, 2, core), torch.randn(3, 15, 2)
    expected = model.rollout(x, 4)
    assert torch.allclose(model.to("cuda").rollout(x.cuda(), 4).cpu(), expected, atol=1e-4)

"""Small models of every kind and a story, shared by the tests of features."""

import warnings

import numpy as np
import pytest
import torch

from neurolm.lm import LSTM, RNN, MultiTimescaleLSTM, ToyModel, Transformer, TransformersModel, TransformersTokenizer
from neurolm.stimuli import Transcript

TEXT = (
    "Alice was beginning to get very tired of sitting by her sister on the bank and of having nothing to do "
    "once or twice she had peeped into the book her sister was reading but it had no pictures or conversations in it "
    "and what is the use of a book thought Alice without pictures or conversations"
)
WORDS = TEXT.split()


@pytest.fixture(autouse=True, scope="package")
def one_thread():
    """Products this small lose time to a second thread."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="session")
def make_story():
    """A story of any words, one every 0.4 s."""

    def make(words=WORDS, name="alice"):
        onsets = np.arange(len(words)) * 0.4
        return Transcript(tuple(words), onsets, onsets + 0.3, name=name)

    return make


@pytest.fixture(scope="session")
def story(make_story):
    return make_story()


@pytest.fixture(scope="session")
def bpe():
    """A byte-level BPE of 300 entries, so that most words are several tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([TEXT], trainer)
    return TransformersTokenizer(PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>"))


class Counting:
    """A model that notes what is asked of it, or fails when asked for too much."""

    def __init__(self, lm, *, limit=None, spoil=False, stop_after=None):
        self.lm, self.limit, self.spoil, self.stop_after = lm, limit, spoil, stop_after
        self.name, self.tokenizer, self.n_layers, self.max_context = lm.name, lm.tokenizer, lm.n_layers, lm.max_context
        self.shapes, self.asked = [], set()

    device = property(lambda self: self.lm.device)

    def weights_hash(self):
        return self.lm.weights_hash()

    def step(self, ids, state=None, layers=None, *, logits=True):
        if self.limit is not None and ids.numel() > self.limit:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")
        if len(self.shapes) == self.stop_after:
            raise KeyboardInterrupt
        self.shapes.append(tuple(ids.shape))
        self.asked.add((tuple(layers), logits))
        output = self.lm.step(ids, state, layers, logits=logits)
        if self.spoil:
            for hidden in output.hidden:
                if hidden is not None:
                    hidden[...] = torch.nan
        return output


@pytest.fixture(scope="session")
def counting():
    """Wraps a model so that it notes what is asked of it."""
    return Counting


@pytest.fixture(scope="session")
def count_tokens():
    """How many tokens, padding included, an extraction makes a model read."""

    def count(lm, extract):
        model = Counting(lm)
        extract(model)
        return sum(rows * length for rows, length in model.shapes)

    return count


def _gpt2(bpe):
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=bpe.vocab_size, n_positions=512, n_embd=32, n_layer=3, n_head=4, initializer_range=0.2)
    return TransformersModel(GPT2LMHeadModel(config).eval(), bpe, name="tiny-gpt2")


def _llama(bpe):
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=bpe.vocab_size,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.2,
    )
    return TransformersModel(LlamaForCausalLM(config).eval(), bpe, name="tiny-llama")


@pytest.fixture(scope="session")
def models(bpe):
    """One of every kind of language model, with random weights."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "RNN": RNN(bpe, width=32, n_layers=3),
            "LSTM": LSTM(bpe, width=32, n_layers=3),
            "multi-timescale LSTM": MultiTimescaleLSTM(bpe, width=32),
            "transformer": Transformer(bpe, width=32, n_layers=3, n_heads=4, max_context=512),
            "toy": ToyModel(bpe, timescales=(2.0, 8.0, 30.0), width=24),
            "gpt2 of transformers": _gpt2(bpe),
            "llama of transformers": _llama(bpe),
        }


@pytest.fixture(
    params=["RNN", "LSTM", "multi-timescale LSTM", "transformer", "toy", "gpt2 of transformers", "llama of transformers"]
)
def lm(request, models):
    return models[request.param]

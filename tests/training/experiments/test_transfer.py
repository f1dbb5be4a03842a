import copy
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from neurolm.checks import InputError
from neurolm.lm import LSTM, Transformer, TransformersModel, WordTokenizer
from neurolm.lm.heads import module_of
from neurolm.training.batches import ContiguousStreams
from neurolm.training.experiments.tasks import CompletionTask, SequenceTask, TokenTask
from neurolm.training.experiments.transfer import add_lora, fine_tune, pretraining_gain
from neurolm.training.experiments.transfer_study import commonest_share, read_study, transfer_study
from neurolm.training.loop import Trainer
from neurolm.training.optim import OptimizerSettings
from neurolm.training.settings import TrainerSettings

NOUNS, VERBS, ENDS = ("cat", "dog", "fox", "owl"), ("sees", "hears", "likes"), ("today", "again")
WORDS = WordTokenizer(["the", *NOUNS, *VERBS, *ENDS])


def sentences(n, seed=0):
    rng = np.random.default_rng(seed)
    return [f"the {rng.choice(NOUNS)} {rng.choice(VERBS)} the {rng.choice(NOUNS)} {rng.choice(ENDS)}".split() for _ in range(n)]


def tags(n, seed=0):
    tag = {"the": "DT"} | dict.fromkeys(NOUNS, "NN") | dict.fromkeys(VERBS, "VB") | dict.fromkeys(ENDS, "RB")
    found = sentences(n, seed)
    return TokenTask(tuple(map(tuple, found)), tuple(tuple(tag[w] for w in s) for s in found), ("DT", "NN", "RB", "VB"))


def moods(n, seed=0):
    found = sentences(n, seed)
    labels = tuple("pos" if "likes" in s else "neg" for s in found)
    return SequenceTask(tuple(" ".join(s) for s in found), labels, ("neg", "pos"))


def gpt2(tokenizer=WORDS):
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=tokenizer.vocab_size, n_embd=32, n_layer=2, n_head=2, n_positions=32, bos_token_id=0, eos_token_id=0
    )
    return TransformersModel(GPT2LMHeadModel(config).eval(), tokenizer, name="tiny")


MODELS = {
    "lstm": lambda: LSTM(WORDS, 24, 1),
    "transformer": lambda: Transformer(WORDS, 32, 2, 2, 32),
    "gpt2 of transformers": gpt2,
}


def weights(lm):
    return {name: tensor.detach().clone() for name, tensor in module_of(lm).state_dict().items()}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_one_call_tunes_any_model_for_words_and_texts_and_leaves_it_as_it_was(make):
    lm = make()
    before = weights(lm)
    tuned = fine_tune(lm, tags(60), n_steps=60, lr=0.01)
    assert tuned.accuracy(tags(40, seed=1)) == 1
    tuned = fine_tune(lm, moods(60), n_steps=80, lr=0.01)
    assert tuned.accuracy(moods(40, seed=1)) > 0.95
    assert_same(weights(lm), before)


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_training_the_head_alone_moves_no_bit_of_the_model(make):
    lm = make()
    tuned = fine_tune(lm, tags(60), how="head", n_steps=100, lr=0.1, weight_decay=0.1, remember="the cat sees the dog")
    assert_same(weights(tuned.lm), weights(lm))
    assert tuned.accuracy(tags(40, seed=1)) > 0.42, "a third of the words are of the commonest class"
    assert tuned.forgetting.ratio == 1


def test_lora_begins_as_the_base_and_moves_only_its_additions():
    lm = gpt2()
    ids = torch.randint(0, WORDS.vocab_size, (3, 20), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        base = lm.step(ids).logits
        start, _ = add_lora(copy.deepcopy(lm))
        assert torch.equal(start.step(ids).logits, base)
    tuned = fine_tune(lm, tags(60), how="lora", n_steps=60, lr=0.02)
    frozen = {name.replace(".base_layer", ""): t for name, t in weights(tuned.lm).items() if "lora_" not in name}
    assert_same(frozen, weights(lm))
    assert tuned.accuracy(tags(40, seed=1)) > 0.95
    with torch.no_grad():
        assert not torch.allclose(tuned.lm.step(ids).logits, base, atol=1e-3)


def test_merged_additions_compute_the_same():
    lm = gpt2()
    tuned = fine_tune(lm, CompletionTask(("the cat",), (" sees the dog",)), how="lora", n_steps=20, batch_size=1, lr=0.05)
    ids = torch.randint(0, WORDS.vocab_size, (3, 20), generator=torch.Generator().manual_seed(0))
    merged = tuned.merged()
    assert module_of(merged).state_dict().keys() == module_of(lm).state_dict().keys()
    with torch.no_grad():
        ours, theirs, base = tuned.lm.step(ids).logits, merged.step(ids).logits, lm.step(ids).logits
    scale = ours.abs().max()
    assert (ours - theirs).abs().max() <= 1e-5 * scale
    assert (ours - base).abs().max() > 1e-2 * scale, "the additions do something"


def test_completion_learns_to_translate_and_nothing_of_the_prompt():
    english = ["one", "two", "three", "four", "five", "six"]
    french = dict(zip(english, ["un", "deux", "trois", "quatre", "cinq", "six"]))
    tokenizer = WordTokenizer([*english, *sorted(set(french.values()) - set(english)), "->"])
    rng = np.random.default_rng(0)
    triples = [tuple(rng.choice(english, 3)) for _ in range(120)]
    held_out = sorted(set(triples[:20]))
    training = [t for t in triples if t not in held_out]

    def prompt(t):
        return " ".join(t) + " ->"

    task = CompletionTask(tuple(map(prompt, training)), tuple(" ".join(french[w] for w in t) for t in training))
    tuned = fine_tune(Transformer(tokenizer, 48, 2, 4, 16), task, n_steps=250, lr=3e-3)
    right = 0
    for t in held_out:
        ids = torch.tensor([CompletionTask.prompt_ids(tokenizer, prompt(t))])
        with torch.no_grad():
            for _ in range(4):
                ids = torch.cat([ids, tuned.lm.step(ids).logits[:, -1:].argmax(-1)], dim=1)
        right += tokenizer.decode(ids[0, -4:-1].tolist()) == " ".join(french[w] for w in t) and ids[0, -1] == tokenizer.eos_id
    assert right >= 0.9 * len(held_out)


def test_forgetting_is_reported():
    lm = LSTM(WORDS, 32, 1)
    text = np.concatenate([[WORDS.eos_id, *WORDS.encode(" ".join(s))] for s in sentences(200)])
    Trainer(lm, ContiguousStreams(text, 4, 12), TrainerSettings(80, OptimizerSettings(lr=0.01))).fit()
    lm.eval()
    task = CompletionTask(("again again",) * 4, ("again again again",) * 4)
    remember = [" ".join(s) for s in sentences(20, seed=3)]
    tuned = fine_tune(lm, task, n_steps=60, lr=0.01, remember=remember)
    assert tuned.forgetting.before.per_word < 4
    assert tuned.forgetting.ratio > 2


def test_pretraining_beats_scratch_where_it_taught_the_task():
    lm = LSTM(WORDS, 24, 1)
    taught = fine_tune(lm, tags(60), n_steps=60, lr=0.01).lm
    text = [" ".join(s) for s in sentences(5)]
    gain = pretraining_gain(taught, tags(30), tags(40, seed=1), (0, 1, 2, 3), remember=text, n_steps=20, lr=5e-3)
    low, high = gain.interval()
    assert 0 < low < gain.gain < high
    assert len(gain.forgetting) == 4
    assert gain.forgetting[0].before == gain.forgetting[3].before
    nothing = pretraining_gain(lm, tags(30), tags(40, seed=1), (0, 1, 2, 3), n_steps=20, lr=5e-3)
    assert nothing.interval()[0] < 0 < nothing.interval()[1]


def test_each_start_gets_the_learning_rate_that_is_best_on_the_validation_part():
    lm = LSTM(WORDS, 24, 1)
    parts = {"train": tags(60), "test": tags(40, seed=1), "seeds": (0, 1), "n_steps": 20}
    gain = pretraining_gain(lm, **parts, lr=(1e-6, 1e-2), validation=tags(20, seed=2))
    assert gain.lrs == (1e-2, 1e-2)
    alone = pretraining_gain(lm, **parts, lr=1e-2)
    assert np.array_equal(gain.pretrained, alone.pretrained)
    assert np.array_equal(gain.scratch, alone.scratch)
    taught = fine_tune(lm, tags(60), n_steps=60, lr=0.01).lm
    gain = pretraining_gain(taught, **parts, lr=(0.01, 1.0), validation=tags(20, seed=2))
    assert gain.pretrained.mean() > 0.9, "a rate that destroys what was learned is not taken"
    with pytest.raises(InputError, match="lr must be one learning rate, or come with a validation part"):
        pretraining_gain(lm, **parts, lr=(1e-3, 1e-2))


def test_a_long_text_is_cut_when_it_is_judged_as_it_was_when_it_was_learned():
    tuned = fine_tune(LSTM(WORDS, 24, 1), moods(60), n_steps=80, lr=0.01, max_tokens=7)
    texts = moods(40, seed=1)
    longer = SequenceTask(tuple("likes hears " * 50 + text for text in texts.texts), texts.labels, texts.classes)
    assert tuned.accuracy(longer) == tuned.accuracy(texts) > 0.95


def test_impossible_requests_are_refused():
    lm = LSTM(WORDS, 8, 1)
    with pytest.raises(InputError, match="LoRA is for models of transformers"):
        fine_tune(lm, tags(5), how="lora", n_steps=1)
    with pytest.raises(InputError, match="There is no head to train"):
        fine_tune(lm, CompletionTask(("the",), ("cat",)), how="head", n_steps=1)
    with pytest.raises(InputError, match="how must be one of"):
        fine_tune(lm, tags(5), how="adapter")
    tuned = fine_tune(lm, CompletionTask(("the",), ("cat",)), n_steps=1, batch_size=1)
    with pytest.raises(InputError, match="one without adapters"):
        tuned.merged()
    with pytest.raises(InputError, match="tuned to classify"):
        tuned.accuracy(tags(5))


def zipped(folder):
    """Archives that are laid out as NLTK's."""
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(folder / "masc_tagged.zip", "w") as archive:
        for i in range(20):
            lines = [" ".join(f"{w}_{t}" for w, t in zip(*line)) for line in zip(tags(12, i).sentences, tags(12, i).labels)]
            archive.writestr(f"masc/written/{i}.txt", "\n".join(lines))
    with zipfile.ZipFile(folder / "movie_reviews.zip", "w") as archive:
        for i in range(30):
            verb = rng.choice(["likes", "hears"])
            archive.writestr(f"r/{'pos' if verb == 'likes' else 'neg'}/{i}.txt", f"the cat {verb} the dog " * 3)
    return folder


@pytest.mark.parametrize(("task", "n_examples"), [("parts-of-speech", 12 * 10), ("sentiment", 10)])
def test_a_study_compares_on_documents_that_were_not_learned_from(tmp_path, task, n_examples):
    train, validation, test = read_study(task, zipped(tmp_path), n_train=10, n_validation=2, n_test=5)
    assert (len(train), len(validation), len(test)) == (n_examples, n_examples // 5, n_examples // 2)
    train, nothing, test = read_study(task, tmp_path, n_train=10, n_test=5)
    assert len(nothing) == 0
    study = transfer_study(
        LSTM(WORDS, 16, 1), task, tmp_path, n_train=10, n_test=5, seeds=(0, 1), n_steps=30, lr=0.02, remember="the cat sees"
    )
    assert study.gain.pretrained.shape == (2,)
    assert study.gain.pretrained.mean() > study.baseline == commonest_share(train, test)
    assert len(study.gain.forgetting) == 2


def test_a_study_of_more_documents_than_there_are_is_refused(tmp_path):
    with pytest.raises(InputError, match="share 20 documents, with some"):
        read_study("parts-of-speech", zipped(tmp_path), n_train=15, n_test=6)
    with pytest.raises(InputError, match="task must be one of"):
        read_study("tagging", tmp_path, n_train=1, n_test=1)


@pytest.mark.slow
@pytest.mark.skipif("NEUROLM_DATA" not in os.environ, reason="NEUROLM_DATA names no folder of data")
@pytest.mark.parametrize(
    ("model", "task", "documents", "settings"),
    [
        ("lstm-small", "parts-of-speech", (40, 0, 30), {"n_steps": 150}),
        ("transformer-small", "sentiment", (1400, 200, 400), {"n_steps": 100, "lr": (3e-4, 1e-3)}),
    ],
)
def test_pretraining_beats_scratch_on_real_text(model, task, documents, settings):
    from neurolm.lm import load

    n_train, n_validation, n_test = documents
    study = transfer_study(
        load(f"neurolm/{model}"), task, Path(os.environ["NEUROLM_DATA"]) / "corpora",
        n_train=n_train, n_validation=n_validation, n_test=n_test, max_tokens=128, **settings,
    )  # fmt: skip
    assert study.gain.interval()[0] > 0, f"pretrained {study.gain.pretrained}, from scratch {study.gain.scratch}"

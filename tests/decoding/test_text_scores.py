"""Text scores against hand counts and plain loops."""

import numpy as np
import pytest

from neurolm.checks import InputError
from neurolm.decoding.embedding_recall import (
    UNSEEN,
    Embedded,
    EmbeddingRecall,
    LanguageModelEncoder,
    StaticEncoder,
    TransformersEncoder,
    idf_weights,
)
from neurolm.decoding.text_scores import Bleu1, Meteor, WordErrorRate, normalised, text_scores
from neurolm.decoding.window_scores import score_windows
from neurolm.features.static_embeddings import StaticEmbeddings
from neurolm.lm import ToyModel
from neurolm.stimuli import Transcript

from .conftest import WORDS
from .pieces import PieceTokenizer

CAT = ("the", "cat", "sat", "on", "the", "mat")


def story(words, times=None):
    times = np.arange(len(words), dtype=float) if times is None else np.asarray(times, dtype=float)
    return Transcript(tuple(words), times, times)


def test_word_error_rate_counts_edits_of_texts_of_unequal_length():
    got = WordErrorRate()([CAT, CAT, CAT, ()], [CAT, ("a", "cat", "sat"), (), CAT])
    assert got[:3] == pytest.approx([0, 4 / 6, 1])
    assert np.isnan(got[3])


def test_bleu1_is_clipped_precision_with_brevity_penalty():
    got = Bleu1()([CAT, CAT, CAT, CAT], [CAT, ("the", "the", "the"), ("cat", "dog", "mat", "sat", "x", "y"), ()])
    assert got == pytest.approx([1, 2 / 3 * np.exp(1 - 6 / 3), 0.5, 0])


def test_meteor_without_wordnet_matches_words_and_stems_and_says_so():
    meteor = Meteor(synonyms=False)
    assert "no WordNet" in meteor.label
    same, stems, other = meteor([CAT, ("cats", "running"), CAT], [CAT, ("cat", "run"), ("dogs", "bark")])
    assert same == pytest.approx(1 - 0.5 * (1 / 6) ** 3)
    assert stems == pytest.approx(1 - 0.5 * (1 / 2) ** 3)
    assert other == 0


def test_meteor_that_needs_synonyms_says_what_to_do(monkeypatch):
    from nltk.corpus import wordnet

    try:
        wordnet.ensure_loaded()
        pytest.skip("WordNet is available here")
    except LookupError:
        pass
    with pytest.raises(InputError, match=r"nltk\.downloader wordnet"):
        Meteor(synonyms=True)
    assert "no WordNet" in Meteor().label


def test_words_are_compared_without_case_marks_and_fillers():
    text = normalised(story(["Well,", "UM", "I'M", "—", "here.", "mother-in-law"]))
    assert text.words == ("well", "i'm", "here", "motherinlaw")
    assert text.onsets.tolist() == [0, 2, 4, 5]


def test_unknown_scores_are_named():
    with pytest.raises(InputError, match="Did you mean 'bleu1'"):
        text_scores(["bleu"])


def plain_recall(encoder, idf, heard, decoded):
    """BERTScore recall with loops."""
    (a,), (b,) = encoder.embed([heard]), encoder.embed([decoded])
    total = weights = 0.0
    for unit, x in zip(a.units, a.vectors):
        weight = 1.0 if idf is None else idf.get(unit, idf[UNSEEN])
        best = max(float(x @ y) / np.linalg.norm(x) / np.linalg.norm(y) for y in b.vectors)
        total, weights = total + weight * best, weights + weight
    return total / weights


def make_encoder():
    pieces = [" riv", " st", " qu", " w", "er", "one", "iet", "ind", "ow", " home", " i"]
    return LanguageModelEncoder(ToyModel(PieceTokenizer(pieces), width=8), 2)


TEXTS = [("river", "stone", "home"), ("i", "quiet", "window", "home"), ("stone",)]


@pytest.mark.parametrize("with_idf", [False, True])
def test_embedding_recall_equals_plain_loops(with_idf):
    encoder = make_encoder()
    idf = idf_weights(encoder, [("river", "home"), ("home", "i"), ("home",)]) if with_idf else None
    recall = EmbeddingRecall(encoder, idf)
    heard, decoded = zip(*[(a, b) for a in TEXTS for b in TEXTS])
    want = [plain_recall(encoder, idf, a, b) for a, b in zip(heard, decoded)]
    assert recall(heard, decoded) == pytest.approx(want, abs=1e-5)
    assert recall([TEXTS[0]], [TEXTS[0]])[0] == pytest.approx(1, abs=1e-6)
    assert recall([TEXTS[0]], [()])[0] == 0
    assert np.isnan(recall([()], [TEXTS[0]])[0])


def test_batches_of_texts_change_no_vector():
    encoder = make_encoder()
    together = encoder.embed(TEXTS)
    for text, embedded in zip(TEXTS, together):
        (alone,) = encoder.embed([text])
        assert alone.units == embedded.units
        assert np.abs(alone.vectors - embedded.vectors).max() < 1e-5
        assert embedded.words.max() == len(text) - 1
    assert together[0].word_vectors(3).shape == (3, 8)


def test_idf_is_that_of_bertscore():
    idf = idf_weights(make_encoder(), [("home", "home"), ("home", "i"), ("river",)])
    tokens = make_encoder().lm.tokenizer
    home, i = tokens.encode(" home")[0], tokens.encode(" i")[0]
    assert idf[home] == pytest.approx(np.log(4 / 3))
    assert idf[i] == pytest.approx(np.log(4 / 2))
    assert idf[UNSEEN] == pytest.approx(np.log(4))


def test_only_the_encoder_that_bertscore_names_is_called_bertscore(tmp_path):
    recall = EmbeddingRecall(make_encoder())
    assert recall.name == "embedding_recall"
    assert "not BERTScore" in recall.label

    class Named:
        name, is_bertscore = "roberta-large, layer 17", True

    assert EmbeddingRecall(Named()).name == "bertscore"
    with pytest.raises(InputError, match="encoder must be available"):
        TransformersEncoder(str(tmp_path))


def test_an_encoder_of_transformers_gives_each_token_its_word(tmp_path):
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "riv", "##er", "stone", "home"])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(tmp_path)
    shape = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 8}
    BertModel(BertConfig(vocab_size=8, max_position_embeddings=32, **shape)).save_pretrained(tmp_path)
    encoder = TransformersEncoder(str(tmp_path), 1)
    long, short = encoder.embed([("river", "stone", "river"), ("home",)])
    assert long.units == (4, 5, 6, 4, 5)
    assert long.words.tolist() == [0, 0, 1, 2, 2]
    assert np.abs(encoder.embed([("home",)])[0].vectors - short.vectors).max() < 1e-5
    assert not encoder.is_bertscore


def test_recall_compares_with_the_special_tokens_around_the_decoded_text_as_bertscore_does():
    class Around:
        name, is_bertscore = "planted", False

        def embed(self, texts):
            return [Embedded(t, np.eye(3)[[int(w) for w in t]], np.arange(len(t)), np.array([[0.0, 0.6, 0.8]])) for t in texts]

    got = EmbeddingRecall(Around())([("0", "1", "2")], [("0",)])
    assert got[0] == pytest.approx((1 + 0.6 + 0.8) / 3), "units of the heard text alone are averaged"


def test_static_vectors_encode_words_without_context(tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_text("river 1 0\nstream 0.8 0.6\nstone 0 1\n")
    recall = EmbeddingRecall(StaticEncoder(StaticEmbeddings(path, missing=0.0)))
    assert recall([("river", "stone")], [("stream", "unknown")])[0] == pytest.approx((0.8 + 0.6) / 2)


def test_windows_are_half_open_one_per_second_and_lie_in_the_segment():
    times = np.arange(0, 41)
    scores = score_windows(story(["a"] * 41, times), story(["a"] * 20 + ["b"] * 21, times), scores=[WordErrorRate()])
    assert scores.centres.tolist() == list(range(10, 31))
    assert scores.scores["wer"][0] == 0
    assert scores.scores["wer"] == pytest.approx(np.arange(21) / 20)
    part = score_windows(story(["a"] * 41, times), story(["a"] * 41, times), 10, segment=(5, 20), scores=[WordErrorRate()])
    assert part.centres.tolist() == [10, 11, 12, 13, 14, 15]
    with pytest.raises(InputError, match="segment must be at least as long as a window, 20 s; got 0-19 s"):
        score_windows(story(["a"] * 20), story(["a"] * 20))


def test_z_and_p_come_from_the_null(rng):
    times = np.arange(0, 60, 0.5)
    heard = story(rng.choice(WORDS, 120), times)
    nulls = [story(rng.choice(WORDS, 120), times) for _ in range(19)]
    half = story([w if rng.uniform() < 0.8 else "x" for w in heard.words], times)
    scores = score_windows(half, heard, null=nulls)
    assert set(scores.scores) == {"wer", "bleu1", "meteor"}
    for name in scores.scores:
        null = scores.story_null(name)
        sign = -1 if name == "wer" else 1
        assert scores.story_p(name) == 1 / 20
        assert scores.story_z(name) == pytest.approx(sign * (scores.story_score(name) - null.mean()) / null.std())
        assert scores.story_z(name) > 3
        assert scores.window_p(name).min() >= 1 / 20
        assert scores.window_q(name).shape == scores.centres.shape
    assert [row["score"] for row in scores.table()] == ["wer", "bleu1", "meteor"]
    by_chance = score_windows(nulls[0], heard, null=nulls[1:])
    assert by_chance.story_p("bleu1") > 0.05
    with pytest.raises(InputError, match="null must be given for z and p"):
        score_windows(half, heard).story_z("wer")


def test_a_null_that_does_not_vary_gives_no_z():
    heard = story(["a"] * 40)
    scores = score_windows(heard, heard, null=[story(["b"] * 40)] * 3)
    assert np.isnan(scores.story_z("bleu1"))
    assert np.isnan(scores.window_z("wer")).all()

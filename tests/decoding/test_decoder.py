"""The whole chain on a planted listener, the decoder's file, and the study's layout."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from neurolm.brain import BoldRun, Regions
from neurolm.checks import InputError
from neurolm.datasets import load_dataset
from neurolm.decoding import DecoderSettings, WordDecoder, evaluate_decode
from neurolm.decoding.decoder import chunk_bootstraps
from neurolm.decoding.embedding_recall import EmbeddingRecall, LanguageModelEncoder
from neurolm.decoding.lexicon import Lexicon, repeats
from neurolm.decoding.tang2023 import EXPERIMENTS, PUBLISHED_SCORES, Tang2023, read_region, read_segment, training_data
from neurolm.encoding import Design
from neurolm.features.lm_states import LMStates
from neurolm.lm import ToyModel
from neurolm.stimuli import ContextWindow, Transcript

from .conftest import TR, WORDS, toy_story

# Voxels that follow no words choose the largest penalty there is, and the fit says so.
pytestmark = pytest.mark.filterwarnings("ignore:.*of the targets chose the:UserWarning")

QUICK = DecoderSettings(n_voxels=25, n_bootstraps=3, chunk_trs=10, beam_width=5, alphas=(0.1, 1.0, 10.0, 100.0, 1000.0))


class Study:
    """A listener to several stories; 30 of 40 voxels follow the words, 10 are noise."""

    def __init__(self, rng, n_stories=3, n_trs=60, noise=1.0):
        self.lm = ToyModel.for_words(WORDS, width=12)
        self.space = LMStates(self.lm, 2, ContextWindow(3, "words"), lowercase=True)
        self.stories = [toy_story(rng, n_trs, 1.0) for _ in range(n_stories)]
        self.times = [np.arange(n_trs) * TR] * n_stories
        features = [self.space.extract(s) for s in self.stories]
        design = Design.from_training(features, self.times)
        coef = rng.normal(size=(48, 40)) / np.sqrt(12) * (np.arange(40) < 30)
        self.runs = []
        for i, (f, t) in enumerate(zip(features, self.times)):
            data = design.transform(f, t).astype(float) @ coef + noise * rng.normal(size=(n_trs, 40))
            data = (data - data.mean(0)) / data.std(0)
            self.runs.append(BoldRun(data, t, Regions(tuple(f"v{i}" for i in range(40))), "s", f"story{i}"))


@pytest.fixture(scope="module")
def study():
    return Study(np.random.default_rng(0))


@pytest.fixture(scope="module")
def decoder(study):
    return WordDecoder(QUICK).fit(study.space, study.runs[:2], study.stories[:2], rate_voxels=np.arange(30))


def test_voxels_that_follow_words_are_selected(decoder):
    assert len(decoder.voxels_) == 25
    assert (decoder.voxels_ < 30).mean() > 0.9
    assert decoder.noise_.n_voxels == 25
    assert decoder.stories_ == ("story0", "story1")
    assert {"i", "river"} & decoder.vocabulary_


def test_a_saved_decoder_decodes_the_same_words(study, decoder, tmp_path):
    decoder.save(tmp_path / "decoder.h5")
    again = WordDecoder.load(tmp_path / "decoder.h5")
    run = study.runs[2]
    assert again.settings == decoder.settings
    assert np.array_equal(again.word_times(run), decoder.word_times(run))
    times = decoder.word_times(run)[:25]
    results = [d.search(study.lm, study.space, run).search(times) for d in (decoder, again)]
    assert results[0].hypotheses == results[1].hypotheses


def test_evaluation_holds_scores_nulls_table_and_diagnoses(study, decoder):
    run, story = study.runs[2], study.stories[2][:45]
    search = decoder.search(study.lm, study.space, run)
    decoded = search.decode(story.mid_times)
    embedding = EmbeddingRecall(LanguageModelEncoder(study.lm, 2))
    evaluation = evaluate_decode(search, decoded, story, n_nulls=2, n_random=1, embedding=embedding)
    summary = json.loads(json.dumps(evaluation.summary()))
    assert [row["score"] for row in summary["scores"]] == ["wer", "bleu1", "meteor", "embedding_recall"]
    assert len(summary["published_null"]) == 4
    assert summary["error"]["kind"] in ("search error", "model error")
    assert 0 < summary["teacher_forced"]["coverage"] <= 1
    assert summary["words"]["exact"] + summary["words"]["gist"] + summary["words"]["error"] == pytest.approx(1)
    assert evaluation.scores.story_score("bleu1") > evaluation.scores.story_null("bleu1").mean()


def test_what_does_not_fit_is_refused(study, decoder):
    with pytest.raises(InputError, match=r"must not be among the training stories; got story1"):
        decoder.likelihood(study.space, study.runs[1])
    other = BoldRun(study.runs[2].data, study.times[0], Regions(tuple(f"w{i}" for i in range(40))))
    with pytest.raises(InputError, match="voxels of the BOLD must be those of training"):
        decoder.likelihood(study.space, other)
    with pytest.raises(InputError, match="feature_space must be that of training"):
        decoder.likelihood(LMStates(study.lm, 1, ContextWindow(3, "words")), study.runs[2])
    with pytest.raises(InputError, match="be fitted first"):
        WordDecoder().word_times(study.runs[2])


def test_a_covariance_that_cannot_be_inverted_is_refused_by_the_fit(study):
    twice = [run.with_data(np.tile(run.data[:, :20], 2)) for run in study.runs[:2]]
    with pytest.raises(InputError, match=r"noise covariance must be positive definite.*Give shrinkage > 0"):
        WordDecoder(replace(QUICK, n_voxels=40, shrinkage=0)).fit(study.space, twice, study.stories[:2])
    again = WordDecoder(replace(QUICK, n_voxels=40)).fit(study.space, twice, study.stories[:2])
    assert again.noise_.n_voxels == 40


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["x"] = 1
    with pytest.raises(InputError, match="is not a 'neurolm word decoder 1' file"):
        WordDecoder.load(path)


def test_bootstraps_hold_out_whole_chunks(rng):
    folds = chunk_bootstraps(215, 4, 40, 0.2, rng)
    assert len(folds) == 4
    for train, test in folds:
        assert len(test) == 80  # ceil(215 / 5 / 40) chunks
        assert np.array_equal(np.sort(np.r_[train, test]), np.arange(215))
        assert np.array_equal(test % 40, np.tile(np.arange(40), 2))
        assert test.max() < 200
    assert len({tuple(test) for _, test in folds}) > 1
    with pytest.raises(InputError, match="Take shorter chunks"):
        chunk_bootstraps(50, 4, 40, 0.2, rng)


def test_published_values_are_the_defaults():
    s = DecoderSettings()
    assert (s.delays, s.n_voxels, s.n_bootstraps, s.chunk_trs) == ((1, 2, 3, 4), 10_000, 50, 40)
    assert s.alphas == pytest.approx(np.logspace(2, 6, 10))
    assert (s.shrinkage, s.mass, s.ratio, s.context_s, s.min_context_words) == (2 / 3, 0.9, 0.1, 8, 5)
    assert (s.beam_width, s.extensions, s.lm_weight, s.min_count) == (200, 5, 0, 2)
    assert PUBLISHED_SCORES["S3"]["wer"] == 0.9243


def write_grid(path, transcript):
    """A TextGrid in the long form with one tier, as the study's test stimuli have."""
    path.parent.mkdir(parents=True, exist_ok=True)
    end = float(transcript.offsets[-1]) + 1
    marks = []
    for word, onset in zip(transcript.words, transcript.onsets):
        marks.append((onset - 0.1, onset + 0.1, word.upper()))
    lines = [
        'File type = "ooTextFile"',
        'Object class = "TextGrid"',
        "",
        "xmin = 0",
        f"xmax = {end}",
        "tiers? <exists>",
        "size = 1",
    ]
    lines += ["item []:", " item [1]:", '  class = "IntervalTier"', '  name = "word"', "  xmin = 0", f"  xmax = {end}"]
    lines.append(f"  intervals: size = {len(marks)}")
    for i, (start, stop, text) in enumerate(marks, start=1):
        lines += [f"  intervals [{i}]:", f"   xmin = {start}", f"   xmax = {stop}", f'   text = "{text}"']
    path.write_text("\n".join(lines) + "\n")


def test_files_of_the_study_are_read_on_the_clock_of_their_words(study, tmp_path):
    """Miniature ds004510 with real names: responses, TextGrids, segments, regions."""
    story = study.stories[2]
    spread = Transcript(story.words, 1 + np.arange(len(story)) * 0.9, 1 + np.arange(len(story)) * 0.9)
    matrices = tmp_path / "derivative" / "preprocessed_data" / "UTS01"
    for experiment, task in (("perceived_speech", "wheretheressmoke"), ("imagined_speech", "alpha_repeat-1")):
        (matrices / experiment).mkdir(parents=True)
        with h5py.File(matrices / experiment / f"{task}.hf5", "w") as file:
            file["data"] = study.runs[2].data
        write_grid(tmp_path / "derivative" / "TextGrids" / experiment / f"{task.split('_')[0]}.TextGrid", spread)
    (tmp_path / "eval_segments.json").write_text(json.dumps({"wheretheressmoke": [10, 60], "alpha_repeat-1": [0, 40]}))
    (tmp_path / "UTS01.json").write_text(json.dumps({"speech": [1, 2], "auditory": [3, 4, 5]}))

    copy = Tang2023(tmp_path)
    assert copy.tasks("UTS01", "imagined_speech") == ["alpha_repeat-1"]
    run = copy.bold("UTS01", "perceived_speech", "wheretheressmoke", study.runs[2].space)
    assert run.tr_times[0] + TR / 2 == 11
    assert copy.bold("UTS01", "imagined_speech", "alpha_repeat-1").tr_times[0] == 0
    assert copy.transcript("imagined_speech", "alpha_repeat-1").words == story.words
    assert read_segment(tmp_path / "eval_segments.json", "wheretheressmoke") == (10, 60)
    region = EXPERIMENTS["perceived_speech"].rate_region
    assert read_region(tmp_path / "UTS01.json", region).tolist() == [3, 4, 5]

    with pytest.raises(InputError, match=r"has no \[start, end\] for 'laluna'. It has: alpha_repeat-1, wheretheressmoke"):
        read_segment(tmp_path / "eval_segments.json", "laluna")
    with pytest.raises(InputError, match="Here are: wheretheressmoke"):
        copy.bold("UTS01", "perceived_speech", "other")
    with pytest.raises(InputError, match="has no list of voxels for 'broca'"):
        read_region(tmp_path / "UTS01.json", "broca")
    with pytest.raises(InputError, match="experiment must be one of"):
        copy.tasks("UTS01", "perceived_movies")
    with pytest.raises(InputError, match="holds no folder `derivative`"):
        Tang2023(tmp_path / "UTS01")


CONFIG = Path(__file__).parents[2] / "configs" / "decode_tang2023.yaml"


def test_the_published_config_names_every_setting_with_its_published_value():
    config = yaml.safe_load(CONFIG.read_text())
    published = asdict(DecoderSettings())
    assert list(config["decoder"]) == list(published)
    for name, value in published.items():
        assert config["decoder"][name] == (pytest.approx(value, rel=1e-6) if value is not None else None)
    assert config["test"]["experiment"] in EXPERIMENTS
    assert config["features"]["layer"] == 9
    assert config["features"]["context"] == {"n": 6, "unit": "words"}


def test_the_published_config_runs_on_miniature_trees(study, tmp_path):
    """Training from ds003020's layout, decoding from ds004510's, evaluation of a segment."""
    config = yaml.safe_load(CONFIG.read_text())
    names = ["avatar", "souls", "wheretheressmoke"]
    derivative = tmp_path / "ds003020" / "derivative"
    subject = config["subject"]
    (derivative / "preprocessed_data" / subject).mkdir(parents=True)
    for name, run, story in zip(names, study.runs, study.stories):
        late = Transcript(story.words, story.onsets + 10.2, story.offsets + 10.2)  # row 0 of a matrix is story time 10 s
        write_grid(derivative / "TextGrids" / f"{name}.TextGrid", late)
        with h5py.File(derivative / "preprocessed_data" / subject / f"{name}.hf5", "w") as file:
            file["data"] = run.data
    (derivative / "respdict.json").write_text(json.dumps(dict.fromkeys(names, study.runs[0].n_trs + 20)))
    test = tmp_path / "ds004510" / "derivative"
    place = test / "preprocessed_data" / subject / config["test"]["experiment"]
    place.mkdir(parents=True)
    task = config["test"]["task"]
    with h5py.File(place / f"{task}.hf5", "w") as file:
        file["data"] = study.runs[2].data
    late = Transcript(study.stories[2].words, study.stories[2].onsets + 10.2, study.stories[2].offsets + 10.2)
    write_grid(test / "TextGrids" / config["test"]["experiment"] / f"{task}.TextGrid", late)

    data = training_data(load_dataset("lebel2023", folder=tmp_path / "ds003020"), subject, config["training"]["leave_out"])
    assert [run.story for run in data.runs] == ["avatar", "souls"]
    small = {"n_voxels": 25, "n_bootstraps": 3, "chunk_trs": 10, "beam_width": 3}
    decoder = WordDecoder(DecoderSettings(**{k: as_tuple(v) for k, v in (config["decoder"] | small).items()}))
    decoder.fit(study.space, data.runs, data.stories)
    copy = Tang2023(tmp_path / "ds004510")
    run = copy.bold(subject, config["test"]["experiment"], task, decoder.space_)
    story = copy.transcript(config["test"]["experiment"], task)
    search = decoder.search(study.lm, study.space, run)
    decoded = search.decode(decoder.word_times(run)[:40])
    assert decoded.mid_times[0] >= 10
    evaluation = evaluate_decode(search, decoded, story, n_nulls=1, segment=(10, 35), with_ranks=False)
    assert len(evaluation.scores.centres) == 6
    with pytest.raises(InputError, match="must not be among the training stories; got souls"):
        decoder.search(study.lm, study.space, data.runs[1])


def as_tuple(value):
    return tuple(value) if isinstance(value, list) else value


GERMAN = ["der", "hund", "lief", "zum", "alten", "haus", "und", "dann", "sah", "der", "vogel", "also", "lachten", "wir"] * 3


def test_first_words_that_the_stories_lack_are_refused_before_anything_is_read():
    story = Transcript(tuple(GERMAN), np.arange(len(GERMAN)) * 0.5, np.arange(len(GERMAN)) * 0.5 + 0.3, name="eins")
    with pytest.raises(InputError, match=r"first_words must share .* Set decoder\.first_words .* for example \[der, "):
        DecoderSettings().vocabulary([story])
    chosen = DecoderSettings(first_words=("Der", "wir", "niemand"), function_words=("und", "der"))
    vocabulary = chosen.vocabulary([story])
    proposals = chosen.proposals(ToyModel.for_words(GERMAN), vocabulary)
    assert proposals.first_words == ("der", "wir")
    assert proposals.function_words == {"und", "der"}
    assert proposals.settings()["first_words"] == ["der", "wir"]


def test_function_words_of_any_language_may_recur():
    lexicon = Lexicon(["der", "hund", "und", "sah"])
    contexts = lexicon.ids_of(["der", "hund", "sah"])[None]
    words = lexicon.ids_of(["der", "hund", "und"])
    zeros = np.zeros(3, dtype=np.int64)
    assert repeats(lexicon, contexts, zeros, words).tolist() == [True, True, False]
    assert repeats(lexicon, contexts, zeros, words, {"der", "und"}).tolist() == [False, True, False]

"""`neurolm timescales`: maps and contrasts on simulated listeners with a model of a few kilobytes."""

import csv

import numpy as np
import pytest

from neurolm.checks import InputError
from neurolm.cli.main import app
from neurolm.datasets import load_dataset
from neurolm.lm import LSTM, MultiTimescaleLSTM, Transformer, WordTokenizer, save_model
from neurolm.storage import read_h5, read_json
from neurolm.timescales import load_windows

pytestmark = pytest.mark.filterwarnings("ignore:The encoding model was fitted on:UserWarning")

SHARED = """
features: {model: MODEL, layer: 1, context: {n: 32, unit: sliding}, lowercase: true}
preprocess: {detrend_degree: 3, zscore: true}
fit: {alphas: {low: 1, high: 100000, count: 6}, folds: 3, inner_folds: 3, permutations: 59, bootstrap: 20}
device: cpu
output: OUTPUT
"""
MAP = """# windows of simulated listeners
analysis: timescales
dataset: {name: simulated, options: {n_subjects: 4}}
context: {words: [1, 4, 16]}
surprisal: {words: [1, 4]}
bands: {time_constants: [2, 8, 32]}
scramble: {levels: [1, 8, sentence, paragraph], orders: 1}
swap: {swaps: 8, lags: 12, past: 16}
switch: {segments: 10, past: 16, words: 12}
forecast: {distances: [2, 6], width: 4, components: 5, draws: 19}
untrained_words: 60
"""
CONTRAST = """# two kinds of words
analysis: contrast
dataset: {name: simulated, options: {n_subjects: 4}}
items: {norms: NORMS, rating: rating, frequency: count, pairs: 8, candidates: 80, least_frequency: 0}
permutations: 99
story_bootstrap: 20
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    story = load_dataset("simulated").transcript()
    folder = tmp_path_factory.mktemp("model") / "lstm"
    save_model(LSTM(WordTokenizer.from_words([word.lower() for word in story.words]), 16, 1, seed=0), folder)
    return folder


def write_config(folder, text, model, **values):
    text = text + SHARED.replace("MODEL", str(model)).replace("OUTPUT", str(folder / "out"))
    for key, value in values.items():
        text = text.replace(key, str(value))
    path = folder / "my.yaml"
    path.write_text(text)
    return path


def neurolm(capsys, *arguments):
    """What a command says on standard output; run in this process."""
    capsys.readouterr()
    app([*map(str, arguments)], standalone_mode=False)
    return capsys.readouterr().out


@pytest.fixture(scope="module")
def mapped(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("map")
    app(["timescales", "map", str(write_config(folder, MAP, model))], standalone_mode=False)
    return folder


@pytest.mark.parametrize("name", ["context", "surprisal", "bands", "scramble", "swap", "switch", "forecast"])
def test_every_estimator_leaves_windows_a_map_and_its_mark(mapped, name):
    out = mapped / "out"
    result, provenance = load_windows(out / "group" / f"group_desc-{name}_timescales.h5")
    assert result.curve.shape[1] == len(result.index) == 9
    assert np.isnan(result.index[~result.valid]).all()
    assert provenance["settings"]["dataset"]["name"] == "simulated"
    assert provenance["subjects"] == ["sim01", "sim02", "sim03", "sim04"]
    n_units = 1 if name == "surprisal" else 16
    assert len(result.model.index) % n_units == len(result.untrained.index) % n_units == 0
    assert result.details["interval_over"] == "listeners"
    assert result.details["curve_interval"].shape == (2, *result.curve.shape)
    with open(out / "group" / "func" / f"group_desc-{name}_stat-window_statmap.csv") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["region", "window_words"]
    assert [row[1] == "" for row in rows[1:]] == np.isnan(result.index).tolist()
    assert read_json(out / "timescales" / f"{name}.json")["settings"] == provenance["settings"]


def test_the_page_has_a_section_for_each_and_says_that_it_is_simulated(mapped):
    page = (mapped / "out" / "report.html").read_text()
    for title in ("How much context does the prediction need?", "How large must unbroken pieces be?", "What do listeners share?"):
        assert title in page
    assert "Simulated data." in page
    assert "own 16 units" in page
    assert (mapped / "out" / "figures" / "scramble-curves.svg").is_file()


def test_perturbed_stories_are_read_once_for_voxels_and_units(mapped):
    mark = read_json(mapped / "out" / "timescales" / "scramble.json")
    assert mark["readings_made"] == 5  # the intact story and four levels
    assert mark["readings_asked"] == 20  # the mean listener, the means of halves, planted voxels, the model's units
    recovery = mark["recovery"]["group"]
    assert len(recovery["rho"]) == len(recovery["held_out_r"]) == 5
    assert "Planted windows (leaky averages over 1.5 to" in (mapped / "out" / "report.html").read_text()


def test_what_stands_is_reused_and_only_what_changed_is_made_again(mapped, model, capsys):
    again = neurolm(capsys, "timescales", "map", mapped / "my.yaml", "--no-report")
    assert again.count("there already") == 8
    other = mapped / "other.yaml"
    other.write_text((mapped / "my.yaml").read_text().replace("swaps: 8", "swaps: 9"))
    changed = neurolm(capsys, "timescales", "map", other, "--dry-run")
    assert [line.split()[0] for line in changed.splitlines() if "to make" in line] == ["swap", "report"]


def test_a_dry_run_writes_nothing(model, tmp_path, capsys):
    said = neurolm(capsys, "timescales", "map", write_config(tmp_path, MAP, model), "--dry-run")
    assert "1,887 passes of 16 words" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[1, 4, 16]", "[1, 4, 9999]", r"context.words must not be longer than the shortest story, 1887 words"),
        ("[1, 4, 16]", "[4, 1]", r"my\.yaml:4: 'context.words': must rise"),
        ("swaps: 8", "swapps: 8", r"my\.yaml:8: unknown key 'swap.swapps'. Did you mean 'swaps'\?"),
        ("n_subjects: 4}", "n_subjects: 1}", "at least two for intersubject correlation; got 1"),
        ("paragraph]", "paragraph, 1500]", "cut a story of 1887 words into at least two pieces"),
        ("lags: 12", "lags: 3000", "n_swaps must leave 3000 words after each swap: 0 places"),
        ("segments: 10, past: 16", "segments: 10, past: 1600", "hold one of at least 3224 words: twice a past and a segment"),
        ("distances: [2, 6]", "distances: [2, 1000]", "end within half a story of 1887 words; got 1000 and 4"),
    ],
)
def test_bad_input_is_said_before_anything_is_made(model, tmp_path, old, new, message):
    path = write_config(tmp_path, MAP.replace(old, new), model)
    with pytest.raises(InputError, match=message):
        app(["timescales", "map", str(path)], standalone_mode=False)
    assert not (tmp_path / "out" / "timescales").exists()


def test_a_failed_check_is_overridden_by_name_and_the_page_says_so(model, tmp_path, capsys):
    path = write_config(tmp_path, MAP + "override: [coverage]\n", model)
    text = path.read_text().replace("preprocess: {", "preprocess: {trim_end: 80, ")
    path.write_text(text.replace("fit: {", "fit: {max_gap_s: 170, "))
    said = neurolm(capsys, "timescales", "map", path, "--estimator", "isc")
    assert "Going on in spite of coverage" in said
    page = (tmp_path / "out" / "report.html").read_text()
    assert "went on in spite of the failed check coverage" in page
    assert "Going on" not in neurolm(capsys, "timescales", "map", path, "--estimator", "isc")  # checked once


def test_bands_can_be_the_units_of_a_gated_model(model, tmp_path, capsys):
    text = MAP.replace("bands: {time_constants: [2, 8, 32]}", "bands: {kind: units, n_bands: 3}")
    neurolm(capsys, "timescales", "map", write_config(tmp_path, text, model), "--estimator", "bands")
    result, _ = load_windows(tmp_path / "out" / "group" / "group_desc-bands_timescales.h5")
    assert len(result.scales) == 3
    assert (np.diff(result.scales) > 0).all()


def test_an_estimator_that_the_config_lacks_is_refused(model, tmp_path):
    path = write_config(tmp_path, MAP + "estimators: [bands]\n", model)
    with pytest.raises(InputError, match="--estimator must be one of 'bands'"):
        app(["timescales", "map", str(path), "--estimator", "swap"], standalone_mode=False)


@pytest.fixture(scope="module")
def contrasted(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("contrast")
    words = sorted({word.lower() for word in load_dataset("simulated").transcript().words if word.isalpha()})
    rng = np.random.default_rng(0)
    rows = [f"{word},{rng.uniform(1, 5):.2f},{rng.integers(1, 500)},{'N' if i % 2 else 'V'}" for i, word in enumerate(words)]
    (folder / "norms.csv").write_text("\n".join(["word,rating,count,class", *rows]) + "\n")
    path = write_config(folder, CONTRAST, model, NORMS=folder / "norms.csv")
    app(["timescales", "contrast", str(path)], standalone_mode=False)
    return folder


def test_items_are_written_out_with_what_they_are_matched_on(contrasted):
    with open(contrasted / "out" / "contrast" / "items.csv") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["pair", "condition", "item", "rating", "letters", "log10 frequency", "surprisal"]
    concrete, abstract = (
        [float(r["rating"]) for r in rows if r["condition"] == condition] for condition in ("concrete", "abstract")
    )
    assert len(concrete) == len(abstract) == 8
    assert min(concrete) > max(abstract)
    assert len({row["item"] for row in rows}) == 16


@pytest.mark.parametrize("context", ["alone", "sentences"])
def test_a_contrast_leaves_statistics_and_a_selectivity_map(contrasted, context):
    folder = contrasted / "out" / "group"
    arrays, told = read_h5(folder / f"group_desc-{context}_contrast.h5")
    assert told["details"]["n_permutations"] == 99
    assert arrays["difference"].shape == (9,)
    assert arrays["interval"].shape == arrays["listeners_interval"].shape == (2, 9)
    assert (arrays["p_max"] >= arrays["p"]).all()
    assert arrays["model/q"].shape == arrays["untrained/q"].shape == (16,)
    low, high = arrays["listeners_interval"]
    assert ((low < arrays["difference"]) & (arrays["difference"] < high)).all()
    assert (folder / "func" / f"group_desc-{context}_stat-contrast_statmap.csv").is_file()


@pytest.mark.parametrize(("command", "text"), [("map", MAP), ("contrast", CONTRAST)])
def test_words_that_do_not_fit_the_bold_stop_before_anything_is_estimated(model, contrasted, tmp_path, command, text):
    path = write_config(tmp_path, text, model, NORMS=contrasted / "norms.csv")
    text = path.read_text().replace("preprocess: {", "preprocess: {trim_end: 80, ")
    path.write_text(text.replace("fit: {", "fit: {max_gap_s: 170, "))
    with pytest.raises(InputError, match=r"check .coverage. failed"):
        app(["timescales", command, str(path)], standalone_mode=False)
    assert not (tmp_path / "out" / "group").exists()


def test_the_contrasts_page_shows_items_and_units(contrasted, capsys):
    page = (contrasted / "out" / "report.html").read_text()
    assert "Which regions prefer concrete or abstract items?" in page
    assert "Selective units of the layer." in page
    assert "there already" in neurolm(capsys, "timescales", "contrast", contrasted / "my.yaml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("pairs: 8", "pairs: 3", "allow 99 permutations; got 3 and 3, which 20 labellings tell apart"),
        ("pairs: 8", "pairs: 50", "items.pairs must be at most 20, the candidates of each side; got 50"),
    ],
)
def test_items_that_are_too_few_are_said_before_the_model_reads_them(contrasted, tmp_path, old, new, message):
    text = (contrasted / "my.yaml").read_text().replace(old, new)
    (tmp_path / "my.yaml").write_text(text.replace(str(contrasted / "out"), str(tmp_path / "out")))
    with pytest.raises(InputError, match=message):
        app(["timescales", "contrast", str(tmp_path / "my.yaml")], standalone_mode=False)
    assert not (tmp_path / "out" / "contrast").exists()


def test_phrases_that_the_table_lacks_are_refused(contrasted, tmp_path):
    text = (contrasted / "my.yaml").read_text().replace("pairs: 8", "pairs: 8, kind: phrases")
    (tmp_path / "my.yaml").write_text(text.replace(str(contrasted / "out"), str(tmp_path / "out")))
    with pytest.raises(InputError, match="holds no phrases that are asked for"):
        app(["timescales", "contrast", str(tmp_path / "my.yaml")], standalone_mode=False)


def test_units_of_a_gated_model_leave_timescales_power_law_and_ablation(tmp_path, capsys):
    words = [f"w{i}" for i in range(40)]
    rng = np.random.default_rng(0)
    for i in range(6):
        (tmp_path / f"text{i}.txt").write_text(" ".join(rng.choice(words, 2000)))
    tokenizer = WordTokenizer.from_words(words)
    save_model(MultiTimescaleLSTM(tokenizer, 12, 2, tied=False), tmp_path / "mt")
    (tmp_path / "train.yaml").write_text(
        f"name: mt\ncorpus: {{files: ['{tmp_path}/text*.txt'], validation: 0.2, test: 0.2}}\n"
        "tokenizer: {kind: words}\nmodel: {kind: MultiTimescaleLSTM, settings: {width: 12, n_layers: 2, tied: false}}\n"
        "batches: {kind: streams, batch_size: 2, length: 16}\ntrainer: {n_steps: 1, optimizer: {kind: sgd, lr: 1.0}}\n"
    )
    out = tmp_path / "out"
    asked = [
        "timescales",
        "units",
        tmp_path / "mt",
        tmp_path / "train.yaml",
        "--output",
        out,
        "--group",
        "4",
        "--bootstrap",
        "100",
    ]
    said = neurolm(capsys, *asked)
    assert "slope of its memory" in said
    with open(out / "unit_timescales.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 24
    given = np.array([float(row["given_tokens"]) for row in rows])
    found = np.array([float(row["timescale_tokens"]) for row in rows])
    assert np.corrcoef(np.log(found), np.log(given))[0, 1] > 0.8  # little of the text moves the gates of a fresh model
    with open(out / "ablation.csv") as file:
        lost = [row for row in csv.DictReader(file) if row["count_in_training"] == "all"]
    assert len(lost) == 3
    assert all(float(row["low"]) <= float(row["perplexity_ratio"]) <= float(row["high"]) for row in lost)
    assert "there already" in neurolm(capsys, *asked)


def test_units_of_a_model_without_gates_are_refused(tmp_path):
    story = load_dataset("simulated").transcript()
    save_model(Transformer(WordTokenizer.from_words(story.words), width=8, n_layers=1, n_heads=1), tmp_path / "t")
    with pytest.raises(InputError, match="be an LSTM or an MT-LSTM"):
        app(["timescales", "units", str(tmp_path / "t"), "mt-lstm-small"], standalone_mode=False)

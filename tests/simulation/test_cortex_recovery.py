import nibabel
import numpy as np
import pytest

from neurolm.checks import FileError, InputError
from neurolm.encoding.evaluate import evaluate
from neurolm.encoding.evaluation import EvaluationSettings
from neurolm.features import FunctionFeatures
from neurolm.simulation.cortex_recovery import agreement, feature_sets, open_cortex, recovered_maps

AFFINE = np.array([[12.0, 0, 0, -72], [0, 12, 0, -106], [0, 0, 12, -60], [0, 0, 0, 1]])
WORDS = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in "bdgkmnt"]


def word_vectors(transcript):
    index = {word: i for i, word in enumerate(WORDS)}
    return np.array([np.random.default_rng(index[w]).standard_normal(8) for w in transcript.words])


def textgrid(path, seed, n_words=900):
    rng = np.random.default_rng(seed)
    edges = np.concatenate([[0], np.cumsum(rng.uniform(0.25, 0.5, n_words))])
    words = rng.choice(WORDS, n_words)
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "0", f"{edges[-1]:.4f}", "<exists>", "1"]
    lines += ['"IntervalTier"', '"word"', "0", f"{edges[-1]:.4f}", str(n_words)]
    for a, b, word in zip(edges, edges[1:], words):
        lines += [f"{a:.4f}", f"{b:.4f}", f'"{word}"']
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cortex")
    for i in range(4):
        textgrid(folder / f"story{i}.TextGrid", i)
    rng = np.random.default_rng(9)
    rows = "\n".join(f"{w}\t{r:.2f}" for w, r in zip(WORDS[:-20], rng.uniform(1, 5, len(WORDS))))
    (folder / "norms.txt").write_text(f"Word\tConc.M\n{rows}\n")
    nibabel.save(nibabel.Nifti1Image(np.ones((13, 15, 12), np.uint8), AFFINE), folder / "mask.nii.gz")
    return folder


def cortex_of(folder, **options):
    files = folder / "mask.nii.gz", folder, folder / "norms.txt"
    return open_cortex(*files, FunctionFeatures(word_vectors), timescales=(1, 8, 64), **options)


@pytest.mark.filterwarnings("ignore:.*extend alphas in that direction:UserWarning")
def test_from_files_to_maps_that_agree_with_the_plant(folder):
    cortex = cortex_of(folder)
    sets = feature_sets(cortex)
    assert list(sets) == ["1 words", "8 words", "64 words"]
    runs = {"sim01": [cortex.bold("sim01", story) for story in cortex.stories()]}
    settings = EvaluationSettings(alphas=(10.0, 100.0, 1e3, 1e4), n_permutations=0, n_bootstrap=10)
    evaluation = evaluate(sets, runs, settings=settings)
    maps = recovered_maps(cortex, evaluation, sets, runs["sim01"], significant=evaluation.scored[0].chosen.r > 0.3)
    found = agreement(cortex, maps)
    assert found["explainable_correlation"] > 0.8
    assert found["timescale"] > 0.6
    assert found["concreteness"] > 0.7
    assert np.isnan(maps["timescale"].values).mean() > 0.3
    nothing = np.zeros(cortex.space.n_voxels, dtype=bool)
    empty = agreement(cortex, {"timescale": maps["timescale"].where(nothing)})
    assert np.isnan(empty["timescale"])


def test_stories_can_be_chosen_and_unknown_ones_are_named(folder):
    assert cortex_of(folder, stories=["story2"]).stories() == ["story2"]
    with pytest.raises(InputError, match="stories must be some of story0, story1, story2, story3; got story7"):
        cortex_of(folder, stories=["story7"])


def test_a_folder_without_stories_is_named(tmp_path, folder):
    with pytest.raises(FileError, match="holds no TextGrid"):
        open_cortex(folder / "mask.nii.gz", tmp_path, folder / "norms.txt", FunctionFeatures(word_vectors))

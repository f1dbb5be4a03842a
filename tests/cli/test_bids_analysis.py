"""A BIDS data set from its files to maps and reports, by the commands; and what damage does to them."""

import json
import re
import shutil
from dataclasses import replace

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from neurolm.brain import VoxelMap
from neurolm.checks import InputError
from neurolm.cli.main import app

from ..datasets.miniature_fmriprep import VOLUME, build

CONFIG = """
title: Miniature
dataset: {name: bids, options: {folder: FOLDER, space: SPACE, confounds: [motion]}}
features: {model: neurolm/lstm-small, layers: [0, 1], context: {n: 8, unit: sliding}}
preprocess: {detrend_degree: 2, trim_start: 2, trim_transients: "off"}
encode: {alphas: {low: 100, high: 1000000, count: 5}, folds: 2, inner_folds: 2, permutations: 39, subject_permutations: 39,
         content_free_draws: 0}
threads: 1
output: OUTPUT
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return build(tmp_path_factory.mktemp("bids") / "ds", n_trs=110, forms=("volume",))


def config_of(folder, tmp_path, space="MNI152NLin2009cAsym"):
    path = tmp_path / "mini.yaml"
    text = CONFIG.replace("FOLDER", str(folder)).replace("SPACE", space).replace("OUTPUT", str(tmp_path / "out"))
    path.write_text(text)
    return path


def run(*arguments):
    ended = CliRunner().invoke(app, [str(a) for a in arguments])
    if ended.exception is not None and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    return ended


@pytest.fixture(scope="module")
def analysed(tree, tmp_path_factory):
    folder = tmp_path_factory.mktemp("analysis")
    config = config_of(tree, folder)
    run("stimuli", "check", config)
    run("features", "extract", config)
    with pytest.warns(UserWarning, match="of the targets chose"):
        run("encode", config)
    run("report", config)
    return folder / "out"


def test_maps_of_every_subject_lie_in_the_space_of_the_data(analysed, tree):
    from nilearn.image import load_img

    for subject in ("01", "02"):
        path = analysed / f"sub-{subject}/func/sub-{subject}_desc-lstmsmallL01_stat-r_statmap.nii.gz"
        bold = nibabel.load(
            tree / f"derivatives/fmriprep/sub-{subject}/func/sub-{subject}_task-clock_run-1_{VOLUME}_desc-preproc_bold.nii.gz"
        )
        image = load_img(path)
        np.testing.assert_array_equal(image.affine, bold.affine)
        assert image.shape == bold.shape[:3]
        assert np.isfinite(image.get_fdata()).sum() == 6 * 8 * 6
        sidecar = json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
        assert sidecar["settings"]["dataset"]["name"] == "bids"


def test_the_group_s_map_is_the_mean_of_its_subjects_in_their_space(analysed):
    from nilearn.image import load_img

    name = "desc-lstmsmallL01_stat-{}_statmap.nii.gz"
    each = [load_img(analysed / f"sub-{s}/func/sub-{s}_{name.format('r')}").get_fdata() for s in ("01", "02")]
    mean = load_img(analysed / f"group/func/group_{name.format('mean')}")
    np.testing.assert_allclose(mean.get_fdata(), np.mean(each, axis=0), atol=1e-6)
    q = load_img(analysed / f"sub-01/func/sub-01_{name.format('q')}").get_fdata()
    assert np.nanmin(q) < 0.05
    shifted = json.loads(next(analysed.glob("group/func/*stat-q_*.json")).read_text())
    assert "circular shifts of all of them by the same lags" in shifted["Description"]


def test_subjects_are_tested_as_a_group_by_shifting_all_of_them_alike(tmp_path, monkeypatch):
    from types import SimpleNamespace

    from neurolm.brain import Surface
    from neurolm.workflows import encoding_files

    monkeypatch.setattr(encoding_files, "provenance", lambda plan, layer: {"layer": layer})
    scores = np.random.default_rng(0).standard_normal((6, 1, 8)) * 0.05 + np.repeat([0.5, 0.0], 4)
    space, p = Surface("fsaverage5", 4, 4), np.repeat([0.01, 0.5], 4)[None]
    single = SimpleNamespace(n_null=99, q=2 * p, p_max=p)
    result = SimpleNamespace(subjects=tuple("abcdef"), sets=("layer 3",), listeners=scores, space=space, scored=(None, single))
    config = SimpleNamespace(features=SimpleNamespace(model="gpt2"), seed=0)
    encoding_files.write_group(SimpleNamespace(output=tmp_path, config=config), result)
    stem = tmp_path / "group/func/group_desc-gpt2L03_stat"
    q = VoxelMap.from_gifti(f"{stem}-q_statmap_hemi-L.func.gii", f"{stem}-q_statmap_hemi-R.func.gii").values
    assert (q[:4] < 0.05).all()
    assert (q[4:] > 0.05).all()
    sidecar = json.loads((tmp_path / "group/func/group_desc-gpt2L03_stat-pmax_statmap.json").read_text())
    assert "mean of 6 subjects against 99 circular shifts" in sidecar["Description"]
    assert sidecar["Subjects"] == list("abcdef")


def test_there_is_a_page_for_all_and_one_for_each_subject(analysed):
    pages = {name: (analysed / f"{name}.html").read_text() for name in ("report", "sub-01", "sub-02")}
    for name, page in pages.items():
        assert len(page) < 10_000_000
        assert "http-equiv" in page
        for section in ("analysed", "alignment", "results", "cortex", "methods", "provenance"):
            assert f'<section id="{section}"' in page, (name, section)
        assert page.count('id="mesh-fsaverage5"') == 1
    assert "Listener by listener" in pages["report"]
    assert "<h1>Miniature: sub-02</h1>" in pages["sub-02"]
    assert "BOLD of sub-02 in" in pages["sub-02"]
    assert "2 volumes at the beginning and 0 at the end were dropped" in pages["sub-01"]
    assert "Clockmaker" in pages["report"]


def test_the_page_tells_the_seed_of_the_fit_not_of_the_config(analysed):
    from neurolm.workflows.config import read_config
    from neurolm.workflows.encoding import make_plan
    from neurolm.workflows.report_pages import encoding_report, read_results

    (config,) = analysed.parent.glob("*.yaml")
    plan = make_plan(read_config(config), output=analysed)
    checks, result = read_results(plan)
    page = encoding_report(plan, checks, replace(result, settings={**result.settings, "seed": 7}))
    assert plan.config.seed == 0
    assert page.provenance.settings["seed"] == 7


def test_figures_of_every_page_are_files_too(analysed):
    for folder in (analysed / "figures", analysed / "sub-01" / "figures"):
        for name in ("run-spans", "word-rate-and-bold-1", "lag-curve-2", "regions-1", "layers-1"):
            assert (folder / f"{name}.svg").read_text().rstrip().endswith("</svg>"), (folder, name)
            assert (folder / f"{name}.csv").read_text().count("\n") > 1
    assert (analysed / "figures" / "lag_of_each_run_clockrun1.svg").is_file()
    assert "var(--" not in (analysed / "sub-01/figures/lag-curve-1.svg").read_text()


def test_windows_that_lie_beside_become_sections_of_their_subject(analysed, tree, tmp_path):
    from neurolm.datasets import load_dataset
    from neurolm.timescales import save_windows
    from neurolm.timescales.window_result import gated
    from neurolm.workflows.report_sections import found_sections

    space = load_dataset("bids", folder=tree).bold("01", "clock_run-1").space
    n = space.n_voxels
    index = np.linspace(2, 30, n)
    p = np.where(np.arange(n) < 200, 0.001, 0.9)
    result = gated(
        "context_window_sweep", np.array([2.0, 8, 32]), np.ones((3, n)), index, np.zeros((0, n)), p, "words", space=space
    )
    save_windows(tmp_path / "sub-01" / "sub-01_desc-context_timescales.h5", result)
    sections, pictures = found_sections([tmp_path], "sub-01")
    assert [section.name for section in sections] == ["context", "timescale-cortex-words"]
    assert list(pictures) == ["context-histogram"]
    assert found_sections([tmp_path], "sub-02") == ([], {})


def test_what_was_decoded_of_a_subject_stands_on_both_pages(tmp_path):
    from neurolm.storage import write_json, write_text
    from neurolm.workflows.report_sections import found_sections

    row = {"label": "BLEU-1", "story": 0.2, "story_p": 0.01}
    summary = {"words": {"exact": 0.1, "gist": 0.3, "error": 0.6}, "scores": [row]}
    write_json(tmp_path / "decoding" / "scores.json", {"settings": {"subject": "UTS03"}, "summary": summary})
    write_text(
        tmp_path / "decoding" / "table.csv",
        "start_s,end_s,heard,decoded,marks,bleu1\n0,20,a <b>dog,the dog,error exact,0.5\n20,40,he ran,she ran,gist exact,n/a\n",
    )
    write_text(tmp_path / "decoding" / "windows.csv", "centre_s,bleu1,bleu1_q\n10,0.5,0.01\n30,n/a,n/a\n")
    for who in ("group", "sub-UTS03"):
        (section,), pictures = found_sections([tmp_path], who)
        assert section.name == "decoding"
        assert "sub-UTS03: Of the decoded words 10% are exact" in section.children[0]
        assert "a &lt;b&gt;dog" in "".join(str(child) for child in section.children)
        assert "1 of 2 windows lie above the null" in pictures["decoding-over-time"].description
    assert found_sections([tmp_path], "sub-UTS01") == ([], {})


DAMAGE = {
    "truncated": (f"sub-01_task-clock_run-1_{VOLUME}_desc-preproc_bold.nii.gz", lambda p: p.write_bytes(p.read_bytes()[:5000])),
    "no mask": (f"sub-01_task-clock_run-1_{VOLUME}_desc-brain_mask.nii.gz", lambda p: p.unlink()),
    "no confounds": ("sub-01_task-clock_run-1_desc-confounds_timeseries.tsv", lambda p: p.unlink()),
    "other TR": (
        f"sub-01_task-clock_run-1_{VOLUME}_desc-preproc_bold.json",
        lambda p: p.write_text('{"RepetitionTime": 1.5}'),
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_stops_the_check_with_the_file_and_leaves_nothing(tree, tmp_path, damage):
    broken = shutil.copytree(tree, tmp_path / "ds")
    name, spoil = DAMAGE[damage]
    spoil(broken / "derivatives/fmriprep/sub-01/func" / name)
    with pytest.raises(InputError, match=r"sub-01_task-clock_run-1_.*\. "):
        run("stimuli", "check", config_of(broken, tmp_path))
    assert not (tmp_path / "out" / "stimuli").exists()


def test_damage_ends_in_one_message_and_code_2(neurolm, tree, tmp_path):
    broken = shutil.copytree(tree, tmp_path / "ds")
    name, spoil = DAMAGE["truncated"]
    spoil(broken / "derivatives/fmriprep/sub-01/func" / name)
    ended = neurolm("stimuli", "check", config_of(broken, tmp_path))
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert re.search(r"desc-preproc_bold.nii.gz: is damaged or cut short .* Copy or make it again.", ended.stderr)


def test_the_copy_is_checked_by_options_or_by_the_config(tree, tmp_path):
    whole = run("data", "check", "bids", "-o", f"folder={tree}", "-o", "confounds=[motion, high_pass]")
    assert whole.exit_code == 0
    assert "ok: sub-02 clock_run-2: 110 volumes, TR 2 s, from -12 s; 288 columns" in whole.output
    same = run("data", "check", config_of(tree, tmp_path))
    assert same.exit_code == 0
    with pytest.raises(InputError, match=r"option of bids must be one of .*; got spce. Did you mean 'space'"):
        run("data", "check", "bids", "-o", f"folder={tree}", "-o", "spce=x")
    with pytest.raises(InputError, match="option must read key=value; got folder"):
        run("data", "check", "bids", "-o", "folder")
    broken = shutil.copytree(tree, tmp_path / "ds")
    name, spoil = DAMAGE["no confounds"]
    spoil(broken / "derivatives/fmriprep/sub-01/func" / name)
    ended = run("data", "check", "bids", "-o", f"folder={broken}", "-o", "confounds=[motion]")
    assert ended.exit_code == 2
    assert ended.output.count("problem:") == 1


def test_a_place_in_a_config_is_found_from_any_folder(tree, tmp_path, monkeypatch):
    from neurolm.workflows.config import read_config
    from neurolm.workflows.encoding import make_plan

    monkeypatch.chdir(tree.parent)
    plan = make_plan(read_config(config_of(tree.name, tmp_path)))
    monkeypatch.chdir(tmp_path)
    assert plan.config.dataset.options["folder"] == str(tree)

"""Every file that a data set opens is one that it names: results are made again when one of them changes."""

import os
import sys
from functools import partial
from pathlib import Path

import pytest

from neurolm.datasets import load_dataset

from .miniature_fmriprep import build

OPENED = []


def _watch(event, arguments):
    if event == "open" and OPENED and isinstance(arguments[0], (str, os.PathLike)):
        OPENED[-1].append(Path(arguments[0]).resolve())


@pytest.fixture(scope="module", autouse=True)
def watching():
    sys.addaudithook(_watch)  # it cannot be taken away, and does nothing outside of `opened`


def opened(folder, call):
    """Files below a folder that are opened by a call."""
    OPENED.append([])
    try:
        call()
    finally:
        found = OPENED.pop()
    return {path for path in found if path.is_relative_to(Path(folder).resolve()) and path.is_file()}


def named(dataset, story, subject=None):
    return {path.resolve() for path in dataset.files(story, subject)}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = build(tmp_path_factory.mktemp("bids"), runs=("task-clock",))
    (folder / "stimuli" / "clock.txt").write_text("No such words.")
    return folder


@pytest.mark.parametrize(
    "options",
    [
        {"res": "2"},
        {"res": "2", "mask": "subject", "confounds": ["motion", "wm_csf"]},
        {"space": "fsaverage5", "confounds": ["motion"]},
        {"space": "fsLR"},
    ],
    ids=["volume", "confounds", "surface", "grayordinates"],
)
def test_a_bids_data_set_names_what_it_opens(tree, options):
    dataset = load_dataset("bids", folder=tree, **options)
    for story in dataset.stories():
        for subject in dataset.subjects():
            one = load_dataset("bids", folder=tree, **options)
            one.stories()
            found = opened(tree, partial(one.bold, subject, story))
            assert found
            assert found <= named(dataset, story, subject)
            assert ("confounds" in options) == any(path.suffix == ".json" and "confounds" in path.name for path in found)


def test_a_bids_data_set_names_its_words_and_the_plain_text_beside_them(tree):
    dataset = load_dataset("bids", folder=tree, res="2")
    assert {path.name for path in dataset.files("clock")} == {"clock.tsv", "clock.txt"}


def test_an_unused_confounds_sidecar_is_no_input(tree):
    plain = load_dataset("bids", folder=tree, res="2")
    assert not [path for path in plain.files("clock", "01") if path.name.endswith("timeseries.json")]


def test_alice_names_what_it_opens():
    root = os.environ.get("NEUROLM_DATA")
    if not root or not (Path(root) / "alice2016").is_dir():
        pytest.skip("NEUROLM_DATA does not hold alice2016")
    dataset = load_dataset("alice", folder=Path(root) / "alice2016")
    folder, subject = dataset.folder, dataset.subjects()[0]
    assert opened(folder, dataset.transcript) == named(dataset, "alice")
    assert opened(folder, lambda: dataset.bold(subject)) == named(dataset, "alice", subject)


def test_what_is_made_in_memory_reads_no_file():
    assert load_dataset("simulated").files(load_dataset("simulated").stories()[0], "sim01") == []

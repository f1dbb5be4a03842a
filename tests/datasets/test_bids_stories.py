"""Stories of BIDS runs are what events.tsv says."""

import pytest

from neurolm.checks import FileError, InputError
from neurolm.datasets import load_dataset
from neurolm.datasets.bids_stories import story_runs

from .miniature_fmriprep import TR, build, story_words

HEADER = "onset\tduration\tstim_file\n"


@pytest.fixture
def folder(tmp_path):
    """Events of two subjects whose runs of one task have opposite orders; words of both stories."""
    (tmp_path / "words").mkdir()
    for name in ("Avatar.TextGrid", "souls.tsv"):
        (tmp_path / "words" / name).touch()
    return tmp_path


def write(folder, name, text):
    path = folder / f"{name}_events.tsv"
    path.write_text(text)
    return path


def names(folder, events):
    return {(one.subject, one.run): name for (_, name), one in story_runs(events, events, folder / "words").items()}


def test_run_order_that_differs_between_subjects_follows_stim_file(folder):
    order = {"01": ["Avatar", "souls"], "02": ["souls", "Avatar"]}
    events = {
        (s, f"listening_run-{i}"): write(folder, f"{s}{i}", f"{HEADER}{4 + i}\t100\tstimuli/{story.upper()}_audio.wav\n")
        for s, stories in order.items()
        for i, story in enumerate(stories, 1)
    }
    runs = story_runs(events, events, folder / "words")
    assert {key: run.run for key, run in runs.items()} == {
        ("01", "Avatar"): "listening_run-1",
        ("01", "souls"): "listening_run-2",
        ("02", "Avatar"): "listening_run-2",
        ("02", "souls"): "listening_run-1",
    }
    assert runs["02", "Avatar"].onset() == 6
    assert runs["02", "Avatar"].words_file().name == "Avatar.TextGrid"


@pytest.mark.parametrize(
    "table",
    [
        "onset\tduration\ttrial_type\n0\t10\tfixation\n10\t200\tsouls\n210\t10\tfixation\n",
        "onset\tduration\ttrial_type\tstim_file\n0\t10\tfixation\tcross.png\n10\t200\tstory\tsouls.wav\n",
        "onset\tduration\ttrial_type\tstim_file\n0\t5\tbeep\tbeep.wav\n10\t200\tn/a\tC:\\study\\souls.mp4\n",
        "\tonset\tduration\tstim_file\n0\t10\t200\tsouls.wav\n",
        "onset\tduration\tstim_file\ttrial_type\n10\t200\tn/a\tsouls\n",
    ],
    ids=["trial_type", "pictures", "other sounds", "index", "empty stim_file"],
)
def test_the_rows_that_name_a_words_file_say_story_and_onset(folder, table):
    key = ("01", "listening_run-1")
    runs = story_runs([key], {key: write(folder, "e", table)}, folder / "words")
    assert list(runs) == [("01", "souls")]
    assert runs["01", "souls"].onset() == 10


def test_repeats_are_numbered_unless_the_file_names_say_it(folder):
    souls = write(folder, "souls", f"{HEADER}5\t100\tsouls.wav\n")
    listening = {("01", f"listening_run-{i}"): souls for i in (10, 2)}
    assert names(folder, listening) == {("01", "listening_run-2"): "souls_run-1", ("01", "listening_run-10"): "souls_run-2"}
    own = {("01", "souls_run-1"): souls, ("01", "souls_run-2"): souls, ("02", "souls_run-1"): souls}
    assert names(folder, own) == {key: key[1] for key in own}
    sessions = {("01", "souls_ses-1"): souls, ("02", "souls_ses-2"): souls}
    assert set(names(folder, sessions).values()) == {"souls"}
    three = {("01", f"souls_ses-{i}"): souls for i in (1, 2, 3)}
    assert names(folder, three) == {key: key[1] for key in three}


def test_a_run_that_names_two_stories_is_refused_when_it_is_read(folder):
    key = ("01", "listening_run-1")
    runs = story_runs([key], {key: write(folder, "e", f"{HEADER}5\t9\tavatar.wav\n50\t9\tsouls.wav\n")}, folder / "words")
    assert "names 'Avatar' and 'souls', and a run holds one story" in runs["01", "listening_run-1"].problem


def test_words_by_file_name_are_refused_where_events_name_other_recordings(folder):
    (folder / "words" / "listening_run-1.tsv").touch()
    events = {
        (s, "listening_run-1"): write(folder, s, f"{HEADER}5\t9\t{told}.wav\n") for s, told in (("01", "moth"), ("02", "bird"))
    }
    problems = {run.problem for run in story_runs(events, events, folder / "words").values()}
    assert len(problems) == 1
    assert "moth in sub-01 listening_run-1, bird in sub-02 listening_run-1" in problems.pop()
    same = dict.fromkeys(events, events["01", "listening_run-1"])
    assert {run.problem for run in story_runs(same, same, folder / "words").values()} == {""}


def test_words_in_events_are_called_after_their_recording_where_the_order_differs(folder):
    table = "onset\tduration\tword\tstim_file\n5\t1\thello\t{0}.wav\n6\t1\tyou\t{0}.wav\n"
    told = {("01", 1): "moth", ("01", 2): "bird", ("02", 1): "bird", ("02", 2): "moth"}
    events = {(s, f"listening_run-{i}"): write(folder, f"{s}{i}", table.format(name)) for (s, i), name in told.items()}
    assert names(folder, events) == {(s, f"listening_run-{i}"): name for (s, i), name in told.items()}
    alike = {key: events["01", "listening_run-1"] for key in events if key[1] == "listening_run-1"}
    assert set(names(folder, alike).values()) == {"listening_run-1"}


def test_the_data_set_reads_each_run_as_the_story_of_its_events(tmp_path):
    root = build(tmp_path / "ds", n_trs=60, forms=("volume",), runs=("task-clock_run-1", "task-clock_run-2"))
    words = story_words(80)
    late = words.shifted(3.0)
    for name, story in (("moth", words), ("bird", late)):
        rows = [f"{w}\t{a:.3f}\t{b:.3f}" for w, a, b in zip(story.words, story.onsets, story.offsets, strict=True)]
        (root / "stimuli" / f"{name}.tsv").write_text("\n".join(["word\tonset\toffset", *rows]) + "\n")
    for subject, told in (("01", ("moth", "bird")), ("02", ("bird", "moth"))):
        for i, name in enumerate(told, 1):
            path = root / f"sub-{subject}/func/sub-{subject}_task-clock_run-{i}_events.tsv"
            path.write_text(f"onset\tduration\ttrial_type\n0\t1\tfixation\n{4 * i}\t80\t{name}\n")
    dataset = load_dataset("bids", folder=root)
    assert dataset.stories("01") == dataset.stories("02") == ["bird", "moth"]
    assert dataset.transcript("bird").onsets[0] == pytest.approx(words.onsets[0] + 3, abs=1e-3)
    assert dataset.bold("01", "moth").tr_times[0] == pytest.approx(-4)
    assert dataset.bold("02", "moth").tr_times[0] == pytest.approx(-8)
    assert not [f for f in dataset.check() if f.level == "problem"]


def test_a_story_without_an_onset_says_what_its_events_name(tmp_path):
    root = build(tmp_path / "ds", n_trs=60, forms=("volume",), subjects=("01",), runs=("task-clock",))
    path = root / "sub-01/func/sub-01_task-clock_events.tsv"
    path.write_text(f"{HEADER}12\t200\tmoth.wav\n")
    with pytest.raises(FileError, match=r"names no stim_file clock\.\* \(it names moth\)"):
        load_dataset("bids", folder=root).bold("01", "clock")
    notes = [str(f) for f in load_dataset("bids", folder=root, onset_s=TR).check() if "moth" in str(f)]
    assert notes == ["note: sub-01 clock: its words come from clock.tsv by its file name, its events.tsv names moth"]
    path.write_text(f"{HEADER}1\t9\tclock.wav\n50\t9\tclock.wav\n")
    with pytest.raises(InputError, match="names 'clock' in 2 rows, as if it began more than once"):
        load_dataset("bids", folder=root).bold("01", "clock")

"""The cache against crashes, crowds, damage and bad disks: real processes, real kill -9."""

import errno
import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from neurolm.checks import FileError
from neurolm.features import FeatureCache, LMStates
from neurolm.features.cache_file import FileSink
from neurolm.stimuli import ContextWindow
from neurolm.storage import file_hash

SCRIPT = Path(__file__).with_name("cached_extraction.py")


@pytest.fixture(scope="module")
def slow():
    """The script of the slow extraction, as a module."""
    spec = importlib.util.spec_from_file_location("cached_extraction", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def start(folder, seconds):
    return subprocess.Popen([sys.executable, str(SCRIPT), str(folder), str(seconds)], stdout=subprocess.PIPE, text=True)


def only_file(folder):
    (path,) = Path(folder).glob("*.h5")
    return path


def test_what_is_cached_is_read_and_not_computed(slow, tmp_path):
    lm = slow.slow_toy(0)
    first = slow.states(lm, tmp_path).extract(slow.story())
    n_steps = lm.n_steps
    again = slow.states(lm, tmp_path).extract(slow.story())
    assert lm.n_steps == n_steps
    np.testing.assert_array_equal(again.values, first.values)
    np.testing.assert_array_equal(
        first.values, LMStates(lm, [1, 2], ContextWindow(10), batch_tokens=64).extract(slow.story()).values
    )
    np.testing.assert_array_equal(again.context, first.context)


def test_the_journal_of_a_process_killed_as_it_finished_goes_when_the_file_is_used(slow, tmp_path):
    slow.states(slow.slow_toy(0), tmp_path).extract(slow.story())
    path = only_file(tmp_path)
    journal, partial = (tmp_path / f".{path.name}.{end}" for end in ("journal", "partial"))
    for file in (journal, partial):  # another extraction is adding layers, or was stopped as it did
        file.write_text("")
    slow.states(slow.slow_toy(0), tmp_path).extract(slow.story())
    assert journal.exists()
    partial.unlink()  # as after the renaming: nothing is left to be continued
    slow.states(slow.slow_toy(0), tmp_path).extract(slow.story())
    assert not journal.exists()


def test_a_file_is_named_for_people_and_holds_only_the_layers_asked_for(slow, tmp_path):
    slow.states(slow.slow_toy(0), tmp_path).extract(slow.story())
    path = only_file(tmp_path)
    assert path.name.startswith("long-story_toy_10-words_")
    assert path.stat().st_size < 200 * 16 * 4 * 2 + 8192
    assert sorted(p.name for p in tmp_path.iterdir()) == [f".{path.name}.lock", path.name]


@pytest.mark.parametrize(
    "change",
    [
        {"context": ContextWindow(11)},
        {"context": ContextWindow(10, "tokens")},
        {"pooling": "mean"},
        {"lowercase": True},
        {"bos": False},
        {"leading_space": True},
    ],
    ids=str,
)
def test_every_setting_that_matters_makes_another_file(models, story, tmp_path, change):
    lm, cache = models["toy"], FeatureCache(tmp_path)
    LMStates(lm, 1, ContextWindow(10), cache=cache).extract(story)
    LMStates(lm, 1, **{"context": ContextWindow(10), **change}, cache=cache).extract(story)
    assert len(list(tmp_path.glob("*.h5"))) == 2


def test_other_words_and_other_weights_make_another_file(models, make_story, story, tmp_path, bpe):
    cache = FeatureCache(tmp_path)
    LMStates(models["toy"], 1, ContextWindow(3), cache=cache).extract(story)
    LMStates(models["toy"], 1, ContextWindow(3), cache=cache).extract(make_story([*story.words[:-1], "cat"]))
    assert len(list(tmp_path.glob("*.h5"))) == 2
    other = type(models["toy"])(bpe, timescales=(2.0, 8.0, 30.0), width=24, seed=1)
    LMStates(other, 1, ContextWindow(3), cache=cache).extract(story)
    assert len(list(tmp_path.glob("*.h5"))) == 3


def test_a_story_that_only_moved_in_time_is_found(models, story, tmp_path):
    states = LMStates(models["toy"], 1, ContextWindow(3), cache=FeatureCache(tmp_path))
    states.extract(story)
    later = states.extract(story.shifted(10))
    assert len(list(tmp_path.glob("*.h5"))) == 1
    np.testing.assert_array_equal(later.times, story.shifted(10).mid_times)


def test_layers_asked_for_later_join_the_file_of_their_context(slow, tmp_path):
    lm = slow.slow_toy(0)
    first = slow.states(lm, tmp_path, layers=[1]).extract_layers(slow.story())
    both = slow.states(lm, tmp_path, layers=[0, 1, 2]).extract_layers(slow.story())
    only_file(tmp_path)
    np.testing.assert_array_equal(both[1].values, first[1].values)
    n_steps = lm.n_steps
    slow.states(lm, tmp_path, layers=[0, 2]).extract_layers(slow.story())
    assert lm.n_steps == n_steps


def test_killed_in_mid_story_it_goes_on_and_ends_with_the_same_bytes(slow, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    lm = slow.slow_toy(0)
    slow.states(lm, whole).extract(slow.story())
    n_steps_whole = lm.n_steps

    process = start(killed, 0.3)
    wait_for_journal(killed, 8)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not list(killed.glob("*.h5"))

    lm = slow.slow_toy(0)
    slow.states(lm, killed).extract(slow.story())
    assert lm.n_steps <= n_steps_whole - 7
    assert file_hash(only_file(killed)) == file_hash(only_file(whole))
    assert [p.name for p in killed.iterdir() if "journal" in p.name or "partial" in p.name] == []


def interrupt(slow, counting, folder, after):
    """An extraction that ends in its middle; returns its journal."""
    with pytest.raises(KeyboardInterrupt):
        slow.states(counting(slow.slow_toy(0), stop_after=after), folder).extract(slow.story())
    (journal,) = folder.glob(".*.journal")
    return journal


def n_steps_to_finish(slow, counting, folder):
    """Steps that the next run takes; its numbers are right."""
    lm = counting(slow.slow_toy(0))
    features = slow.states(lm, folder).extract(slow.story())
    expected = LMStates(slow.slow_toy(0), [1, 2], ContextWindow(10), batch_tokens=64).extract(slow.story())
    np.testing.assert_array_equal(features.values, expected.values)
    return len(lm.shapes)


def test_an_interrupted_run_is_continued_where_it_stopped(slow, counting, tmp_path):
    interrupt(slow, counting, tmp_path / "interrupted", after=6)
    interrupt(slow, counting, tmp_path / "interrupted", after=9)
    n_steps = n_steps_to_finish(slow, counting, tmp_path / "whole")
    assert n_steps_to_finish(slow, counting, tmp_path / "interrupted") == n_steps - 15
    assert file_hash(only_file(tmp_path / "interrupted")) == file_hash(only_file(tmp_path / "whole"))


def test_a_torn_last_line_of_the_journal_is_no_harm(slow, counting, tmp_path):
    journal = interrupt(slow, counting, tmp_path, after=6)
    with open(journal, "a") as file:
        file.write('{"pass')
    assert n_steps_to_finish(slow, counting, tmp_path) == n_steps_to_finish(slow, counting, tmp_path / "whole") - 6


def test_an_interrupted_run_of_another_plan_is_not_continued(slow, counting, tmp_path):
    """A journal is believed only for the plan that it was written for."""
    journal = interrupt(slow, counting, tmp_path, after=6)
    journal.write_text(journal.read_text().replace('"plan": "', '"plan": "0'))
    assert n_steps_to_finish(slow, counting, tmp_path) == n_steps_to_finish(slow, counting, tmp_path / "whole")


def test_an_interrupted_run_of_other_layers_is_not_continued(slow, counting, tmp_path):
    interrupt(slow, counting, tmp_path, after=6)
    other = slow.states(slow.slow_toy(0), tmp_path, layers=[0]).extract(slow.story())
    np.testing.assert_array_equal(other.values, LMStates(slow.slow_toy(0), 0, ContextWindow(10)).extract(slow.story()).values)
    n_steps_to_finish(slow, counting, tmp_path)
    assert len(list(tmp_path.glob("*.h5"))) == 1


def test_added_layers_are_continued_after_a_crash_beside_the_old_ones(slow, counting, tmp_path):
    slow.states(slow.slow_toy(0), tmp_path, layers=[0]).extract(slow.story())
    with pytest.raises(KeyboardInterrupt):
        slow.states(counting(slow.slow_toy(0), stop_after=6), tmp_path).extract(slow.story())
    n_steps = n_steps_to_finish(slow, counting, tmp_path / "whole")
    assert n_steps_to_finish(slow, counting, tmp_path) == n_steps - 6
    lm = counting(slow.slow_toy(0), stop_after=0)
    assert slow.states(lm, tmp_path, layers=[0, 1, 2]).extract(slow.story()).n_features == 48


def test_a_batch_halved_by_lack_of_memory_stays_halved_after_a_crash(slow, counting, tmp_path):
    states = slow.states(counting(slow.slow_toy(0), limit=50, stop_after=6), tmp_path)
    with pytest.warns(UserWarning, match="out of memory"), pytest.raises(KeyboardInterrupt):
        states.extract(slow.story())
    slow.states(counting(slow.slow_toy(0), limit=50), tmp_path).extract(slow.story())  # and no warning


def test_two_processes_at_once_compute_once_and_read_the_same(slow, tmp_path):
    processes = [start(tmp_path, 0.02) for _ in range(2)]
    n_steps = sorted(int(process.communicate(timeout=300)[0]) for process in processes)
    lm = slow.slow_toy(0)
    slow.states(lm, tmp_path / "alone").extract(slow.story())
    assert n_steps == [0, lm.n_steps]
    assert file_hash(only_file(tmp_path)) == file_hash(only_file(tmp_path / "alone"))


@pytest.mark.parametrize("place", ["values", "header", "cut short", "settings"])
def test_a_damaged_file_is_made_anew_with_a_warning(slow, tmp_path, place):
    lm = slow.slow_toy(0)
    slow.states(lm, tmp_path).extract(slow.story())
    path = only_file(tmp_path)
    before, content = file_hash(path), bytearray(path.read_bytes())
    at = {"values": len(content) - 5000, "header": 3, "cut short": 0, "settings": content.find(b"first_word_has")}[place]
    content[at] ^= 1
    path.write_bytes(content[: len(content) // 2] if place == "cut short" else content)
    with pytest.warns(UserWarning, match="is damaged .* and is made again"):
        slow.states(lm, tmp_path).extract(slow.story())
    assert file_hash(path) == before


def test_a_cache_that_cannot_be_written_costs_the_cache_and_not_the_result(slow, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    expected = slow.states(slow.slow_toy(0), tmp_path / "good").extract(slow.story()).values
    with pytest.warns(UserWarning, match="the features cache cannot be written .*going on without it"):
        features = slow.states(slow.slow_toy(0), tmp_path / "file" / "cache").extract(slow.story())
    np.testing.assert_array_equal(features.values, expected)


def test_a_read_only_cache_still_gives_what_it_has(slow, tmp_path, monkeypatch):
    lm = slow.slow_toy(0)
    slow.states(lm, tmp_path).extract(slow.story())
    n_steps = lm.n_steps

    def refuse(path, *args, **kwargs):
        raise AssertionError("a reader takes no lock")

    monkeypatch.setattr("neurolm.features.cache.exclusive_lock", refuse)
    slow.states(lm, tmp_path).extract(slow.story())
    assert lm.n_steps == n_steps


def test_a_full_disk_is_known_before_the_work_and_leaves_nothing_behind(slow, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    lm = slow.slow_toy(0)
    with pytest.warns(UserWarning, match=r"cannot be written \(No space left on device\); going on without it"):
        features = slow.states(lm, tmp_path).extract(slow.story())
    np.testing.assert_array_equal(
        features.values, LMStates(lm, [1, 2], ContextWindow(10), batch_tokens=64).extract(slow.story()).values
    )
    assert [p for p in tmp_path.iterdir() if not p.name.endswith(".lock")] == []


def test_what_hdf5_says_of_a_full_disk_is_told_in_the_words_of_the_system(slow, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "Unable to synchronously create file (file write failed: time = Wed, buf = 0x56)")

    monkeypatch.setattr("neurolm.features.cache_file._lay_out", full)
    with pytest.warns(UserWarning, match=r"cannot be written \(No space left on device\); going on without it"):
        slow.states(slow.slow_toy(0), tmp_path).extract(slow.story())


def test_a_cache_that_is_required_and_cannot_be_written_is_an_error_before_the_work(slow, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    lm = slow.slow_toy(0)
    states = slow.states(lm, tmp_path / "file" / "cache")
    states.cache.required = True
    with pytest.raises(FileError, match=r"cannot be written \(Not a directory\)\. Free space, or set NEUROLM_CACHE"):
        states.extract(slow.story())
    assert lm.n_steps == 0


def test_a_required_cache_on_a_full_disk_is_an_error_and_leaves_nothing_behind(slow, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    states = slow.states(slow.slow_toy(0), tmp_path)
    states.cache.required = True
    with pytest.raises(FileError, match=r"cannot be written \(No space left on device\)\. Free space"):
        states.extract(slow.story())
    assert [p for p in tmp_path.iterdir() if not p.name.endswith(".lock")] == []


def test_a_disk_that_fails_half_way_keeps_what_was_computed(slow, tmp_path, monkeypatch):
    """The message says that the next run goes on, and it does."""
    note, calls = FileSink.done, []

    def fails_at_the_tenth(self, n_passes):
        calls.append(n_passes)
        if len(calls) == 10:
            raise OSError(errno.EIO, "Input/output error")
        note(self, n_passes)

    monkeypatch.setattr(FileSink, "done", fails_at_the_tenth)
    with pytest.raises(FileError, match=r"could not be written to the end \(Input/output error\).*it goes on from there"):
        slow.states(slow.slow_toy(0), tmp_path).extract(slow.story())
    monkeypatch.setattr(FileSink, "done", note)
    lm = slow.slow_toy(0)
    slow.states(lm, tmp_path).extract(slow.story())
    whole = slow.slow_toy(0)
    slow.states(whole, tmp_path / "whole").extract(slow.story())
    assert lm.n_steps == whole.n_steps - 9
    assert file_hash(only_file(tmp_path)) == file_hash(only_file(tmp_path / "whole"))


def wait_for_journal(folder, n_lines, limit_s=300):
    """The journal's path, once it has so many lines."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        for journal in Path(folder).glob(".*.journal"):
            if len(journal.read_text().splitlines()) >= n_lines:
                return journal
        time.sleep(0.01)
    raise AssertionError(f"no journal of {n_lines} lines in {folder} after {limit_s} s")

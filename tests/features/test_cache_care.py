"""Listing, verifying and pruning the cache."""

import os
import time

import pytest

from neurolm.checks import InputError
from neurolm.features import FeatureCache, LMStates, list_cache, prune_cache, verify_cache
from neurolm.locks import exclusive_lock
from neurolm.stimuli import ContextWindow


@pytest.fixture
def cache(models, story, tmp_path, counting):
    """Two whole files and an interrupted one."""
    cache = FeatureCache(tmp_path, sync_every_s=0)
    for n in (2, 3):
        LMStates(models["toy"], [0, 2], ContextWindow(n), cache=cache).extract(story)
    interrupted = LMStates(counting(models["toy"], stop_after=3), 1, ContextWindow(9), batch_tokens=100, cache=cache)
    with pytest.raises(KeyboardInterrupt):
        interrupted.extract(story)
    return cache


def damage(path):
    content = bytearray(path.read_bytes())
    content[-3000] ^= 1
    path.write_bytes(content)


def by_state(found):
    return {state: [one for one in found if one.state == state] for state in {one.state for one in found}}


def test_a_list_tells_label_layers_size_and_state(cache):
    states = by_state(list_cache(cache))
    assert [one.label for one in states["whole"]] == [("alice", "toy", "2 words"), ("alice", "toy", "3 words")]
    assert states["whole"][0].datasets == ("layer_00", "layer_02")
    assert states["whole"][0].n_bytes >= 2 * 57 * 24 * 4
    assert abs(states["whole"][0].used_at - time.time()) < 3600
    (unfinished,) = states["unfinished"]
    assert unfinished.label == ("alice", "toy", "9 words")


def test_an_empty_or_absent_cache_is_an_empty_list(tmp_path):
    assert list_cache(FeatureCache(tmp_path / "nothing")) == []
    assert prune_cache(FeatureCache(tmp_path / "nothing")) == []


def test_verify_finds_what_a_list_cannot_see(cache):
    path = list_cache(cache)[-1].path
    damage(path)
    assert {one.state for one in list_cache(cache)} == {"whole", "unfinished"}
    (harmed,) = by_state(verify_cache(cache))["damaged"]
    assert harmed.path == path
    assert "checksums differ: layer_0" in harmed.problem


def test_prune_takes_the_damaged_and_the_unfinished_and_leaves_the_rest(cache):
    damage(list_cache(cache)[-1].path)
    would = prune_cache(cache, dry_run=True)
    assert sorted(one.state for one in would) == ["damaged", "unfinished"]
    assert len(list_cache(cache)) == 3
    assert prune_cache(cache) == would
    assert [one.state for one in verify_cache(cache)] == ["whole"]
    assert [p for p in cache.folder.iterdir() if p.suffix in (".partial", ".journal")] == []


def test_prune_takes_what_was_long_unused(cache, models, story):
    old = list_cache(cache)[-1].path
    month_ago = time.time() - 30 * 86400
    os.utime(old, (month_ago, month_ago))
    assert old in [one.path for one in prune_cache(cache, unused_days=20)]
    assert [one.state for one in list_cache(cache)] == ["whole"]
    fresh = list_cache(cache)[0].path
    os.utime(fresh, (month_ago, month_ago))
    LMStates(models["toy"], [0, 2], ContextWindow(2), cache=cache).extract(story)
    assert prune_cache(cache, unused_days=20) == []  # it was used just now
    with pytest.raises(InputError, match="unused_days must be >= 0"):
        prune_cache(cache, unused_days=-1)


def test_prune_of_everything_leaves_what_a_process_is_writing(cache):
    (unfinished,) = by_state(list_cache(cache))["unfinished"]
    lock = unfinished.path.with_name(unfinished.path.name.replace(".partial", ".lock"))
    with exclusive_lock(lock):
        assert by_state(list_cache(cache))["in use"][0].path == unfinished.path
        prune_cache(cache, everything=True)
    assert [one.path for one in list_cache(cache)] == [unfinished.path]


def test_a_file_that_is_a_link_to_another_disk_stays_one(cache, models, story, tmp_path, counting):
    path = list_cache(cache)[-1].path
    disk = tmp_path / "disk"
    disk.mkdir()
    os.replace(path, disk / path.name)
    path.symlink_to(disk / path.name)
    damage(path)
    context = ContextWindow(3 if "3-words" in path.name else 2)
    stopped = LMStates(counting(models["toy"], stop_after=2), [0, 2], context, batch_tokens=50, cache=cache)
    with pytest.warns(UserWarning, match="is damaged"), pytest.raises(KeyboardInterrupt):
        stopped.extract(story)
    assert disk / f".{path.name}.partial" in {one.path for one in list_cache(cache) if one.state == "unfinished"}
    with pytest.warns(UserWarning, match="is damaged"):
        LMStates(models["toy"], [0, 2], context, batch_tokens=50, cache=cache).extract(story)
    assert path.is_symlink()
    assert disk / path.name in {one.path for one in verify_cache(cache) if one.state == "whole"}
    prune_cache(cache, everything=True)
    assert path.is_symlink()
    assert not path.exists()
    assert list_cache(cache) == []


def test_the_folder_comes_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("NEUROLM_CACHE", str(tmp_path))
    assert FeatureCache().folder == tmp_path / "features"

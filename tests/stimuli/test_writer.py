import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neurolm.checks import InputError
from neurolm.stimuli import Transcript, read_events, read_textgrid, read_tiers, write_csv, write_textgrid

STORY = Transcript(("say", '"no"', "it's"), [0.5, 1.25, 2.0], [1.0, 2.0, 2.1], name="told")
INSTANTS = Transcript(("i", "went"), [0.1, 1 / 3], [0.1, 1 / 3], name="told")


@pytest.mark.parametrize("story", [STORY, INSTANTS])
def test_what_is_written_is_read_back(story, tmp_path):
    write_csv(story, tmp_path / "told.csv")
    write_textgrid(story, tmp_path / "told.TextGrid", end_s=5.0)
    assert read_events(tmp_path / "told.csv") == story
    assert read_textgrid(tmp_path / "told.TextGrid") == story


def test_intervals_cover_the_whole_time_and_never_overlap(tmp_path):
    overlapping = Transcript(("a", "b"), [0.5, 0.9], [1.0, 1.5])
    write_textgrid(overlapping, tmp_path / "told.TextGrid", end_s=2.0)
    (tier,) = read_tiers(tmp_path / "told.TextGrid")
    edges = [(label.onset, label.offset, label.text) for label in tier.labels]
    assert edges == [(0, 0.5, ""), (0.5, 0.9, "a"), (0.9, 1.5, "b"), (1.5, 2.0, "")]


def test_the_same_words_give_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        write_csv(STORY, tmp_path / f"{name}.csv")
        write_textgrid(STORY, tmp_path / f"{name}.TextGrid")
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    assert (tmp_path / "one.TextGrid").read_bytes() == (tmp_path / "two.TextGrid").read_bytes()
    assert np.isclose(float((tmp_path / "one.TextGrid").read_text().split("xmax = ")[1].split()[0]), 2.1)


@pytest.mark.parametrize(
    "story",
    [
        Transcript(("yes", "no", "well"), [0, 0.5, 0.5], [0.4, 0.9, 1.2]),
        Transcript(("a", "b", "c"), [0, 0.5, 0.8], [0.4, 0.5, 1.0]),
        Transcript(("a", "b"), [0.5, 0.5], [0.5, 1.0]),
        Transcript(("a", "sp", "b"), [0, 0.5, 1.0], [0.5, 1.0, 1.5]),
        Transcript(('na\\i"ve', "b"), [0, 0.5], [0.5, 1.0]),
        Transcript(("sp",), [0], [0.5]),
    ],
)
def test_a_textgrid_that_would_lose_a_word_is_refused_and_not_written(story, tmp_path):
    with pytest.raises(InputError, match="write_csv"):
        write_textgrid(story, tmp_path / "told.TextGrid")
    assert not (tmp_path / "told.TextGrid").exists()


@pytest.mark.parametrize("offsets", [[-0.5, 0.8], [-1.0, 0.5]])
def test_times_before_0_lie_inside_the_file(offsets, tmp_path):
    story = Transcript(("a", "b"), [-1.0, 0.5], offsets, name="told")
    write_textgrid(story, tmp_path / "told.TextGrid")
    assert read_textgrid(tmp_path / "told.TextGrid") == story
    begins = [line.strip() for line in (tmp_path / "told.TextGrid").read_text().splitlines() if "xmin" in line]
    assert begins[:2] == ["xmin = -1.0", "xmin = -1.0"]


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_written_is_read_back_word_by_word(data, tmp_path):
    n = data.draw(st.integers(1, 6))
    onsets = np.cumsum(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))) / 4 - 1
    offsets = onsets + np.array(data.draw(st.lists(st.integers(0, 4), min_size=n, max_size=n))) / 4
    words = data.draw(st.lists(st.sampled_from(["yes", "no", 'say "so"', "it's", "sp", "café", "x!"]), min_size=n, max_size=n))
    story = Transcript(tuple(words), onsets, offsets)
    path = tmp_path / "told.TextGrid"
    try:
        write_textgrid(story, path)
    except InputError:
        return
    found = read_textgrid(path)
    assert found.words == story.words
    assert found.onsets.tolist() == story.onsets.tolist()

import numpy as np
import pytest

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

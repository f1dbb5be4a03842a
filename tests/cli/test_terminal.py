"""What progress says: the time left follows the work, and is never a number that is not one."""

import contextvars
import io
import json
import time

import pytest

from neurolm.cli.terminal import ProgressLines, Terminal, _bar
from neurolm.progress import Rate, progress, say, shown_on, time_left, warn
from neurolm.workflows.heartbeats import Heartbeat


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_nothing_done_has_no_time_left():
    assert time_left(10, 0, 5) is None
    assert time_left(10, 5, 5) == 10


def test_what_an_earlier_run_did_does_not_make_this_one_fast(clock):
    rate = Rate("features")
    clock[0] += 0.1
    rate.told(90)
    clock[0] += 10
    _, here, seconds = rate.told(91)
    assert time_left(100 - 91, here, seconds) == pytest.approx(90)


def test_lines_count_from_the_start_where_the_first_call_comes_after_the_first_step(clock, capsys):
    lines = ProgressLines("encode", Terminal())
    clock[0] += 30
    lines(1, 4, "subjects", "s18")
    assert capsys.readouterr().err.split() == [
        "encode",
        "25",
        "%",
        "1",
        "of",
        "4",
        "subjects",
        "1",
        "min",
        "30",
        "s",
        "left",
        "s18",
    ]


def test_lines_about_work_of_which_nothing_is_done_say_no_rate(clock, capsys):
    lines = ProgressLines("features", Terminal())
    clock[0] += 3
    lines(0, 4, "words")
    assert capsys.readouterr().err.split() == ["features", "0", "%", "0", "of", "4", "words"]


def test_the_bar_of_a_single_process_has_a_time_left_that_grows_while_no_step_is_completed(clock, monkeypatch):
    from rich import console

    screen = io.StringIO()
    real = console.Console
    monkeypatch.setattr(
        console, "Console", lambda **_: real(file=screen, force_terminal=True, width=200, get_time=lambda: clock[0])
    )
    drawing = _bar("encode")
    advance = next(drawing)
    bars = advance.__closure__[[*advance.__code__.co_freevars].index("bars")].cell_contents
    shown = []
    advance(0, 4, "subjects")
    for later in (30, 180):
        clock[0] = 100 + later
        if later == 30:
            advance(1, 4, "subjects")
        bars.refresh()
        shown.append(screen.getvalue().splitlines()[-1])
    drawing.close()
    assert "1 min 30 s left" in shown[0]
    assert "9 min 0 s left" in shown[1]


def test_a_heartbeat_says_what_was_done_here(clock, tmp_path):
    beat = Heartbeat("features", tmp_path)
    beat(50, 100, "words")
    clock[0] += 10
    beat(60, 100, "words")
    told = json.loads(beat.path.read_text())
    assert (told["here"], told["here_s"], told["used_s"]) == (10, 10, 10)


def test_an_analysis_from_python_shows_nothing_unless_a_console_is_given(capsys):
    class Kept:
        def __init__(self):
            self.lines = []

        def say(self, text):
            self.lines.append(text)

        def warn(self, text):
            self.lines.append(f"warning: {text}")

        progress = Terminal.progress

    def analysis():
        say("r .50")
        warn("one file moved")
        with progress("encode") as report:
            report(1, 1)

    contextvars.Context().run(analysis)  # as in a fresh interpreter
    assert capsys.readouterr() == ("", "")
    kept = Kept()
    with shown_on(kept):
        analysis()
    assert kept.lines == ["r .50", "warning: one file moved"]

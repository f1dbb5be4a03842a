"""The section that comes before any result: words over TRs, BOLD, run lengths, what was dropped."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurolm.report.alignment import StoryAlignment
from neurolm.report.alignment_figures import lag_curve, lag_of_each_run, run_spans, word_rate_above_bold
from neurolm.report.figures import Picture
from neurolm.report.markup import MISSING, Markup, details, element, interval, join, number, probability, table
from neurolm.report.page import Section, figure, light_list, paragraphs

MOST_STORIES = 12  # pictures of more stories than this would make the page heavy
_EACH = "The same for each subject's own run; solid where its peak is clear (p < 0.05), with its lag."
_SEVERITY = {"failed": 0, "warning": 1, "ok": 2}


def alignment_section(stories: tuple[StoryAlignment, ...]) -> Section:
    """Every story's check; pictures of those that matter most where there are too many."""
    return Section("alignment", "Do words and BOLD fit together?", _children(stories))


def alignment_pictures(stories: tuple[StoryAlignment, ...]) -> dict[str, Picture]:
    """The figures of every story under their file names."""
    pictures = {"run-spans": run_spans(stories)} if stories else {}
    for i, story in enumerate(stories):
        pictures[f"word-rate-and-bold-{i + 1}"] = word_rate_above_bold(story)
        if story.lags is not None:
            pictures[f"lag-curve-{i + 1}"] = lag_curve(story.lags, story=story.story)
        if story.runs:
            pictures[f"lag-of-each-run-{i + 1}"] = lag_of_each_run(story.runs, story=story.story)
    return pictures


def _children(stories: tuple[StoryAlignment, ...]) -> tuple[Any, ...]:
    if not stories:
        return (paragraphs("No alignment check was made. A shifted transcript gives low scores without any error."),)
    spans = run_spans(stories)
    caption = "Seconds with words and seconds with measured rows. What lies before the first row was heard but not measured."
    # Those with problems first: where there are too many stories, these must not be missed.
    worst = sorted(enumerate(stories), key=lambda pair: _SEVERITY[pair[1].status])
    shown = [join((element("h3", story.story), _story(story, i))) for i, story in worst[:MOST_STORIES]]
    left = (
        f"{len(worst) - MOST_STORIES} more stories, none of them worse than these, are in the table above; "
        "the folder of figures has a picture of each."
        if len(worst) > MOST_STORIES
        else ""
    )
    return (figure(spans, "run-spans", caption), _story_table(stories), *shown, paragraphs(left))


def _story_table(stories: tuple[StoryAlignment, ...]) -> Markup:
    rows = (
        (
            s.story,
            s.status if s.findings else "not checked",
            f"{s.n_words:,}",
            f"{s.n_words_before:,}",
            f"{s.n_words_after:,}",
            f"{len(s.tr_times):,}",
            interval(*s.measured_s, 1),
            number(np.mean(s.word_rate)),
            number(s.lags.best_lag_s, 1) if s.lags else MISSING,
            probability(s.lags.p, s.lags.smallest_p) if s.lags else MISSING,
            "; ".join(s.dropped) or "nothing",
        )
        for s in stories
    )
    header = ("Story", "Check", "Words", "before", "after", "Rows", "Measured (s)", "Words/TR", "Best lag (s)", "p", "Dropped")
    return table(
        header,
        rows,
        caption="Words before the first and after the last measured row; the lag at which BOLD follows the word rate best.",
        text_columns=(0, 1, 10),
    )


def _story(story: StoryAlignment, i: int) -> Markup:
    whose = "columns and subjects, with one standard deviation" if story.bold_sd is not None else "columns"
    caption = f"Words in each TR above the BOLD, averaged over {whose}."
    lag_caption = (
        "Word rate against BOLD at each lag. The peak must lie some seconds after the words and above the dashed line; "
        "a peak elsewhere means that words and BOLD are shifted."
    )
    return join(
        (
            light_list(story.findings),
            figure(word_rate_above_bold(story), f"word-rate-and-bold-{i + 1}", caption),
            figure(lag_curve(story.lags, story=story.story), f"lag-curve-{i + 1}", lag_caption) if story.lags else None,
            details("Run by run", figure(lag_of_each_run(story.runs, story=story.story), f"lag-of-each-run-{i + 1}", _EACH))
            if story.runs
            else None,
            _words_by_tr(story),
        )
    )


def _words_by_tr(story: StoryAlignment, n_most: int = 400) -> Markup | None:
    if story.words_by_tr is None:
        return None
    rows = [
        (f"{i}", number(time, 1), words, number(bold))
        for i, (time, words, bold) in enumerate(zip(story.tr_times, story.words_by_tr, story.bold_mean, strict=True))
    ][:n_most]
    part = "" if len(rows) == len(story.tr_times) else f" (first {n_most} of {len(story.tr_times):,} rows)"
    caption = f"Every measured row with the words heard in it{part}."
    return details(
        "Words in each row",
        table(("Row", "Time (s)", "Words", "BOLD (z)"), rows, caption=caption, text_columns=(2,)),
        is_printed=False,
    )

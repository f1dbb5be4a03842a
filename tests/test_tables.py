import os

import pytest

from neurolm.brain import read_region_table
from neurolm.checks import FileError, check_file
from neurolm.datasets.bids_stories import StoryRun, read_stimulus_events
from neurolm.datasets.narratives import _audio_starts
from neurolm.features.norms import Norms
from neurolm.stimuli import read_events
from neurolm.storage import read_json
from neurolm.tables import parse_table

HEADER = "onset\tduration\ttrial_type\tstim_file"
ROWS = "0.0\t6.0\tfixation\tn/a\n6.0\t70.0\tstory\tpieman_audio.wav\n76.0\t4.0\tfixation\tn/a\n"
QUOTED = '"onset"\t"duration"\t"trial_type"\t"stim_file"\n6\t70\t"story"\t"pieman_audio.wav"\n'


def story_onset(path):
    events = read_stimulus_events(path)
    rows = tuple(row for row in events.rows if row.stim_file.startswith("pieman"))
    return StoryRun("01", "task-pieman", "pieman", events=events, rows=rows).onset()


EVENTS = {
    "plain": f"{HEADER}\n{ROWS}",
    "pandas index": "\t" + HEADER + "\n" + "".join(f"{i}\t{row}\n" for i, row in enumerate(ROWS.splitlines())),
    "index with a name": "Unnamed: 0\t" + HEADER + "\n" + "".join(f"{i}\t{row}\n" for i, row in enumerate(ROWS.splitlines())),
    "byte-order mark": f"\ufeff{HEADER}\n{ROWS}",
    "byte-order mark and index": "\ufeff\t" + HEADER + "\n0\t" + ROWS.splitlines()[1] + "\n",
    "CRLF": f"{HEADER}\n{ROWS}".replace("\n", "\r\n"),
    "old Mac line ends": f"{HEADER}\n{ROWS}".replace("\n", "\r"),
    "tabs at the ends of rows": f"{HEADER}\n{ROWS}".replace("\n", "\t\n"),
    "a tab at the end of the header": f"{HEADER}\t\n{ROWS}",
    "tabs at the ends of the rows alone": f"{HEADER}\n" + ROWS.replace("\n", "\t\t\n"),
    "names in capitals, with blanks": f"{HEADER.upper().replace('ONSET', ' Onset ')}\n{ROWS}",
    "columns in another order": "stim_file\tonset\ttrial_type\npieman_audio.wav\t6\tstory\n",
    "every text in quotes": QUOTED,
    "blank lines": f"\n{HEADER}\n\n{ROWS}\n\n",
}


@pytest.mark.parametrize("form", EVENTS)
def test_events_say_the_same_onset_in_whatever_form_they_were_written(form, tmp_path):
    path = tmp_path / "sub-01_task-pieman_events.tsv"
    path.write_bytes(EVENTS[form].encode())
    assert story_onset(path) == 6.0
    assert _audio_starts(path)["pieman"] == _audio_starts_of_plain(tmp_path)


def _audio_starts_of_plain(folder):
    path = folder / "plain.tsv"
    path.write_text(EVENTS["plain"])
    return _audio_starts(path)["pieman"]


BROKEN = {
    "duplicated column": (f"{HEADER}\tonset\n6\t70\tstory\tpieman.wav\t1\n", r"events.tsv:1: names the column 'onset' twice"),
    "duplicated in capitals": (f"Onset\t{HEADER}\n1\t6\t70\tstory\tpieman.wav\n", r"names the column 'onset' twice"),
    "row names without a header": (
        HEADER + "\n" + "".join(f"{i}\t{row}\n" for i, row in enumerate(ROWS.splitlines(), 1)),
        r"events.tsv:2: 5 columns, the first row has 4. .*without row names",
    ),
    "a short row": (f"{HEADER}\n{ROWS}80\t2\n", r"events.tsv:5: 2 columns, the first row has 4"),
    "onset n/a": (f"{HEADER}\nn/a\t70\tstory\tpieman_audio.wav\n", r"events.tsv:2: 'n/a' is not a time"),
    "onset NaN": (f"{HEADER}\nnan\t70\tstory\tpieman_audio.wav\n", r"events.tsv:2: 'n/a' is not a time"),
}


@pytest.mark.parametrize("form", BROKEN)
def test_a_table_that_could_be_misread_is_refused_with_its_line(form, tmp_path):
    text, message = BROKEN[form]
    path = tmp_path / "events.tsv"
    path.write_text(text)
    with pytest.raises(FileError, match=message):
        story_onset(path)


def test_words_are_read_from_the_named_columns_beside_an_index(tmp_path):
    path = tmp_path / "words.tsv"
    path.write_text('\tword\tonset\toffset\t\n0\tDown\t0.5\t0.9\t\n1\t"the\t1.0\t1.2\t\n')
    story = read_events(path)
    assert story.words == ("Down", '"the')
    assert story.onsets.tolist() == [0.5, 1.0]
    path.write_text("word\tonset\toffset\tonset\nDown\t0.5\t0.9\t7\n")
    with pytest.raises(FileError, match="names the column 'onset' twice"):
        read_events(path)


def test_an_index_is_not_a_region_and_not_a_word(tmp_path):
    (tmp_path / "r.csv").write_text(",LIFG,LATL\n0,1,2\n1,3,4\n2,5,6\n")
    run = read_region_table(tmp_path / "r.csv", first_tr_s=0, tr=2.0)
    assert run.space.names == ("LIFG", "LATL")
    assert run.data.tolist() == [[1, 2], [3, 4], [5, 6]]
    (tmp_path / "r.csv").write_text(",LIFG\n0.3,1\n0.1,3\n0.2,5\n")
    with pytest.raises(FileError, match="first column without a name"):
        read_region_table(tmp_path / "r.csv", first_tr_s=0, tr=2.0)
    (tmp_path / "n.csv").write_text(",Word,Conc.M\n0,dog,4.8\n1,idea,1.6\n")
    assert set(Norms(tmp_path / "n.csv", "Conc.M").table) == {"dog", "idea"}
    (tmp_path / "n.csv").write_text("Word,Conc.M,Conc.M\ndog,4.8,1\n")
    with pytest.raises(FileError, match=r"names the column .Conc\.M. twice"):
        Norms(tmp_path / "n.csv", "Conc.M")


def test_cells_are_found_by_name_and_line(tmp_path):
    table = parse_table('a\t\tb\n1\tx\t"two ""words"""\n\n3\ty\t4\n', "t.tsv")
    assert [table.value(row, "b") for row in table.rows] == ['two "words"', "4"]
    assert [row.line for row in table.rows] == [2, 4]
    assert table.value(table.rows[0], "c") == ""


@pytest.mark.parametrize("pointer", ["link", "git-annex", "Git LFS"])
def test_a_file_whose_content_was_not_fetched_is_named_with_what_fetches_it(pointer, tmp_path):
    path = tmp_path / "a.json"
    if pointer == "link":
        os.symlink("../.git/annex/objects/xx/MD5E-s99.json", path)
    else:
        path.write_text(
            {"git-annex": "/annex/objects/MD5E-s99.json\n", "Git LFS": "version https://git-lfs.github.com/spec/v1\n"}[pointer]
        )
    for read in (check_file, read_json):
        with pytest.raises(FileError, match=rf"a.json: stands for a file whose content is not here. .*datalad get {path}"):
            read(path)

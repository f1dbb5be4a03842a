import numpy as np
import pytest

from neurolm.brain import read_region_table
from neurolm.checks import FileError


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("LIFG,LATL\n1,2\n3,n/a\n5,6\n", ("LIFG", "LATL")),
        ("\ufeffLIFG\tLATL\r\n1\t2\r\n3\t\r\n5\t6\r\n", ("LIFG", "LATL")),
        ('"left, inferior";LATL\n1;2\n3;NaN\n5;6\n', ("left, inferior", "LATL")),
        ("  1.0   2e0\n 3 nan\n\n5 6\n", ("region-1", "region-2")),
    ],
)
def test_tables_of_every_form_give_the_same_run(text, names, tmp_path):
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    run = read_region_table(tmp_path / "a.csv", first_tr_s=20.0, tr=2.0)
    np.testing.assert_array_equal(run.data, [[1, 2], [3, np.nan], [5, 6]])
    np.testing.assert_array_equal(run.tr_times, [20, 22, 24])
    assert run.space.names == names
    assert run.bad_voxels.tolist() == [False, True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3\n4,5\n", r"a.csv:3: has 1 columns here for 2 regions"),
        ("a,b\n1,2\n3,x\n", r"a.csv:3: 'x' is not a number"),
        ("a,b\n1,2\n3,inf\n", r"a.csv:3: 'inf' is not a number"),
        ("a,a\n1,2\n3,4\n", r"names two regions alike"),
        ("a,b\n1,2\n", r"has 1 rows of numbers"),
        ("", r"has 0 rows of numbers"),
    ],
)
def test_impossible_tables_are_named_with_their_line(text, message, tmp_path):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(FileError, match=message):
        read_region_table(tmp_path / "a.csv", first_tr_s=0, tr=2.0)


def test_it_agrees_with_numpy_on_plain_text(tmp_path):
    values = np.random.default_rng(0).standard_normal((30, 6))
    np.savetxt(tmp_path / "a.txt", values)
    run = read_region_table(tmp_path / "a.txt", first_tr_s=0, tr=1.5, names=tuple("abcdef"))
    np.testing.assert_array_equal(run.data, np.loadtxt(tmp_path / "a.txt"))
    assert run.space.names == tuple("abcdef")

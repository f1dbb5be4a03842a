import base64
import json
import re

import numpy as np
import pytest

from neurolm.brain import Surface
from neurolm.checks import InputError
from neurolm.report import SurfaceMaps
from neurolm.report.surface import HEMISPHERES, colour_table, data_element, maps_element, mesh_element, quantised, read_mesh
from neurolm.report.surface_figure import surface_figure, vertex_colours


def make_maps(n_maps=3, **more):
    rng = np.random.default_rng(0)
    values = rng.normal(0.2, 0.1, (n_maps, 20484))
    values[:, ::7] = np.nan
    fields = {"names": tuple(f"layer {i}" for i in range(n_maps)), "label": "r"}
    return SurfaceMaps.from_values(values, Surface("fsaverage5", 10242, 10242), **fields, **more)


def read(element):
    return json.loads(re.search(r">(.*)<", element)[1])


def decoded(text, dtype):
    return np.frombuffer(base64.b64decode(text), dtype)


def test_a_byte_keeps_a_value_to_half_a_step_and_nan_apart():
    values = np.random.default_rng(0).uniform(-0.3, 0.7, 5000)
    steps = quantised(np.append(values, np.nan), (-0.3, 0.7))
    assert steps[-1] == 0
    assert steps[:-1].min() >= 1
    back = -0.3 + (steps[:-1].astype(float) - 1) / 254
    assert np.abs(back - values).max() <= 0.5 / 254 + 1e-12


def test_values_beyond_the_scale_take_the_end():
    assert quantised(np.array([-9.0, 0.0, 1.0, 9.0, np.inf, -np.inf]), (0.0, 1.0)).tolist() == [1, 1, 255, 255, 255, 1]


def test_the_scale_holds_zero_and_every_value():
    maps = make_maps()
    both = np.concatenate([maps.left, maps.right], axis=1)
    assert maps.scale == (np.nanmin(both), np.nanmax(both))
    around = make_maps(1, diverging=True).scale
    assert around[0] == -around[1]
    assert make_maps(1, limits=(0.0, 0.5)).scale == (0.0, 0.5)
    nothing = np.full((1, 10242), np.nan)
    assert SurfaceMaps(names=("a",), left=nothing, right=nothing, label="r").scale == (0.0, 1.0)


def test_the_embedded_mesh_is_the_mesh_to_a_hundredth_of_a_millimetre():
    mesh, data = read_mesh("fsaverage5"), read(mesh_element("fsaverage5"))
    assert np.array_equal(decoded(data["faces"], "<u2").reshape(-1, 3), mesh.faces)
    for (shape, hemisphere), coordinates in mesh.coordinates.items():
        back = decoded(data["shapes"][shape][hemisphere], "<i2").reshape(-1, 3) / 32767 * data["bound"]
        assert np.abs(back - coordinates).max() < 0.01


def test_the_embedded_maps_are_the_maps():
    maps = make_maps()
    data = json.loads(re.search(r'id="m-data">(.*?)</script>', maps_element(maps, "m", None))[1])
    assert data["names"] == ["layer 0", "layer 1", "layer 2"]
    for i, pair in enumerate(data["maps"]):
        for hemisphere in HEMISPHERES:
            assert np.array_equal(decoded(pair[hemisphere], np.uint8), quantised(getattr(maps, hemisphere)[i], maps.scale))
    assert len(decoded(data["colours"], np.uint8)) == 255 * 3


def test_dozens_of_layers_stay_far_below_ten_megabytes():
    maps = make_maps(1)
    one, mesh = len(maps_element(maps, "m", None)), len(mesh_element("fsaverage5"))
    assert mesh + 50 * one < 2_000_000


def test_names_cannot_leave_their_data_element():
    made = data_element("d", {"names": ["</script><script>alert(1)</script>", "<!--", "\u2028"]})
    assert made.count("<") == 2
    assert read(made)["names"][0] == "</script><script>alert(1)</script>"


def test_colours_grow_lighter_along_the_scale():
    light = colour_table(False) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(light) > 0).mean() > 0.98
    assert light[-1] - light[0] > 150


def test_the_still_picture_is_grey_where_nothing_is_shown():
    maps = make_maps()
    colours = vertex_colours(maps, 0, "left", read_mesh("fsaverage5"))
    hollow = np.isnan(maps.left[0])
    assert (np.ptp(colours[hollow], axis=1) == 0).all()
    assert (np.ptp(colours[~hollow], axis=1) > 0).all()


def test_the_still_picture_carries_every_vertex_as_numbers():
    picture = surface_figure(make_maps(), 1)
    assert len(picture.data["value"]) == 20484
    assert "layer 1" in picture.description


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"left": np.zeros((1, 5))}, r"left must have shape \(1, 10242\)"),
        ({"mesh": "fsaverage6"}, "mesh must be one of 'fsaverage5'; got fsaverage6"),
        ({"first": 1}, r"first must lie in \[0, 1\)"),
        ({"limits": (1.0, 0.0)}, "limits must rise"),
    ],
)
def test_maps_that_do_not_fit_are_refused(change, message):
    fields = {"names": ("a",), "left": np.zeros((1, 10242)), "right": np.zeros((1, 10242)), "label": "r"}
    with pytest.raises(InputError, match=message):
        SurfaceMaps(**{**fields, **change})

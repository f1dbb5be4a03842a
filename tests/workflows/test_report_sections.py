import numpy as np
import pytest

from neurolm.brain import Grayordinates, Regions, Surface, VolumeMask, VoxelMap
from neurolm.checks import InputError
from neurolm.workflows.report_sections import N_VERTICES, on_cortex, surface_maps, why_not_on_cortex

AFFINE = np.array([[20.0, 0, 0, -90], [0, 20, 0, -130], [0, 0, 20, -80], [0, 0, 0, 1]])


def volume(template):
    return VolumeMask(np.ones((10, 12, 10), bool), AFFINE, template)


@pytest.mark.parametrize("template", ["MNI152NLin2009cAsym", "MNI152NLin6Asym", "MNI152Lin", "MNI152", "MNIColin27", "MNI305"])
def test_volumes_in_mni_space_are_drawn(template):
    values = on_cortex(np.ones((1, 1200)), volume(template))
    assert values.shape == (1, 2 * N_VERTICES)
    assert np.isfinite(values).mean() > 0.9
    assert why_not_on_cortex(volume(template)) == ""


@pytest.mark.parametrize(
    "template", ["T1w", "native", "func", "boldref", "MNIPediatricAsym", "MNIInfant", "OASIS30ANTs", "individual", ""]
)
def test_volumes_in_another_space_are_not_drawn_and_the_report_says_why(template):
    space = volume(template)
    assert surface_maps(space, ["a"], np.ones((1, 1200)), None, 0.05) is None
    assert on_cortex(np.ones((1, 1200)), space) is None
    why = why_not_on_cortex(space)
    assert why.startswith("No cortical surface is drawn: ")
    assert (template or "not known") in why
    if template:
        with pytest.raises(InputError, match="volume must be in MNI space to be projected; got the space"):
            VoxelMap(np.ones(1200), space, "r").to_surface()


def test_meshes_are_drawn_with_their_own_number_of_vertices_alone():
    fine, coarse = Surface("fsaverage6", 40962, 40962), Surface("fsaverage5", N_VERTICES, N_VERTICES)
    values = np.arange(2.0 * 40962)[None]
    shown = on_cortex(values, fine)
    np.testing.assert_array_equal(shown[0, [0, N_VERTICES]], [0, 40962])
    np.testing.assert_array_equal(on_cortex(shown, coarse), shown)
    for space, why in [
        (Surface("fsaverage5", 10, 12), "10 and 12 vertices where fsaverage5 has 10,242"),
        (Surface("fsnative", N_VERTICES, N_VERTICES), "the mesh fsnative"),
        (Grayordinates("fsLR", 4, 4, ("CORTEX_LEFT",), np.zeros(1, int), np.zeros((1, 3))), "grayordinates on fsLR"),
    ]:
        assert on_cortex(np.ones((1, space.n_voxels)), space) is None
        assert why in why_not_on_cortex(space)
    assert why_not_on_cortex(Regions(("a",))) == ""

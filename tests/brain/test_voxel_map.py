import os
from pathlib import Path

import nibabel
import numpy as np
import pytest

from neurolm.brain.images import read_mask
from neurolm.brain.space import Regions, Surface, VolumeMask
from neurolm.brain.voxel_map import VoxelMap
from neurolm.checks import FileError, InputError

AFFINE = np.array([[4.0, 0, 0, -72], [0, 4, 0, -106], [0, 0, 4, -64], [0, 0, 0, 1]])
SPACE = VolumeMask(np.random.default_rng(0).random((37, 46, 38)) > 0.5, AFFINE)


def random_map(space, name="r"):
    values = np.random.default_rng(0).standard_normal(space.n_voxels)
    values[3] = np.nan
    return VoxelMap(values, space, name)


def test_nifti_is_read_back_by_nibabel_in_the_mask_s_space(tmp_path):
    voxels = random_map(SPACE)
    image = nibabel.load(voxels.to_nifti(tmp_path / "r.nii.gz"))
    np.testing.assert_allclose(image.affine, AFFINE)
    data = image.get_fdata()
    np.testing.assert_array_equal(data[SPACE.mask], voxels.values.astype(np.float32))
    assert np.isnan(data[~SPACE.mask]).all()
    np.testing.assert_array_equal(VoxelMap.from_nifti(tmp_path / "r.nii.gz", SPACE).values, voxels.values.astype(np.float32))
    assert VoxelMap.from_nifti(tmp_path / "r.nii.gz").space.n_voxels == SPACE.n_voxels - 1  # the NaN voxel is not known


def test_equal_maps_give_equal_bytes(tmp_path):
    for name in ("a.nii.gz", "b.nii.gz"):
        random_map(SPACE).to_nifti(tmp_path / name)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_csv_names_the_place_of_every_voxel_and_reads_back_exactly(tmp_path):
    voxels = random_map(SPACE, "correlation")
    lines = voxels.to_csv(tmp_path / "r.csv").read_text().splitlines()
    assert lines[0] == "x_mm,y_mm,z_mm,correlation"
    x, y, z = (AFFINE @ [*np.argwhere(SPACE.mask)[0], 1])[:3]
    assert lines[1] == f"{x:g},{y:g},{z:g},{voxels.values[0]!r}".replace("np.float64(", "").replace(")", "")
    assert lines[4].endswith(",")
    again = VoxelMap.from_csv(tmp_path / "r.csv", SPACE)
    np.testing.assert_array_equal(again.values, voxels.values)
    assert again.name == "correlation"


def test_regions_go_to_csv_and_back_and_nowhere_else(tmp_path):
    voxels = VoxelMap([0.5, np.nan], Regions(("LATL", "RATL")), "r")
    again = VoxelMap.from_csv(voxels.to_csv(tmp_path / "r.csv"))
    assert again.space.names == ("LATL", "RATL")
    np.testing.assert_array_equal(again.values, voxels.values)
    with pytest.raises(InputError, match="space must be a volume to become NIfTI; got Regions"):
        voxels.to_nifti(tmp_path / "r.nii")
    with pytest.raises(InputError, match="surface or a volume to become GIFTI"):
        voxels.to_gifti(tmp_path / "r")


def test_gifti_is_read_back_hemisphere_by_hemisphere(tmp_path):
    voxels = random_map(Surface("fsaverage5", 10242, 10242))
    left, right = voxels.to_gifti(tmp_path / "r")
    assert (left.name, right.name) == ("r_hemi-L.func.gii", "r_hemi-R.func.gii")
    image = nibabel.load(right)
    assert image.meta["AnatomicalStructurePrimary"] == "CortexRight"
    np.testing.assert_array_equal(image.darrays[0].data, voxels.values[10242:].astype(np.float32))
    again = VoxelMap.from_gifti(left, right)
    assert (again.space.mesh, again.space.n_left) == ("fsaverage5", 10242)
    np.testing.assert_array_equal(again.values, voxels.values.astype(np.float32))


def test_nilearn_reads_the_surface_map(tmp_path):
    from nilearn.surface import load_surf_data

    left, _ = random_map(Surface("fsaverage5", 10242, 10242)).to_gifti(tmp_path / "r")
    assert load_surf_data(str(left)).shape == (10242,)


def test_projection_samples_a_linear_field_where_the_cortex_is():
    whole = VolumeMask(np.ones((50, 60, 50), bool), np.array([[4.0, 0, 0, -98], [0, 4, 0, -134], [0, 0, 4, -72], [0, 0, 0, 1]]))
    field = whole.coordinates() @ [0.3, -0.2, 0.5]
    surface = VoxelMap(field, whole).to_surface("fsaverage5")
    from nilearn.datasets import load_fsaverage

    mesh = load_fsaverage("fsaverage5")
    middle = [(mesh["pial"].parts[s].coordinates + mesh["white_matter"].parts[s].coordinates) / 2 for s in ("left", "right")]
    np.testing.assert_allclose(surface.values, np.concatenate(middle) @ [0.3, -0.2, 0.5], atol=1e-3)
    assert (surface.space.n_left, surface.space.n_right) == (10242, 10242)


def test_projection_never_mixes_missing_voxels_into_their_neighbours():
    whole = VolumeMask(np.ones((50, 60, 50), bool), np.array([[4.0, 0, 0, -98], [0, 4, 0, -134], [0, 0, 4, -72], [0, 0, 0, 1]]))
    left = VoxelMap(np.full(whole.n_voxels, 2.0), whole).where(whole.coordinates()[:, 0] < 0).to_surface()
    values = left.values[np.isfinite(left.values)]
    np.testing.assert_allclose(values, 2)
    assert np.isfinite(left.values[:10242]).mean() > 0.95
    assert np.isnan(left.values[10242:]).mean() > 0.95


@pytest.mark.skipif(not os.environ.get("NEUROLM_DATA"), reason="NEUROLM_DATA does not name a folder with littleprince_en")
def test_the_little_prince_mask_covers_most_of_the_cortical_surface():
    path = Path(os.environ["NEUROLM_DATA"]) / "littleprince_en" / "mask_lpp_en.nii.gz"
    if not path.exists():
        pytest.skip("littleprince_en is not there")
    mask = read_mask(path)
    assert mask.n_voxels == 25870
    surface = VoxelMap(np.ones(mask.n_voxels), mask).to_surface()
    assert np.isfinite(surface.values).mean() > 0.8


def test_where_keeps_what_is_significant():
    kept = VoxelMap([0.5, 0.1], Regions(("a", "b"))).where(np.array([True, False]))
    assert kept.values[0] == 0.5
    assert np.isnan(kept.values[1])


def test_maps_and_files_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(InputError, match="the voxels of its space must have the same length; got 2 and 3"):
        VoxelMap([1, 2], Regions(("a", "b", "c")))
    path = random_map(SPACE).to_nifti(tmp_path / "r.nii")
    other = VolumeMask(SPACE.mask[:, :, :20], AFFINE)
    with pytest.raises(FileError, match=r"r.nii: has shape \(37, 46, 38\), the mask \(37, 46, 20\)"):
        VoxelMap.from_nifti(path, other)
    with pytest.raises(InputError, match=r"path must end in .nii or .nii.gz"):
        random_map(SPACE).to_nifti(tmp_path / "r.img")
    csv = VoxelMap([1, 2], Regions(("a", "b"))).to_csv(tmp_path / "r.csv")
    with pytest.raises(FileError, match=r"r.csv:2: is not in the order of the space: a"):
        VoxelMap.from_csv(csv, Regions(("b", "a")))
    csv.write_text("region,value\na,1\nb,two\n")
    with pytest.raises(FileError, match=r"r.csv:3: 'two' is not a number"):
        VoxelMap.from_csv(csv)

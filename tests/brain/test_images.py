import gzip

import nibabel
import numpy as np
import pytest

from neurolm.brain.cifti import cifti_tr
from neurolm.brain.images import header_tr, read_bold, read_gifti, read_mask, read_surface_bold, read_volume
from neurolm.brain.space import VolumeMask, space_arrays, space_from_arrays, space_hash
from neurolm.brain.voxel_map import VoxelMap
from neurolm.checks import FileError

AFFINE = np.array([[4.0, 0, 0, -72], [0, 4, 0, -106], [0, 0, 4, -64], [0, 0, 0, 1]])
MASK = np.random.default_rng(0).random((5, 6, 4)) > 0.4


def save(path, data, affine=AFFINE, tr=None):
    image = nibabel.Nifti1Image(data, affine)
    if tr is not None:
        image.header.set_zooms((4, 4, 4, tr))
        image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, path)
    return path


def run_file(path, n_trs=7, **settings):
    data = np.random.default_rng(1).standard_normal((*MASK.shape, n_trs)).astype(np.float32)
    return save(path, data, **settings), data


def test_a_run_is_read_inside_its_mask_in_the_mask_s_order(tmp_path):
    path, data = run_file(tmp_path / "run.nii.gz", tr=1.5)
    mask = read_mask(save(tmp_path / "mask.nii.gz", MASK.astype(np.uint8)))
    run = read_bold(path, mask, first_tr_s=-3.0, subject="s1")
    np.testing.assert_array_equal(run.data, data[MASK].T)
    np.testing.assert_allclose(run.tr_times, -3 + 1.5 * np.arange(7))
    x, y, z = np.argwhere(MASK)[10]
    np.testing.assert_allclose(mask.coordinates()[10], [4 * x - 72, 4 * y - 106, 4 * z - 64])


def test_integer_volumes_are_scaled_as_their_header_says(tmp_path):
    image = nibabel.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), AFFINE)
    image.header.set_slope_inter(0.5, 3)
    nibabel.save(image, tmp_path / "scaled.nii")
    np.testing.assert_allclose(read_volume(tmp_path / "scaled.nii", 3)[0], nibabel.load(tmp_path / "scaled.nii").get_fdata())


@pytest.mark.parametrize("share", [0.3, 0.9])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_files_that_were_cut_short_are_named(tmp_path, share, ending):
    path, _ = run_file(tmp_path / f"run{ending}", n_trs=50, tr=2.0)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(FileError, match=rf"run{ending}: is damaged or cut short"):
        read_bold(path, VolumeMask(MASK, AFFINE), first_tr_s=0)


def test_what_is_no_image_is_named(tmp_path):
    (tmp_path / "text.nii.gz").write_bytes(gzip.compress(b"not an image"))
    (tmp_path / "text.nii").write_text("not an image")
    for name in ("text.nii.gz", "text.nii"):
        with pytest.raises(FileError, match=rf"{name}: is damaged or cut short"):
            read_mask(tmp_path / name)
    with pytest.raises(FileError, match=r"none.nii: no such file"):
        read_mask(tmp_path / "none.nii")


def test_images_of_other_grids_and_dimensions_are_refused(tmp_path):
    path, _ = run_file(tmp_path / "run.nii.gz", tr=2.0)
    moved = AFFINE.copy()
    moved[0, 3] += 4
    with pytest.raises(FileError, match=r"lies elsewhere than the mask .*by up to 4 mm"):
        read_bold(path, VolumeMask(MASK, moved), first_tr_s=0)
    with pytest.raises(FileError, match=r"has shape \(5, 6, 4\), the mask \(5, 6, 3\)"):
        read_bold(path, VolumeMask(MASK[:, :, :3], AFFINE), first_tr_s=0)
    with pytest.raises(FileError, match=r"has 4 dimensions .* where 3 are needed. Give one volume, not a run"):
        read_mask(path)
    with pytest.raises(FileError, match=r"has 3 dimensions .* where 4 are needed. Give a run"):
        read_bold(save(tmp_path / "one.nii", MASK.astype(np.uint8)), VolumeMask(MASK, AFFINE), first_tr_s=0)


def test_a_header_without_a_tr_asks_for_one(tmp_path):
    path, _ = run_file(tmp_path / "run.nii.gz", tr=0.0)
    with pytest.raises(FileError, match=r"does not know its TR .*Give tr in seconds"):
        read_bold(path, VolumeMask(MASK, AFFINE), first_tr_s=0)
    assert read_bold(path, VolumeMask(MASK, AFFINE), first_tr_s=0, tr=2.0).tr == 2


def test_a_tr_in_milliseconds_is_understood(tmp_path):
    image = nibabel.Nifti1Image(np.zeros((*MASK.shape, 4), np.float32), AFFINE)
    image.header.set_zooms((4, 4, 4, 1500))
    image.header.set_xyzt_units("mm", "msec")
    nibabel.save(image, tmp_path / "ms.nii")
    assert read_bold(tmp_path / "ms.nii", VolumeMask(MASK, AFFINE), first_tr_s=0).tr == pytest.approx(1.5)


def test_empty_masks_and_masks_with_nan_are_refused(tmp_path):
    with pytest.raises(FileError, match="is a mask without a voxel"):
        read_mask(save(tmp_path / "empty.nii", np.zeros(MASK.shape, np.uint8)))
    with pytest.raises(FileError, match="holds NaN"):
        read_mask(save(tmp_path / "nan.nii", np.where(MASK, 1, np.nan).astype(np.float32)))


def gifti(path, data):
    arrays = [nibabel.gifti.GiftiDataArray(d.astype(np.float32), datatype="NIFTI_TYPE_FLOAT32") for d in data]
    nibabel.save(nibabel.gifti.GiftiImage(darrays=arrays), path)
    return path


def test_surface_runs_put_the_left_hemisphere_first(tmp_path):
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((5, 10)), rng.standard_normal((5, 12))
    paths = gifti(tmp_path / "l.func.gii", left), gifti(tmp_path / "r.func.gii", right)
    run = read_surface_bold(*paths, "fsaverage5", first_tr_s=4, tr=2)
    np.testing.assert_allclose(run.data, np.concatenate([left, right], axis=1), atol=1e-6)
    assert (run.space.n_left, run.space.n_right, run.tr_times[0]) == (10, 12, 4)
    short = gifti(tmp_path / "s.func.gii", right[:4])
    with pytest.raises(FileError, match="Both need the same volumes"):
        read_surface_bold(paths[0], short, "fsaverage5", first_tr_s=4, tr=2)
    (tmp_path / "bad.func.gii").write_text("<GIFTI")
    with pytest.raises(FileError, match=r"bad.func.gii: is damaged"):
        read_gifti(tmp_path / "bad.func.gii")


def spiky(kind):
    """Sound data that fill the range of a scaled type: residuals with a spike, percent signal change with an outlier."""
    rng = np.random.default_rng(0)
    data = rng.standard_normal((6, 6, 6, 80))
    if kind == "residuals":
        data[0, :, :, 30] += 15
        data[0, :, :, 31] -= 4
    elif kind == "percent":
        data[3, 3, 3, 50] = 19
    return data * 1000 if kind == "thousands" else data


@pytest.mark.parametrize("dtype", ["i2", "u2", "i1", "u1"])
@pytest.mark.parametrize("kind", ["residuals", "percent", "thousands"])
def test_scaled_whole_numbers_are_read_however_far_they_jump(kind, dtype, tmp_path):
    data = spiky(kind)
    image = nibabel.Nifti1Image(data, AFFINE)
    image.set_data_dtype(dtype)
    nibabel.save(image, tmp_path / "run.nii.gz")
    run = read_bold(tmp_path / "run.nii.gz", VolumeMask(np.ones((6, 6, 6), bool), AFFINE), first_tr_s=0, tr=2.0)
    step = np.ptp(data) / (2 ** (8 * np.dtype(dtype).itemsize) - 2)
    np.testing.assert_allclose(run.data, data.reshape(-1, 80).T, atol=step)


@pytest.mark.parametrize("dtype", ["i2", "u2"])
def test_unscaled_whole_numbers_that_wrapped_are_refused(dtype, tmp_path):
    bits = 2**16
    whole = (20000 * np.random.default_rng(0).standard_normal((6, 6, 6, 80)) + 25000).astype(np.int64)
    wrapped = (whole % bits).astype(np.uint16).view(dtype)
    nibabel.save(nibabel.Nifti1Image(wrapped, AFFINE), tmp_path / "run.nii")
    with pytest.raises(FileError, match=r"was saved as u?int16 and overflowed"):
        read_bold(tmp_path / "run.nii", VolumeMask(np.ones((6, 6, 6), bool), AFFINE), first_tr_s=0, tr=2.0)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])])
def test_complex_and_colour_images_are_refused(dtype, tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.ones((2, 2, 2, 5), dtype), AFFINE), tmp_path / "z.nii")
    mask = VolumeMask(np.ones((2, 2, 2), bool), AFFINE)
    with pytest.raises(FileError, match=r"z.nii: holds (complex numbers. Save their magnitude|colours)"):
        read_bold(tmp_path / "z.nii", mask, first_tr_s=0, tr=2.0)


@pytest.mark.parametrize(("tr", "unit", "seconds"), [
    (2, "sec", 2), (2000, "msec", 2), (2e6, "usec", 2), (1.5, 0, 1.5), (0.1, "sec", 0.1),
    (2000, "sec", None), (0.5, "hz", None), (2, "ppm", None), (2, "rads", None), (0, "sec", None), (2, "msec", None), (np.nan, "sec", None),
])  # fmt: skip
def test_a_header_says_its_tr_in_seconds_or_does_not_know_it(tr, unit, seconds, tmp_path):
    image = nibabel.Nifti1Image(np.zeros((2, 2, 2, 4), np.float32), AFFINE)
    image.header["pixdim"][4] = tr
    image.header.set_xyzt_units("mm", unit)
    nibabel.save(image, tmp_path / "a.nii")
    if seconds is not None:
        assert header_tr(tmp_path / "a.nii") == pytest.approx(seconds)
    else:
        with pytest.raises(FileError, match="does not know its TR"):
            header_tr(tmp_path / "a.nii")


@pytest.mark.parametrize(("step", "unit", "seconds"), [
    (2, "SECOND", 2), (2000, "SECOND", None), (0.5, "HERTZ", None), (2, "RADIAN", None), (2, "METER", None),
    (0, "SECOND", None), (-2, "SECOND", None),
])  # fmt: skip
def test_a_dense_series_says_its_tr_in_seconds_or_does_not_know_it(step, unit, seconds, tmp_path):
    axis = nibabel.cifti2.BrainModelAxis.from_surface(np.arange(3), 5, name="CORTEX_LEFT")
    series = nibabel.cifti2.SeriesAxis(0, step, 6, unit)
    nibabel.save(nibabel.Cifti2Image(np.zeros((6, 3), np.float32), (series, axis)), tmp_path / "a.dtseries.nii")
    if seconds is not None:
        assert cifti_tr(tmp_path / "a.dtseries.nii") == pytest.approx(seconds)
    else:
        with pytest.raises(FileError, match="does not know its TR"):
            cifti_tr(tmp_path / "a.dtseries.nii")


def test_a_surface_series_may_be_one_array_as_nilearn_writes_it(tmp_path):
    from nilearn.surface import PolyData

    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((10, 40)).astype("f4"), rng.standard_normal((12, 40)).astype("f4")
    PolyData(left=left, right=right).to_filename(tmp_path / "a.gii")
    run = read_surface_bold(tmp_path / "a_hemi-L.gii", tmp_path / "a_hemi-R.gii", "fsnative", first_tr_s=0, tr=2.0)
    np.testing.assert_array_equal(run.data, np.vstack([left, right]).T)
    volumes_first = nibabel.gifti.GiftiDataArray(rng.standard_normal((3, 642)).astype("f4"), intent="NIFTI_INTENT_TIME_SERIES")
    nibabel.save(nibabel.gifti.GiftiImage(darrays=[volumes_first]), tmp_path / "b.gii")
    np.testing.assert_array_equal(read_gifti(tmp_path / "b.gii", 642)[0], volumes_first.data)
    np.testing.assert_array_equal(read_gifti(tmp_path / "b.gii")[0], volumes_first.data.T)


def test_a_mesh_under_the_name_of_another_is_refused(tmp_path):
    path = gifti(tmp_path / "l.func.gii", np.zeros((3, 2562)))
    assert read_surface_bold(path, path, "fsaverage4", first_tr_s=0, tr=2.0).n_voxels == 5124
    with pytest.raises(FileError, match="has 2,562 vertices, as fsaverage4 has; fsaverage5 has 10,242"):
        read_surface_bold(path, path, "fsaverage5", first_tr_s=0, tr=2.0)


@pytest.mark.parametrize(
    ("codes", "template"), [((4, 4), "MNI152"), ((1, 1), ""), ((0, 4), "MNI152"), ((1, 0), ""), ((4, 0), "MNI152")]
)
def test_maps_keep_the_space_codes_of_their_mask(codes, template, tmp_path):
    image = nibabel.Nifti1Image(MASK.astype(np.uint8), None)
    image.header.set_sform(AFFINE if codes[1] else None, codes[1])
    image.header.set_qform(AFFINE if codes[0] else None, codes[0])
    nibabel.save(nibabel.Nifti1Image(MASK.astype(np.uint8), None, image.header), tmp_path / "m.nii.gz")
    mask = read_mask(tmp_path / "m.nii.gz")
    assert mask.template == template
    again = space_from_arrays(*space_arrays(mask))
    assert space_hash(again) == space_hash(VolumeMask(MASK, mask.affine))
    header = nibabel.load(VoxelMap(np.zeros(mask.n_voxels), again, "r").to_nifti(tmp_path / "map.nii.gz")).header
    assert (int(header["qform_code"]), int(header["sform_code"])) == codes
    np.testing.assert_allclose(header.get_best_affine(), AFFINE, atol=1e-4)


@pytest.mark.parametrize(("name", "is_mni"), [
    ("sub-01_space-MNI152NLin2009cAsym_res-2_desc-brain_mask", True), ("sub-01_space-T1w_desc-brain_mask", False),
    ("tpl-x_space-MNIPediatricAsym_cohort-2_mask", False), ("mask", False),
])  # fmt: skip
def test_the_space_of_a_mask_is_the_one_of_its_name(name, is_mni, tmp_path):
    assert read_mask(save(tmp_path / f"{name}.nii.gz", MASK.astype(np.uint8))).is_mni == is_mni

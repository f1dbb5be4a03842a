import gzip

import nibabel
import numpy as np
import pytest

from neurolm.brain.images import read_bold, read_gifti, read_mask, read_surface_bold, read_volume
from neurolm.brain.space import VolumeMask
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

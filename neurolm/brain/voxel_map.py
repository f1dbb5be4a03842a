"""One number for each voxel, in the formats that the field's viewers read."""

from __future__ import annotations

import csv
import gzip
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neurolm.brain.space import Grayordinates, Regions, Space, Surface, VolumeMask, check_fits
from neurolm.brain.surface_projection import project
from neurolm.checks import bad, bad_file, check_file, check_real
from neurolm.storage import whole_file, write_json, write_text

HEMISPHERES = {"left": "CortexLeft", "right": "CortexRight"}


@dataclass(frozen=True, eq=False)
class VoxelMap:
    """A map: scores, ceilings, timescales, p values.

    Parameters
    ----------
    values : array of shape (n_voxels,)
        NaN where nothing is known or nothing is significant.
    space : Space
        Where the voxels are.
    name : str
        What the numbers are; a column's title in CSV.

    Examples
    --------
    >>> import numpy as np
    >>> from neurolm.brain import Regions
    >>> VoxelMap(np.array([0.3, 0.1]), Regions(("left", "right")), "r").to_csv("scores.csv")  # doctest: +SKIP
    """

    values: np.ndarray
    space: Space
    name: str = field(default="value")

    def __post_init__(self) -> None:
        check_real("values", self.values)
        values = np.asarray(self.values, dtype=np.float64).reshape(-1)
        check_fits(self.space, len(values), f"values of the map {self.name!r}")
        object.__setattr__(self, "values", values)

    def where(self, keep: np.ndarray) -> VoxelMap:
        """The same map with NaN where `keep` is False: for example `map.where(q < .05)`."""
        return VoxelMap(np.where(keep, self.values, np.nan), self.space, self.name)

    def to_surface(self, mesh: str = "fsaverage5") -> VoxelMap:
        """A volume map on the cortical surface; see `project`."""
        if not isinstance(self.space, VolumeMask):
            raise bad("space", "be a volume to be projected", type(self.space).__name__)
        values, surface = project(self.values, self.space, mesh)
        return VoxelMap(values, surface, self.name)

    def to_nifti(self, path: str | Path) -> Path:
        """Write a float32 volume in the mask's space (.nii or .nii.gz); NaN outside the mask."""
        if not isinstance(self.space, VolumeMask):
            raise bad("space", "be a volume to become NIfTI", type(self.space).__name__, "Use to_csv, or to_gifti for a surface.")
        import nibabel

        volume = np.full(self.space.mask.shape, np.nan, dtype=np.float32)
        volume[self.space.mask] = self.values
        image = nibabel.Nifti1Image(volume, self.space.affine)
        qform, sform = self.space.header_codes
        image.set_sform(self.space.affine if sform else None, sform)
        image.set_qform(self.space.affine if qform else None, qform)
        image.header.set_xyzt_units("mm")
        image.header["descrip"] = self.name.encode()[:79]
        return _write_bytes(path, image.to_bytes(), (".nii", ".nii.gz"))

    @classmethod
    def from_nifti(cls, path: str | Path, space: VolumeMask | None = None, name: str = "value") -> VoxelMap:
        """Read a 3-D volume: the voxels of `space`, or those that are not NaN.

        Raises
        ------
        FileError
            If the file is missing, damaged, not 3-D, or lies on another grid than `space`.
        """
        from neurolm.brain.images import check_grid, read_volume

        volume, affine = read_volume(path, n_dimensions=3)
        if space is None:
            space = VolumeMask(~np.isnan(volume), affine)
        check_grid(path, volume.shape, affine, space)
        return cls(volume[space.mask], space, name)

    def to_gifti(self, prefix: str | Path, mesh: str = "fsaverage5") -> tuple[Path, Path]:
        """Write one file per hemisphere: `<prefix>_hemi-L.func.gii` and `<prefix>_hemi-R.func.gii`.

        A volume is projected to `mesh` first; of grayordinates the cortex is written, whole hemispheres.
        """
        if isinstance(self.space, Grayordinates):
            return VoxelMap(*self.space.on_surface(self.values), self.name).to_gifti(prefix)
        if isinstance(self.space, VolumeMask):
            return self.to_surface(mesh).to_gifti(prefix)
        if not isinstance(self.space, Surface):
            raise bad("space", "be a surface or a volume to become GIFTI", type(self.space).__name__, "Use to_csv.")
        parts = np.split(self.values, [self.space.n_left])
        left, right = (
            _write_bytes(f"{prefix}_hemi-{side[0].upper()}.func.gii", self._gifti(side, part), (".gii",))
            for side, part in zip(HEMISPHERES, parts)
        )
        return left, right

    def _gifti(self, side: str, values: np.ndarray) -> bytes:
        from nibabel.gifti import GiftiDataArray, GiftiImage, GiftiMetaData

        array = GiftiDataArray(values.astype(np.float32), intent="NIFTI_INTENT_SHAPE", datatype="NIFTI_TYPE_FLOAT32",
                               meta=GiftiMetaData(Name=self.name))  # fmt: skip
        assert isinstance(self.space, Surface)
        meta = GiftiMetaData(AnatomicalStructurePrimary=HEMISPHERES[side], Mesh=self.space.mesh)
        image: Any = GiftiImage(darrays=[array], meta=meta)
        return image.to_bytes()

    @classmethod
    def from_gifti(cls, left: str | Path, right: str | Path, mesh: str | None = None, name: str = "value") -> VoxelMap:
        """Read two hemispheres; `mesh` is needed where the files do not name theirs."""
        from neurolm.brain.images import read_gifti

        (left_values, left_meta), (right_values, _) = read_gifti(left), read_gifti(right)
        if left_values.ndim != 1 or right_values.ndim != 1:
            raise bad_file(left, "holds several maps", "Save one map in each file.")
        mesh = mesh or left_meta.get("Mesh", "")
        if not mesh:
            raise bad_file(left, "does not name its mesh", 'Say mesh="fsaverage5", or whatever it is.')
        return cls(np.concatenate([left_values, right_values]), Surface(mesh, len(left_values), len(right_values)), name)

    def to_csv(self, path: str | Path) -> Path:
        """Write one row for each voxel: its place (name, or coordinates in mm), then its value; empty for NaN."""
        table = self.space.table()
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([*table, self.name])
        for i, value in enumerate(self.values):
            writer.writerow([*(_plain(column[i]) for column in table.values()), "" if np.isnan(value) else repr(float(value))])
        write_text(path, out.getvalue())
        return Path(path)

    @classmethod
    def from_csv(cls, path: str | Path, space: Space | None = None) -> VoxelMap:
        """Read what `to_csv` wrote; the space is checked, or made from the names of regions.

        Raises
        ------
        FileError
            If a row is not in the place that `space` says, or a value is no number.
        """
        header, *rows = _table(path) or [[]]
        if len(header) < 2:
            raise bad_file(path, "needs a header with at least two columns: places, and a value", line=1)
        for i, row in enumerate(rows):
            if len(row) != len(header):
                raise bad_file(path, f"has {len(row)} columns here and {len(header)} in its header", "Mend the row.", line=i + 2)
        if space is None:
            if header[:-1] != ["region"]:
                raise bad_file(path, f"has places {', '.join(header[:-1])}", "Give the space that it is in.", line=1)
            space = Regions(tuple(row[0] for row in rows))
        if len(rows) != space.n_voxels:
            raise bad_file(path, f"has {len(rows)} rows for {space.n_voxels} voxels", "Use the space that it was written with.")
        table = space.table()
        values = np.empty(len(rows))
        for i, row in enumerate(rows):
            if row[:-1] != [_plain(column[i]) for column in table.values()]:
                raise bad_file(path, f"is not in the order of the space: {', '.join(row[:-1])}", line=i + 2)
            try:
                values[i] = float(row[-1]) if row[-1] else np.nan
            except ValueError:
                raise bad_file(path, f"{row[-1]!r} is not a number", line=i + 2) from None
        return cls(values, space, header[-1])


def _table(path: str | Path) -> list[list[str]]:
    try:
        with open(check_file(path), newline="", encoding="utf-8") as file:
            return list(csv.reader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise bad_file(path, f"is not a table of text ({error})", "Save it as CSV in UTF-8.") from None


def _plain(place: Any) -> str:
    return f"{place:g}" if isinstance(place, (float, np.floating)) else str(place)


def _write_bytes(path: str | Path, content: bytes, endings: tuple[str, ...]) -> Path:
    if not str(path).endswith(endings):
        raise bad("path", f"end in {' or '.join(endings)}", str(path))
    with whole_file(path) as part:
        part.write_bytes(gzip.compress(content, mtime=0) if str(path).endswith(".gz") else content)
    return Path(path)


def write_voxel_map(stem: Path, values: np.ndarray, space: Space, name: str, sidecar: dict[str, Any]) -> list[Path]:
    """NIfTI for volumes, GIFTI for surfaces, both CSV and the cortex as GIFTI for grayordinates, else CSV; and JSON beside it.

    Parameters
    ----------
    stem : path
        Without an ending.
    values : array of shape (n_voxels,)
        NaN where nothing is known or nothing is significant.
    name : str
        What the numbers are: the title of a CSV's column.
    """
    voxels = VoxelMap(values, space, name)
    made: list[Path] = []
    if isinstance(space, VolumeMask):
        made.append(voxels.to_nifti(stem.with_name(f"{stem.name}.nii.gz")))
    if isinstance(space, (Surface, Grayordinates)):
        made += voxels.to_gifti(stem)
    if not isinstance(space, (VolumeMask, Surface)):
        made.append(voxels.to_csv(stem.with_name(f"{stem.name}.csv")))
    side = stem.with_name(f"{stem.name}.json")
    write_json(side, sidecar)
    return [*made, side]

"""Pictures of grids and what lies beside them: their pixel size and where on the stage they were taken."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from magellon.cli.problems import naming
from magellon.cli.run.names import name_uniquely
from magellon.contracts import GridImage
from magellon.errors import BadInput
from magellon.io.epu import read_epu_image
from magellon.io.image_header import read_image_header
from magellon.io.serialem import read_mdoc


@dataclass(frozen=True)
class _Beside:
    """What EPU's or SerialEM's file beside a picture says."""

    pixel_size: float | None = None
    stage: tuple[float, float] | None = None
    stage_z: float | None = None


def find_grid_images(files: Sequence[Path], pixel_size: float | None) -> list[GridImage]:
    """One picture per file. EPU's `NAME.xml` or SerialEM's `NAME.mrc.mdoc` beside it says where it was taken.

    Raises:
        BadInput: a format that no picture of a grid has, or two files of one name.
    """
    images = []
    for path, name in zip(files, name_uniquely(files), strict=True):
        beside = _read_beside(path)
        size = pixel_size or beside.pixel_size or _read_header(path)
        with naming(path):
            image = GridImage(name=name, path=path.absolute(), pixel_size=size, stage=beside.stage, stage_z=beside.stage_z)
        images.append(image)
    return images


def _read_header(path: Path) -> float | None:
    """Of an MRC file, where it says one that can be."""
    try:
        return read_image_header(path).pixel_size
    except BadInput:
        return None  # its own step says what is wrong with it


def _read_beside(path: Path) -> _Beside:
    xml, mdoc = path.with_suffix(".xml"), path.with_name(path.name + ".mdoc")
    try:
        if xml.exists():
            return _read_epu(xml, path)
        if mdoc.exists():
            return _read_serialem(mdoc)
    except BadInput:
        pass  # a file of another kind that happens to have this name
    return _Beside()


def _read_epu(xml: Path, path: Path) -> _Beside:
    image = read_epu_image(xml)
    x, y, z = image.stage
    size = None
    if image.pixel_size and image.shape:
        size = image.pixel_size * image.shape[1] / read_image_header(path).width
    return _Beside(size, (x, y) if x is not None and y is not None else None, z)


def _read_serialem(mdoc: Path) -> _Beside:
    images = read_mdoc(mdoc)
    if len(images) != 1:
        return _Beside()
    x, y, z = images[0].stage
    return _Beside(images[0].pixel_size, (x, y) if x is not None and y is not None else None, z)

"""Pictures tell their size without being read."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from magellon.errors import BadInput
from magellon.io.image_header import ImageHeader, read_image_header
from magellon.io.mrc import write_mrc


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_a_picture_tells_its_size(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.new("L", (30, 20)).save(path)
    assert read_image_header(path) == ImageHeader(height=20, width=30)


def test_an_mrc_file_tells_its_scale_too(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", np.zeros((20, 30), np.float32), pixel_size=250.0)
    assert read_image_header(tmp_path / "a.mrc") == ImageHeader(20, 30, 250.0)
    write_mrc(tmp_path / "b.mrc", np.zeros((20, 30), np.float32), pixel_size=1.0)
    assert read_image_header(tmp_path / "b.mrc").pixel_size is None


def test_what_is_no_single_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(BadInput, match=r"a\.jpg: is no picture"):
        read_image_header(tmp_path / "a.jpg")
    write_mrc(tmp_path / "a.mrc", np.zeros((3, 20, 30), np.float32), pixel_size=250.0)
    with pytest.raises(BadInput, match="3 images in one file"):
        read_image_header(tmp_path / "a.mrc")
    with pytest.raises(BadInput, match="gone"):
        read_image_header(tmp_path / "gone.png")

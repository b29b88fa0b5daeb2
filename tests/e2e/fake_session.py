"""A session whose movies are MRC files of a few bytes, for the fake backends."""

import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path

import fake_backends

RECIPE = """
[steps.motion_correction]
backend = "fake"
[steps.ctf_estimation]
backend = "fake"
[steps.fft]
backend = "fake"
[steps.particle_survey]
backend = "fake"
[steps.filter.params]
max_resolution = 8
[steps.particle_picking]
backend = "fake"
[steps.particle_extraction]
backend = "fake"
[steps.session_star]
backend = "fake"
"""

ITEM_STEPS = ("motion_correction", "ctf_estimation", "fft", "particle_picking", "particle_extraction")


def write_movie(path: Path, text: str, width: int = 8) -> None:
    """An MRC file of mode 0 with two frames whose pixels hold a text."""
    height, frames = 8, 2
    words = [width, height, frames, 0, 0, 0, 0, width, height, frames]
    header = struct.pack("<10i", *words) + struct.pack("<3f", width, height, frames) + bytes(12) + struct.pack("<3i", 1, 2, 3)
    header = header.ljust(208, b"\0") + b"MAP " + bytes([0x44, 0x44, 0, 0])
    path.write_bytes(header.ljust(1024, b"\0") + text.encode().ljust(width * height * frames, b"."))


def make_session(folder: Path, movies: Mapping[str, str], name: str = "lot") -> Path:
    """A session folder; `movies` are names with what their pixels hold."""
    (folder / "movies").mkdir(parents=True)
    for movie, text in movies.items():
        write_movie(folder / "movies" / f"{movie}.mrc", text)
    session = {"name": name, "movies": "movies/*.mrc", "pixel_size": 1.5, "voltage": 300}
    (folder / "session.json").write_text(json.dumps(session))
    return folder


def write_recipe(folder: Path, **params: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(RECIPE)
    return path


def use_fake_backends(diary: Path) -> None:
    """For this process and those it starts."""
    os.environ["MAGELLON_EXTRA_BACKENDS"] = fake_backends.ALL
    os.environ["PYTHONPATH"] = str(Path(fake_backends.__file__).parent)
    os.environ["FAKE_DIARY"] = str(diary)

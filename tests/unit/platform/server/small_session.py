"""A session of movies that are headers and nothing, with the steps of its recipe."""

import json
import struct
from pathlib import Path

STEPS = ("motion_correction", "fft", "session_star")


def write_session(folder: Path, count: int) -> Path:
    (folder / "movies").mkdir(parents=True)
    header = struct.pack("<10i", 8, 8, 2, 0, 0, 0, 0, 8, 8, 2) + struct.pack("<3f", 8, 8, 2) + bytes(12)
    header = (header + struct.pack("<3i", 1, 2, 3)).ljust(208, b"\0") + b"MAP " + bytes([0x44, 0x44, 0, 0])
    for number in range(count):
        (folder / f"movies/m{number}.mrc").write_bytes(header.ljust(1024, b"\0") + bytes(128))
    (folder / "session.json").write_text(json.dumps({"name": "lot", "movies": "movies/*.mrc", "pixel_size": 1}))
    return folder

"""Files that are sent: only those a result's record names, or that lie in a session's folder; never by joining blindly."""

import json
from pathlib import Path

from fastapi.responses import FileResponse
from pydantic import Field

from magellon.contracts import Record
from magellon.errors import NotThere
from magellon.platform.store.results import RESULT_FILE, ResultStore

_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".star": "text/plain; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".json": "application/json",
    ".mrc": "application/octet-stream",
    ".mrcs": "application/octet-stream",
}
_SHOWN = ("image/png", "image/jpeg")
"""Types a browser may show; anything else is offered for saving."""


class FileView(Record):
    """A file that can be fetched."""

    name: str = Field(examples=["FoilHole_1_Data_2_ctf.png"])
    size: int = Field(description="Bytes.")
    type: str = Field(examples=["image/png"])


def name_type(name: str) -> str:
    """The media type of a file by its suffix."""
    return _TYPES.get(Path(name).suffix.lower(), "application/octet-stream")


def list_result_files(store: ResultStore, identity: str) -> tuple[FileView, ...]:
    """Raises NotThere."""
    return tuple(FileView(name=name, size=size, type=name_type(name)) for name, size in sorted(_read(store, identity).items()))


def send_result_file(store: ResultStore, identity: str, name: str) -> FileResponse:
    """Raises NotThere: no such file in the result."""
    if name not in _read(store, identity):
        raise NotThere(f"the result has no file {name[:200]!r}")
    return send_file(store.path(identity) / name, store.path(identity), f'"{identity[:32]}"')


def _read(store: ResultStore, identity: str) -> dict[str, int]:
    try:
        record = json.loads((store.path(identity) / RESULT_FILE).read_bytes())
    except (OSError, ValueError) as error:
        raise NotThere("the result's files are not there any more") from error
    return dict(record["files"])


def send_file(path: Path, inside: Path, tag: str | None = None) -> FileResponse:
    """Send a file that lies, with all links followed, in the folder `inside`.

    Raises:
        NotThere: it does not, or is no file.
    """
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise NotThere(f"{path.name[:200]} is not there") from error
    if not real.is_relative_to(inside.resolve()) or not real.is_file():
        raise NotThere(f"{path.name[:200]} is not there")
    kind = name_type(path.name)
    headers = {"ETag": tag, "Cache-Control": "private, max-age=31536000, immutable"} if tag else {"Cache-Control": "no-cache"}
    disposition = "inline" if kind in _SHOWN else "attachment"
    return FileResponse(real, media_type=kind, filename=path.name, content_disposition_type=disposition, headers=headers)


def find_session_file(folder: Path, name: str) -> Path:
    """A file of a session's folder by its name there.

    Raises:
        NotThere: not a plain name within it.
    """
    parts = name.split("/")
    if "\0" in name or len(name) > 1000 or any(not part or part.startswith(".") for part in parts):
        raise NotThere(f"no file {name[:200]!r}")
    return folder.joinpath(*parts)

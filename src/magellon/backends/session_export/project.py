"""A project folder being written: files of its own, and links to be made to the session's."""

import json
from collections.abc import Mapping
from pathlib import Path

from magellon.backends.session_export.session import Session
from magellon.contracts import BadInput
from magellon.io.star import StarTable, write_star
from magellon.io.star_stream import StarStream

PROJECT, LINKS = "project", "links.json"


class Project:
    """Everything goes through here, so that each file is written once and each link has one meaning."""

    def __init__(self, workdir: Path, session: Session) -> None:
        self.folder, self._session = workdir / PROJECT, session
        self._links_file = workdir / LINKS
        self._links: dict[str, str] = {}
        self.folder.mkdir(parents=True)

    def place(self, name: str) -> Path:
        """Where a file of the project is written; its folder exists."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write_text(self, name: str, text: str = "") -> None:
        self.place(name).write_text(text, encoding="utf-8")

    def write_star(self, name: str, tables: Mapping[str, StarTable]) -> None:
        write_star(self.place(name), tables)

    def link(self, name: str, source: str) -> str:
        """Have `name` in the project lead to `source` in the session's folder.

        Raises:
            BadInput: the name is taken by another file, or the source leads out of the session's folder.
        """
        if source.startswith("/") or ".." in source.split("/"):
            raise BadInput(f"{self._session.name}: {source} does not lie in the session's folder")
        if self._links.setdefault(name, source) != source:
            raise BadInput(f"{self._session.name}: {source} and {self._links[name]} would have the same name in the project")
        return name

    def link_where_there(self, name: str, source: str) -> bool:
        """The same for a file that may be missing, such as a movie no longer on disk."""
        there = (self._session.folder / source).exists()
        if there:
            self.link(name, source)
        return there

    def finish(self) -> Path:
        """Write the list of links; gives its path."""
        text = json.dumps(self._links, indent=0, sort_keys=True, ensure_ascii=False)
        self._links_file.write_text(text, encoding="utf-8")
        return self._links_file


def read_motion(session: Session, name: str) -> StarTable:
    """The general block of a micrograph's motion file.

    Raises:
        BadInput: it is missing or damaged.
    """
    with StarStream(session.folder / name, "global_shift") as stream:
        if "general" not in stream.head:
            raise BadInput(f"{session.folder / name}: no block data_general; it is no motion metadata")
        return stream.head["general"]

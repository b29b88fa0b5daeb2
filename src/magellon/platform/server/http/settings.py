"""Where HTTP is served, and what may be read through it."""

from pathlib import Path

from magellon.contracts import Record

ADDRESS_FILE = "server.json"
"""In the state folder: where the running server answers."""


class WebSettings(Record):
    """As the process that serves is told."""

    host: str = "127.0.0.1"
    port: int
    data: tuple[str, ...] = ()
    """Folders in which sessions and files that people name may lie; the home is always one of them."""
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "::1")
    """Names under which people reach it."""

    def find_data(self, home: Path) -> tuple[Path, ...]:
        """The real paths of the open folders, the home among them."""
        return (*(Path(folder).resolve() for folder in self.data), home.resolve())

"""The home: where the platform keeps its state, the results by identity, and what people use of them."""

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from magellon.errors import BadInput
from magellon.platform.store.environments import CataloguePlace
from magellon.platform.store.files import write_atomically

DEFAULT_HOME = Path("~/magellon")
PLUGINS_VARIABLE = "MAGELLON_PLUGINS"

_NETWORK_FILESYSTEMS = {
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "gpfs", "beegfs", "ceph", "afs", "pvfs2", "panfs", "wekafs",
    "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.beegfs",
}  # fmt: skip


@dataclass(frozen=True)
class Home:
    """Paths of one home. `results` may be shared between machines; `state` lies on a local disk."""

    root: Path
    state: Path

    @classmethod
    def at(cls, root: Path, state: Path | None = None) -> "Home":
        root = root.expanduser().resolve()
        return cls(root, (state.expanduser().resolve() if state else root / "state"))

    @property
    def results(self) -> Path:
        return self.root / "results"

    @property
    def sessions(self) -> Path:
        return self.root / "sessions"

    @property
    def work(self) -> Path:
        """Folders of tasks being computed, on the same filesystem as the results."""
        return self.results / ".work"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def bus(self) -> Path:
        return self.state / "bus"

    @property
    def bus_configuration(self) -> Path:
        return self.bus / "nats.conf"

    @property
    def ledger(self) -> Path:
        return self.state / "ledger.sqlite"

    @property
    def lock(self) -> Path:
        return self.state / "lock"

    @property
    def plugins(self) -> Path:
        """Plugins with environments of their own; another folder when MAGELLON_PLUGINS names one."""
        return find_plugins_folder(self.root)

    @property
    def catalogue(self) -> CataloguePlace:
        return CataloguePlace(self.state / "backends.json", self.plugins)

    @property
    def token_file(self) -> Path:
        """By its content a worker proves that it sees the same home."""
        return self.root / "home.json"

    def prepare(self) -> None:
        """Make the folders and the token.

        Raises:
            BadInput: the home cannot be written, its results are not mounted, or its state would lie on a network filesystem.
        """
        if self.token_file.exists() and not self.work.is_dir():
            raise BadInput(
                f"{self.results} is empty, though {self.root} has been used: is it mounted? If its results were removed on"
                f" purpose, say so by making the folder {self.work}"
            )
        try:
            for folder in (self.results, self.work, self.sessions, self.state, self.logs, self.bus):
                folder.mkdir(parents=True, exist_ok=True)
            os.chmod(self.state, 0o700)
        except OSError as error:
            raise BadInput(f"the home {self.root} cannot be used: {error}") from error
        refuse_network_filesystem(self.state)
        if not self.token_file.exists():
            content = {"format": "magellon-home", "version": 1, "token": secrets.token_hex(16)}
            write_atomically(self.token_file, json.dumps(content).encode())


def find_plugins_folder(root: Path) -> Path:
    """That of a home, unless MAGELLON_PLUGINS names another one."""
    configured = os.environ.get(PLUGINS_VARIABLE)
    return Path(configured or root / "plugins").expanduser().resolve()


def find_filesystem(path: Path, mounts: str = "/proc/self/mounts") -> str:
    """Type of the filesystem a path lies on, as the kernel names it; "" when it does not say."""
    best, kind = "", ""
    try:
        lines = Path(mounts).read_text().splitlines()
    except OSError:
        return ""
    for line in lines:
        _, point, name, *_ = line.split(" ")
        point = point.encode().decode("unicode_escape")
        inside = path == Path(point) or Path(point) in path.parents
        if inside and len(point) >= len(best):
            best, kind = point, name
    return kind


def refuse_network_filesystem(path: Path, mounts: str = "/proc/self/mounts") -> None:
    """Databases on network filesystems get corrupted sooner or later.

    Raises:
        BadInput: the path lies on one.
    """
    kind = find_filesystem(path, mounts)
    if kind in _NETWORK_FILESYSTEMS:
        raise BadInput(f"{path} lies on a network filesystem ({kind}); give a folder on a local disk with --state")

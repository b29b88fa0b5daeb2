"""A small disk for the results, mounted where they belong: it fills up, turns read-only, goes away and comes back."""

import contextlib
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

_SIZE = "24m"


def mount(*words: str) -> bool:
    return subprocess.run(["mount", *words], check=False, capture_output=True).returncode == 0


def unmount(place: Path) -> bool:
    """Also while somebody is in it."""
    return subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True).returncode == 0


@dataclass(frozen=True)
class Mounted:
    """A folder that is seen at another place, and there only while it is mounted."""

    source: Path
    place: Path

    def attach(self) -> bool:
        return mount("--bind", str(self.source), str(self.place))

    def detach(self) -> bool:
        return unmount(self.place)


@dataclass(frozen=True)
class SmallDisk:
    results: Mounted
    movies: Mounted

    @classmethod
    def make(cls, folder: Path, results: Path, movies: Path) -> "SmallDisk | None":
        """In `folder`, for the results; and the `movies` mounted beside it. None where this is not allowed."""
        disk = folder / "disk"
        made = cls(Mounted(disk, results), Mounted(movies, folder / movies.name))
        for path in (disk, results, made.movies.place):
            path.mkdir(parents=True, exist_ok=True)
        if os.geteuid() != 0 or not mount("-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(disk)):
            return None
        if made.results.attach() and made.movies.attach():
            return made
        made.remove()
        return None

    def fill(self) -> None:
        with contextlib.suppress(OSError), open(self._ballast, "wb") as file:
            while True:
                file.write(bytes(1 << 20))
                file.flush()

    def set_writable(self, writable: bool) -> bool:
        """The disk; and the results where they are seen, which were perhaps mounted while it could only be read."""
        done = mount("-o", f"remount,{'rw' if writable else 'ro'}", str(self.results.source))
        if writable:
            mount("-o", "remount,bind,rw", str(self.results.place))  # fails while they are gone, and is not needed then
        return done

    def clear(self) -> None:
        """As it was before it was filled."""
        with contextlib.suppress(OSError):
            self._ballast.unlink(missing_ok=True)

    @property
    def _ballast(self) -> Path:
        return self.results.source / ".ballast"

    def remove(self) -> None:
        for place in (self.results.place, self.movies.place, self.results.source):
            unmount(place)

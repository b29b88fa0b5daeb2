"""Files of a session that lie, once all links are followed, where this server may not read, are not processed.

Who may write into a session's folder decides what its links and its `session.json` name, and need not be who submits it.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from magellon.platform.sessions.found import FoundMovie, FoundSession

_LEADS_OUT = "leads out of the folders that are open to this server"


@dataclass(frozen=True)
class OpenFolders:
    """Where the files of sessions may lie."""

    folders: tuple[Path, ...]
    closed: tuple[Path, ...] = ()
    """Within them, but not open."""

    def confine_session(self, found: FoundSession) -> FoundSession:
        """The same with a problem for each movie that leads out, or whose gain or defects do, and without such pictures.

        The session's own folder is open as well: whether it is was asked before.
        """
        inside = OpenFolders(
            tuple(folder.resolve() for folder in (*self.folders, found.folder)),
            tuple(folder.resolve() for folder in self.closed),
        )
        movies = [inside._confine_movie(movie) for movie in found.movies]
        held = [(image, inside._holds(image.image.path)) for image in found.images]
        images = [image for image, is_open in held if is_open]
        left_out = [f"{image.image.path} {_LEADS_OUT}" for image, is_open in held if not is_open]
        return replace(found, movies=movies, images=images, problems=[*found.problems, *left_out])

    def _confine_movie(self, found: FoundMovie) -> FoundMovie:
        movie = found.movie
        outside = [path for path in movie.paths() if not self._holds(path)]
        if not outside:
            return found
        gain = movie.gain if movie.gain is not None and movie.gain.path not in outside else None
        defects = movie.defects if movie.defects not in outside else None
        movie = movie.model_copy(update={"gain": gain, "defects": defects})
        return replace(found, movie=movie, problem=f"{movie.name}: {outside[0]} {_LEADS_OUT}")

    def _holds(self, path: Path) -> bool:
        try:
            real = path.resolve()
        except (OSError, RuntimeError):  # links in a circle
            return False
        return any(map(real.is_relative_to, self.folders)) and not any(map(real.is_relative_to, self.closed))


EVERYWHERE = OpenFolders((Path("/"),))
"""Of one person on one machine, who reads what the filesystem allows."""

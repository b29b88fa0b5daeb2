"""Live sessions: how the watch of a growing folder is doing, its beginning and its end."""

from typing import Annotated

from fastapi import APIRouter, Depends, status

from magellon.errors import NotThere
from magellon.platform.people.caller import Caller
from magellon.platform.people.roles import Role
from magellon.platform.server.http.acts import note_act
from magellon.platform.server.http.security import require, visible_session
from magellon.platform.server.http.services import Served, Services
from magellon.platform.server.watching import Watching, WatchStatus
from magellon.platform.sessions.watch_settings import WatchSettings

router = APIRouter(prefix="/sessions/{session_id}/live", tags=["sessions"])

Viewer = Annotated[Caller, Depends(require(Role.VIEWER))]
Operator = Annotated[Caller, Depends(require(Role.OPERATOR))]
Session = Annotated[int, Depends(visible_session)]


def _find_watching(served: Services) -> Watching:
    if served.watching is None:
        raise NotThere("this server watches no folders")
    watching: Watching = served.watching
    return watching


def _find_status(served: Services, session_id: int) -> WatchStatus:
    found = _find_watching(served).describe(session_id)
    if found is None:
        raise NotThere(f"session {session_id} is not live")
    return found


@router.get("")
async def get_watch(session_id: Session, served: Served, caller: Viewer) -> WatchStatus:
    """How the watch is doing; 404 when the session is not live."""
    return _find_status(served, session_id)


@router.put("")
async def watch_session(session_id: Session, settings: WatchSettings, served: Served, caller: Operator) -> WatchStatus:
    """Begin to watch the session's folder, or go on with other settings."""
    _find_watching(served).start(session_id, settings)
    note_act(served, caller, "watch session", session_id)
    return _find_status(served, session_id)


@router.delete("", status_code=status.HTTP_204_NO_CONTENT)
async def end_watch(session_id: Session, served: Served, caller: Operator) -> None:
    """End the watch: the session is finished with the movies that are there."""
    _find_status(served, session_id)
    _find_watching(served).stop(session_id, f"{caller.name} ended the watch")
    note_act(served, caller, "end watch", session_id)

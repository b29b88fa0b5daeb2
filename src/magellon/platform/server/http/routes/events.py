"""One stream of everything that happens."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request

from magellon.platform.people.caller import Caller
from magellon.platform.people.roles import Role
from magellon.platform.server.http.security import authenticate, require
from magellon.platform.server.http.services import Served
from magellon.platform.server.http.sse import EventStream, read_last_id

router = APIRouter(prefix="/events", tags=["events"])


@router.get("", response_class=EventStream, responses={200: {"content": {"text/event-stream": {}}}})
async def stream_events(
    request: Request,
    served: Served,
    caller: Annotated[Caller, Depends(require(Role.VIEWER))],
    last_event_id: Annotated[str | None, Header(description="Number of the last event seen; sent by browsers.")] = None,
    after: Annotated[int | None, Query(ge=0, le=2**53, description="The same, for a first request; 0: from the start.")] = None,
) -> EventStream:
    """Events of all sessions the caller may see, as server-sent events.

    `task` and `job` events are numbered: a reader that comes back with the last number misses none. `progress` events tell the
    newest counts of a job and what is being computed; they have no number. Comments are sent when nothing happens. A reader
    that does not read is disconnected.
    """
    position = read_last_id(last_event_id)

    def may_see() -> frozenset[int] | None:
        known = authenticate(request)
        if known is None:
            raise PermissionError
        return served.people.list_visible(known)

    return EventStream(served.feed.follow(after if position is None else position, may_see))

"""For monitoring systems: what Prometheus scrapes."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from magellon.platform.people.caller import Caller
from magellon.platform.people.roles import Role
from magellon.platform.server.exposition import CONTENT_TYPE, measure_ledger, measure_server, measure_workers, write_families
from magellon.platform.server.http.security import require
from magellon.platform.server.http.services import Served

router = APIRouter(prefix="/metrics", tags=["monitoring"])


@router.get("", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def get_metrics(served: Served, caller: Annotated[Caller, Depends(require(Role.OPERATOR))]) -> Response:
    """Numbers in Prometheus' text format. They are about all sessions, so an operator's token is needed."""
    client = getattr(served.dispatcher, "client", None)
    families = measure_server(served.book.home, client is None or client.is_connected)
    if served.dispatcher is not None:
        families += measure_workers(served.dispatcher.watch.list_sights())
    with served.book.ledger.reading() as connection:
        families += measure_ledger(connection)
    return Response(write_families(families), media_type=CONTENT_TYPE)

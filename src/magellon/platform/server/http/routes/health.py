"""Whether the server works; for monitors, so without authentication and without details."""

from importlib.metadata import version

from fastapi import APIRouter, Response
from pydantic import Field
from sqlalchemy import select

from magellon.contracts import Record
from magellon.errors import Transient
from magellon.platform.server.http.services import Served
from magellon.platform.store.schema import jobs

router = APIRouter(prefix="/health", tags=["health"])


class Health(Record):
    """How the server is."""

    status: str = Field(examples=["ok"], description="ok, or what does not answer: ledger, bus.")
    version: str = Field(examples=["0.1.0"])


@router.get("")
def get_health(served: Served, response: Response) -> Health:
    """Status 200 when ledger and bus answer, otherwise 503."""
    status = "ok"
    client = getattr(served.dispatcher, "client", None)
    if client is not None and not client.is_connected:
        status = "bus"
    try:
        with served.book.ledger.reading() as connection:
            connection.execute(select(jobs.c.id).limit(1)).all()
    except Transient:
        status = "ledger"
    response.status_code = 200 if status == "ok" else 503
    return Health(status=status, version=version("magellon"))

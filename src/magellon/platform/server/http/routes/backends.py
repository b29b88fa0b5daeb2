"""Which backends there are, with their parameters as JSON schema: forms are made from it."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from magellon.contracts import CONTRACTS, Record
from magellon.platform.people.caller import Caller
from magellon.platform.people.roles import Role
from magellon.platform.pipeline.catalogue import read_catalogue
from magellon.platform.server.http.security import require
from magellon.platform.server.http.services import Served

router = APIRouter(prefix="/backends", tags=["backends"])


class BackendView(Record):
    """One implementation of a step."""

    category: str = Field(examples=["ctf_estimation"])
    name: str = Field(examples=["ctf"])
    version: int = Field(description="Of its results.")
    summary: str
    parameters: dict[str, Any] = Field(description="JSON schema; `unit` is a keyword of ours.")
    defaults: dict[str, Any]
    distribution: str = Field(description="The package that brings it.", examples=["magellon 0.1.0"])
    requirements: tuple[str, ...]
    error: str | None = Field(description="Why it cannot be used here; null when it can.")


class BackendList(Record):
    """Backends, categories in pipeline order."""

    items: tuple[BackendView, ...]


@router.get("")
def list_backends(
    served: Served,
    caller: Annotated[Caller, Depends(require(Role.VIEWER))],
    category: Annotated[str | None, Query(max_length=100)] = None,
) -> BackendList:
    """The installed backends."""
    order = list(CONTRACTS)
    found = [each for each in read_catalogue(served.book.home.catalogue).values() if category in (None, each.category)]
    found.sort(key=lambda each: (order.index(each.category) if each.category in order else len(order), each.name))
    names = BackendView.model_fields
    return BackendList(items=tuple(BackendView.model_validate(each.model_dump(include=set(names))) for each in found))

"""Handing a session to the server that runs in a home."""

import asyncio
import json

from nats.errors import NoRespondersError

from magellon.errors import BadInput, Transient
from magellon.platform.bus.configuration import BusAddress, read_address
from magellon.platform.bus.connection import BUS_ERRORS, connect_bus
from magellon.platform.server.submitting import Submission
from magellon.platform.store.home import Home

PATIENCE = 10.0
"""Seconds after which a server that does not answer is taken for none."""
_LONGEST = 30.0
"""Seconds of one request. Reading many headers takes longer: asked again, the server goes on with what it began."""


def hand_over(home: Home, submission: Submission) -> int:
    """Submit a session; the number of its job.

    Raises:
        BadInput: no server was ever started in this home, or it refuses the session.
        Transient: none answers now.
    """
    try:
        address = read_address(home.bus)
    except BadInput as error:
        raise BadInput(f"no server runs in {home.root}; start one with: magellon up --home {home.root}") from error
    return asyncio.run(_submit(address, submission))


async def _submit(address: BusAddress, submission: Submission) -> int:
    client = await connect_bus(address, "import", patience=PATIENCE)
    loop = asyncio.get_running_loop()
    until = loop.time() + PATIENCE
    try:
        while True:
            try:
                reply = await client.request("api.submit", submission.model_dump_json().encode(), timeout=_LONGEST)
            except BUS_ERRORS as error:
                if isinstance(error, NoRespondersError | ConnectionError) and loop.time() > until:
                    raise Transient(f"the server at {address.url} does not answer") from error
                await asyncio.sleep(0.2)
                continue
            answer = json.loads(reply.data)
            if "refused" in answer:
                raise BadInput(answer["refused"])
            return int(answer["answer"])
    finally:
        await client.close()

"""A worker computes only where it sees the same files as the server."""

import asyncio
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from nats.aio.client import Client

from magellon.errors import BadInput, Transient
from magellon.platform.bus.connection import BUS_ERRORS
from magellon.platform.bus.heeding import heed_cancellation
from magellon.platform.store.home import Home
from magellon.platform.store.roots import HOME_ROOT, Root, Roots, check_root

_PATIENCE = 30.0


class WrongMount(BadInput):
    """This machine sees another filesystem than the server: no start."""


async def ask_roots(client: Client, worker: str, home: Home, mapped: Mapping[str, Path]) -> Roots:
    """Introduce the worker and check the home and every data root; `mapped` says where roots lie on this machine.

    Raises:
        WrongMount: the home or a data root is another one here.
        Transient: the server does not answer.
    """
    try:
        token = hashlib.sha256(home.token_file.read_bytes()).hexdigest()
    except OSError as error:
        raise WrongMount(f"wrong mount: {home.token_file}: {error.strerror}; is {home.root} the server's home?") from error
    request = json.dumps({"worker": worker, "home_token": token}).encode()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _PATIENCE
    while True:
        try:
            answer = json.loads((await client.request("api.hello", request, timeout=2)).data)
            break
        except BUS_ERRORS as error:
            if loop.time() > deadline:
                raise Transient("the server does not answer") from error
            await asyncio.sleep(0.2)
    heed_cancellation()
    if "refused" in answer:
        raise WrongMount(answer["refused"])
    roots = [Root.model_validate(root) for root in answer["answer"]]
    folders = {root.name: mapped.get(root.name, Path(root.path)) for root in roots}
    for root in roots:
        try:
            check_root(root, folders[root.name])
        except BadInput as error:
            raise WrongMount(str(error)) from error
    return Roots({HOME_ROOT: home.root, **folders})

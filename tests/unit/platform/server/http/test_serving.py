"""Where the server listens."""

import socket

import pytest

from magellon.errors import BadInput
from magellon.platform.server.http.serving import open_socket


def test_a_call_before_the_web_server_has_begun_waits_for_it() -> None:
    with open_socket("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname(), timeout=5) as caller:
        assert caller.getpeername() == listener.getsockname()


def test_a_taken_port_is_named() -> None:
    with open_socket("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(BadInput, match=f"port {port}"), open_socket("127.0.0.1", port):
            pass

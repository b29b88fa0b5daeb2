import io
import logging

import pytest

from magellon.platform.people.redaction import redact, redact_logs
from magellon.platform.people.secret import make_secret


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Authorization: Bearer abc.def-ghi", "Authorization: Bearer ***"),
        ("postgresql://magellon:geheim@db/magellon", "postgresql://magellon:***@db/magellon"),
        ("nats://user:p:w@host:4222", "nats://user:***@host:4222"),
        (
            "GET /api/v1/login/openid/callback?state=s&code=4/0Ab HTTP/1.1",
            "GET /api/v1/login/openid/callback?state=s&code=*** HTTP/1.1",
        ),
        ('{"password": "geheim", "name": "vera"}', '{"password": "***", "name": "vera"}'),
        ("password=geheim&name=vera", "password=***&name=vera"),
        ("exit code: 3, at http://127.0.0.1:8000/x", "exit code: 3, at http://127.0.0.1:8000/x"),
    ],
)
def test_secrets_become_unreadable_and_the_rest_stays(text: str, clean: str) -> None:
    assert redact(text) == clean


def test_logs_hold_no_token_not_even_in_a_traceback() -> None:
    token, written = make_secret(), io.StringIO()
    logger = logging.getLogger("magellon.test.redaction")
    logger.propagate = False
    logger.addHandler(logging.StreamHandler(written))
    redact_logs(logger.name)
    redact_logs(logger.name)
    try:
        raise ValueError(token)
    except ValueError:
        logger.exception("with %s", token)
    assert "with ***" in written.getvalue()
    assert "ValueError: ***" in written.getvalue()
    assert token not in written.getvalue()

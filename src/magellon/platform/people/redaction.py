"""Secrets that get into a log line by accident do not stay there."""

import logging
import re

from magellon.platform.people.secret import PATTERN

HIDDEN = "***"
_RULES = (
    (PATTERN, HIDDEN),
    (re.compile(r"(?i)(\b(?:bearer|basic)\s+)[^\s\"',]+"), rf"\1{HIDDEN}"),
    (re.compile(r"(\w://[^/\s:@]*:)[^@/\s]+(?=@)"), rf"\1{HIDDEN}"),
    (re.compile(r"([?&]code=)[^\s&\"']+"), rf"\1{HIDDEN}"),
    (re.compile(r"(?i)([\"']?\b(?:password|client_secret|code_verifier|access_token|id_token|cookie)[\"']?\s*[=:]\s*[\"']?)"
                r"[^\s\"'&;,}]+"), rf"\1{HIDDEN}"),
)  # fmt: skip


def redact(text: str) -> str:
    """The text without tokens, passwords in addresses, and values of fields that hold secrets."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


class RedactingFormatter(logging.Formatter):
    """Wraps a formatter, so that tracebacks are cleaned as well."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        return redact(self._inner.format(record))


def redact_logs(*names: str) -> None:
    """Clean what the root's handlers write, and those of the loggers named; call it after logging is set up."""
    for logger in (logging.getLogger(), *map(logging.getLogger, names)):
        for handler in logger.handlers:
            if not isinstance(handler.formatter, RedactingFormatter):
                handler.setFormatter(RedactingFormatter(handler.formatter or logging.Formatter()))

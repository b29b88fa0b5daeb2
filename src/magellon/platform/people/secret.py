"""Secrets that people and programs show: random, recognisable in a log, and kept as a hash only."""

import hashlib
import re
import secrets

PREFIX = "mgl_"
PATTERN = re.compile(r"mgl_[A-Za-z0-9_-]{43}")
"""By it logs are cleaned, and leaked tokens found."""


def make_secret() -> str:
    """256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_secret(secret: str) -> str:
    """What is kept of one. It is random and long, so that a plain hash is enough, and looking the hash up tells nothing."""
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()

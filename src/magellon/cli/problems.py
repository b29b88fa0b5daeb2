"""Values that a record refuses, in words."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from magellon.errors import BadInput


def describe_problems(error: ValidationError) -> str:
    """Each field with its value and what is wrong with it."""
    return "; ".join(f"{'.'.join(map(str, each['loc']))} = {each['input']!r}: {each['msg']}" for each in error.errors())


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Say of which file a record refuses a value.

    Raises:
        BadInput: with the file, the value and the limit.
    """
    try:
        yield
    except ValidationError as error:
        raise BadInput(f"{path}: {describe_problems(error)}") from error

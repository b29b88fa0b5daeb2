"""The base of what the interface answers: its fields' docstrings are the documentation."""

from pydantic import ConfigDict

from magellon.contracts import Record


class View(Record):
    """Immutable; documented by the docstrings of its fields."""

    model_config = ConfigDict(use_attribute_docstrings=True)

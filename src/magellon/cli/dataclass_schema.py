"""A frozen dataclass with docstrings below its fields, as the JSON schema of which flags are made."""

import ast
import dataclasses
import inspect
import textwrap
from typing import Any, get_type_hints

from pydantic import Field, create_model

from magellon.contracts import Params


def make_params_model(cls: type, skip: frozenset[str] = frozenset()) -> type[Params]:
    """A parameters model with the dataclass's fields, types, defaults and docstrings."""
    hints = get_type_hints(cls, include_extras=True)
    documented = read_docstrings(cls)
    fields: dict[str, Any] = {
        each.name: (hints[each.name], Field(default=each.default, description=documented.get(each.name, "")))
        for each in dataclasses.fields(cls)
        if each.name not in skip and each.default is not dataclasses.MISSING
    }
    return create_model(f"{cls.__name__}Flags", __base__=Params, **fields)


def read_docstrings(cls: type) -> dict[str, str]:
    """Field > the string literal that follows it in the source."""
    [definition] = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for statement, following in zip(definition.body, definition.body[1:], strict=False):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
        ):
            found[statement.target.id] = " ".join(str(following.value.value).split())
    return found

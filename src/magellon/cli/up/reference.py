"""The reference page of the HTTP API, made from its own description: `python -m magellon.cli.up.reference`."""

from types import SimpleNamespace
from typing import Any

HEADING = """# HTTP API

Made by `make docs` from the server's own description, `/openapi.json`; a test keeps it current.
[Run a server](../how-to/run-a-server.md) shows how to use it.

All paths begin with `/api/v1`. Every request but `/health` and logging in carries `Authorization: Bearer TOKEN`, or the cookie
that logging in sets; with a cookie, what changes something also carries a header `X-Magellon` with any value. Errors are
problem details (RFC 9457, `application/problem+json`). Lists come in pages: `next` of one page is the `cursor` of the
following one. What a caller may not see does not exist for them (404).
"""


def format_api(document: dict[str, Any]) -> str:
    """Markdown of an OpenAPI document, by tag in the order of its paths."""
    by_tag: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            tag = operation.get("tags", ["other"])[0]
            by_tag.setdefault(tag, []).append(_format_operation(method, path, operation))
    parts = [HEADING]
    for tag, texts in by_tag.items():
        parts += [f"\n## {tag[0].upper()}{tag[1:]}\n", *texts]
    return "".join(parts)


def _format_operation(method: str, path: str, operation: dict[str, Any]) -> str:
    lines = [f"\n### `{method.upper()} {path.removeprefix('/api/v1')}`\n", f"{operation['description'].strip()}\n"]
    rows = [_format_parameter(each) for each in operation.get("parameters", []) if each["in"] == "query"]
    if rows:
        lines += ["| parameter | allowed | meaning |", "|---|---|---|", *rows, ""]
    body = operation.get("requestBody")
    answer = next((status for status in operation["responses"] if status != "default"), "200")
    ends = [f"operation `{operation['operationId']}`"]
    if body:
        ends.append(f"body {_name_schema(body)}")
    found = _name_schema(operation["responses"].get(answer, {}))
    ends.append(f"answers {answer}{f' {found}' if found else ''}")
    return "\n".join([*lines, f"{', '.join(ends)}\n"])


def _format_parameter(parameter: dict[str, Any]) -> str:
    allowed = _describe_schema(parameter["schema"])
    meaning = parameter.get("description", parameter["schema"].get("description", ""))
    return f"| `{parameter['name']}` | {allowed} | {meaning} |".replace("  ", " ")


def _describe_schema(schema: dict[str, Any]) -> str:
    choices = [each for each in schema.get("anyOf", [schema]) if each.get("type") != "null"]
    words = []
    for each in choices:
        if each.get("type") == "array":
            words.append(f"{_describe_schema(each['items'])}, may be repeated")
        elif "enum" in each:
            words.append(", ".join(f"`{value}`" for value in each["enum"]))
        elif "$ref" in each:
            words.append(each["$ref"].rpartition("/")[2])
        else:
            least, most = each.get("minimum"), each.get("maximum")
            bounds = f" {least} to {most}" if least is not None and most is not None and most < 2**31 - 1 else ""
            words.append(f"{each.get('type', 'any')}{bounds}")
    return " or ".join(words)


def _name_schema(content: dict[str, Any]) -> str:
    for kind, described in content.get("content", {}).items():
        reference = described.get("schema", {}).get("$ref", "")
        if reference:
            return f"`{reference.rpartition('/')[2]}`"
        if kind != "application/json":
            return f"`{kind}`"
    return ""


def make_page() -> str:
    """The page of this version's server."""
    from magellon.platform.server.http.app import create_app, describe_app

    services: Any = SimpleNamespace(people=None)
    return format_api(describe_app(create_app(services)))


if __name__ == "__main__":
    print(make_page(), end="")  # noqa: T201

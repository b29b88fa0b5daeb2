"""Examples in the documentation: which there are, and how they are run.

A block fenced as `console` or `python` is run when the line before it is a comment:

    <!-- test -->               run it as it is
    <!-- test: COMMANDS -->     run these commands instead (the same with smaller numbers); may go over several lines

A page's examples run in order, in one folder; `session` is a small simulated session of two movies, and `examples` is ours.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/*.md")])

_BLOCK = re.compile(
    r"(?:^<!-- test(?::(?P<instead>.*?))? -->\n)?^```(?P<language>\w+)[^\n]*\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)
_TESTED = re.compile(r"^<!-- test", re.MULTILINE)


@dataclass(frozen=True)
class Example:
    """One block of a page."""

    page: Path
    line: int
    language: str
    body: str
    tested: bool
    instead: str
    """Commands to run in its place; empty: the block itself."""

    @property
    def commands(self) -> str:
        """What a shell runs: the lines after `$ `, with their continuations."""
        if self.instead:
            return self.instead
        return "\n".join(_commands(self.body))


def find_examples(page: Path) -> list[Example]:
    """All fenced blocks of a page.

    Raises:
        ValueError: a test comment without a block right after it.
    """
    text = page.read_text()
    found = []
    for match in _BLOCK.finditer(text):
        tested = match.group(0).startswith("<!-- test")
        line = text.count("\n", 0, match.start()) + 1
        instead = (match.group("instead") or "").strip()
        found.append(Example(page, line, match.group("language"), match.group("body"), tested, instead))
    if len(_TESTED.findall(text)) != sum(each.tested for each in found):
        raise ValueError(f"{page}: a test comment must stand on the line before its block")
    return found


def _commands(body: str) -> list[str]:
    lines: list[str] = []
    going_on = False
    for line in body.splitlines():
        if line.startswith("$ "):
            lines.append(line[2:])
        elif going_on:
            lines[-1] += "\n" + line
        going_on = bool(lines) and lines[-1].endswith("\\") and (line.startswith("$ ") or going_on)
    return lines

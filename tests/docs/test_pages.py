"""The documentation agrees with the code: links lead somewhere, commands and flags exist, generated pages are current."""

import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
import typer
from examples import PAGES, ROOT, find_examples

from magellon.cli import app
from magellon.cli.catalogue import choose_backend, read_descriptions
from magellon.cli.reference import format_reference
from magellon.cli.run.command import make_command
from magellon.cli.simulate import make_command as make_simulate_command
from magellon.cli.up.reference import make_page
from magellon.platform.pipeline.filter import Thresholds
from magellon.platform.sessions.definition import SessionFile

NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in target:
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            assert file.exists(), f"{target} leads nowhere"
            if anchor and file.suffix == ".md":
                assert anchor in list_anchors(file), f"{target}: no such heading"


GROUPS = {
    str(group.name): {each.name: each for each in group.typer_instance.registered_commands}
    for group in app.registered_groups
    if group.typer_instance
}
"""Commands below a command, as `magellon user add`."""


def list_anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def list_flags(command: object) -> set[str]:
    made = typer.Typer(add_completion=False)
    made.command()(command)  # type: ignore[type-var]
    return {flag for parameter in typer.main.get_command(made).params for flag in parameter.opts} | {"--help"}


def find_flags(words: list[str]) -> set[str]:
    """Flags of the command that these words call."""
    name = words[1]
    if name == "run":
        return list_flags(make_command(choose_backend(words[2]))) if not words[2].startswith("-") else {"--help"}
    if name == "train" and words[2] == "picker":
        return list_flags(make_command(choose_backend(f"{words[2]}_training")))
    if name == "simulate":
        return list_flags(make_simulate_command())
    commands = GROUPS[name].values() if name in GROUPS else app.registered_commands
    command = next(each for each in commands if each.name == (words[2] if name in GROUPS else name))
    return list_flags(command.callback)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_and_flags_exist(page: Path) -> None:
    known = {each.name for each in app.registered_commands} | set(GROUPS)
    for example in find_examples(page):
        for line in (*example.commands.replace("\\\n", " ").splitlines(), *example.instead.splitlines()):
            words = shlex.split(line, comments=True)
            if len(words) < 2 or words[0] != "magellon" or words[1].startswith("-"):
                continue
            assert words[1] in known, f"{line}: no such command"
            if words[1] in GROUPS:
                assert words[2] in GROUPS[words[1]], f"{line}: no such command"
            if "valley" in line or "/topaz" in line:
                continue  # plugins that are not installed here
            given = {word.partition("=")[0] for word in words if word.startswith("--")}
            assert given <= find_flags(words), f"{line}: no flag {given - find_flags(words)}"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for mentioned in re.findall(r"`make ([a-z-]+)[^`]*`|^\$ make ([a-z-]+)", page.read_text(), re.MULTILINE):
        assert set(filter(None, mentioned)) <= targets


def test_the_backends_page_is_current() -> None:
    page = (ROOT / "docs" / "reference" / "backends.md").read_text()
    assert page == format_reference(read_descriptions()), "run `make docs`"


def test_the_default_recipe_is_shown_as_it_is() -> None:
    page = (ROOT / "docs" / "reference" / "recipes.md").read_text()
    recipe = (ROOT / "src" / "magellon" / "platform" / "pipeline" / "default_recipe.toml").read_text()
    assert f"```toml\n{recipe.strip()}\n```" in page


def test_session_json_is_described_completely() -> None:
    page = (ROOT / "docs" / "reference" / "session-json.md").read_text()
    for name in SessionFile.model_fields:
        assert f"| `{name}` |" in page


def test_the_filter_is_described_completely() -> None:
    page = (ROOT / "docs" / "reference" / "recipes.md").read_text()
    for name in Thresholds.model_fields:
        assert f"`{name}`" in page


def test_the_page_of_the_http_api_is_current() -> None:
    page = (ROOT / "docs" / "reference" / "http-api.md").read_text()
    assert page == make_page(), "run `make docs`"


def test_every_command_is_in_the_reference() -> None:
    text = (ROOT / "docs" / "reference" / "command-line.md").read_text()
    for name in (*(command.name for command in app.registered_commands), *GROUPS):
        assert f"## magellon {name}" in text


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    for page in (ROOT / "docs").rglob("*.md"):
        if page.name != "README.md":
            assert str(page.relative_to(ROOT / "docs")) in index, f"docs/README.md does not mention {page.name}"


def test_every_dependency_has_its_licence_listed() -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text().partition("## Dependencies")[2].partition("\n## ")[0]
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = [re.split(r"[^A-Za-z0-9-]", each)[0] for each in dependencies]
    assert not [name for name in names if not re.search(rf"\b{name}\b", table)]


def test_the_repository_speaks_of_no_machine_in_particular() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    files = [ROOT / name for name in listed.stdout.split("\n") if name.endswith((".md", ".py", ".toml", ".json", "Makefile"))]
    pattern = re.compile("/" + "work/|/" + "tmp/team")
    assert not [str(file) for file in files if file.exists() and pattern.search(file.read_text())]

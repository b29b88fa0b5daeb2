"""The virtual environment of a plugin: made by Python's own `venv`, filled by its own pip.

By default it is isolated: the plugin's dependencies are chosen without regard to ours. Magellon itself is linked into it
instead of being installed a second time: its contracts, its readers and the process that runs a backend come in, torch and the
platform do not. So a plugin speaks exactly the protocol of the Magellon that calls it, whatever index pip uses.
Environments are never moved, as programs in them hold their path.
"""

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import magellon
from magellon.errors import BadInput
from magellon.platform.store.environments import isolate_variables

CORE = ("pydantic>=2.7", "numpy", "pillow", "tifffile", "imagecodecs")
"""What contracts, readers and the child process import. Only pydantic's version matters; the rest is the plugin's choice."""
_TAIL = 12
_SHARED_PATHS = "magellon-shared.pth"


def build_environment(folder: Path, shared: bool, say: Callable[[str], None]) -> None:
    """Make an environment in which `import magellon` works.

    Raises:
        BadInput: it cannot be made.
    """
    say(f"making the environment {folder}")
    _run([sys.executable, "-m", "venv", str(folder)], dict(os.environ), say)
    packages = find_packages(folder)[0]
    (packages / "magellon").symlink_to(Path(magellon.__file__).resolve().parent)
    _write_metadata(packages)
    if shared:
        own = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
        lines = [f"import site; site.addsitedir({path!r})\n" for path in own]  # after the plugin's own packages
        (packages / _SHARED_PATHS).write_text("".join(lines))


def find_packages(folder: Path) -> list[Path]:
    """Where packages of an environment itself lie."""
    bases = {"base": str(folder), "platbase": str(folder)}
    return list(dict.fromkeys(Path(sysconfig.get_path(name, "venv", bases)) for name in ("purelib", "platlib")))


def install_package(folder: Path, target: str, say: Callable[[str], None]) -> tuple[str, str]:
    """Install a package with what it needs; its name and version.

    Raises:
        BadInput: pip fails, or the package is installed in our own environment already.
    """
    report, constraints = folder / "report.json", folder / "constraints.txt"
    constraints.write_text(f"magellon=={version('magellon')}\n")  # never another package of that name from an index
    python = folder / "bin" / "python"
    command = [str(python), "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    command += ["--constraint", str(constraints), "--report", str(report), target, "magellon"]
    _run(command, isolate_variables(os.environ, python), say)
    found = json.loads(report.read_bytes())["install"]
    asked = [item["metadata"] for item in found if item.get("requested")]
    if len(asked) != 1:
        raise BadInput(f"{target} is installed in Magellon's own environment already; it needs none of its own")
    return str(asked[0]["name"]), str(asked[0]["version"])


def install_alone(folder: Path, packages: Sequence[str], say: Callable[[str], None]) -> None:
    """Install packages (`name==version`) without what they ask for themselves.

    Raises:
        BadInput: pip fails.
    """
    if packages:
        python = folder / "bin" / "python"
        command = [str(python), "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
        _run([*command, "--no-deps", *packages], isolate_variables(os.environ, python), say)


def _write_metadata(packages: Path) -> None:
    """What pip has to know of the linked package. No entry points: our own backends run in our own environment."""
    folder = packages / f"magellon-{version('magellon')}.dist-info"
    folder.mkdir()
    lines = ["Metadata-Version: 2.1", "Name: magellon", f"Version: {version('magellon')}"]
    lines += [f"Requires-Dist: {requirement}" for requirement in CORE]
    (folder / "METADATA").write_text("\n".join(lines) + "\n")
    (folder / "INSTALLER").write_text("magellon\n")


def _run(command: Sequence[str], variables: dict[str, str], say: Callable[[str], None]) -> None:
    """Run to its end, telling each line.

    Raises:
        BadInput: it fails; with the end of what it said.
    """
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=variables,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise BadInput(f"{command[0]}: {error}") from error
    lines: list[str] = []
    with process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                lines = [*lines[-_TAIL:], line.rstrip()]
                say(line.rstrip())
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        errors = [line for line in lines if line.startswith("ERROR")] or lines[-3:]
        raise BadInput(f"{Path(command[0]).name} {' '.join(command[1:4])} failed: {' '.join(errors)}")

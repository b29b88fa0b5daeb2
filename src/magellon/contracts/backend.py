"""What a backend is: a class that joins an algorithm, or an external program, to a contract.

A backend's package names it in the entry point group `magellon.backends`, as `CATEGORY.NAME = "module:Class"`. Ours and an
outsider's come in by that same door.
"""

import logging
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import ConfigDict

from magellon.contracts.lifeline import die_with_parent
from magellon.contracts.record import Record
from magellon.errors import Transient

ENTRY_POINT_GROUP = "magellon.backends"
LOG = logging.getLogger("magellon.backend")


class Params(Record):
    """Base of a backend's parameters. Its JSON schema is the form, the command line flags and the reference page.

    The docstring below a field is its description. Each field needs one, and a default; a physical quantity has a unit.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)


InputT = TypeVar("InputT", bound=Record)
ParamsT = TypeVar("ParamsT", bound=Params)
OutputT = TypeVar("OutputT", bound=Record)


@dataclass(frozen=True)
class Contract(Generic[InputT, OutputT]):
    """What a category takes and gives.

    `sources` is the default wiring: for each input field the `category.output_field` it comes from, or `session.NAME` (see
    `SESSION_SOURCES`). A field whose source may be missing (a step left out of the recipe) must have a default. A `gather`
    takes every item of the session at once.
    """

    category: str
    Input: type[InputT]
    Output: type[OutputT]
    sources: Mapping[str, str] = field(default_factory=dict)
    gather: bool = False
    sample: int | None = None
    """A gather over a sample is a survey: it takes the first so many usable items in the order of their names, and steps that
    work on single items may depend on it."""
    Item: type[Record] | None = None
    """What a gather or a survey takes of each item; its input has `items`, a tuple of these, and `sources` names their fields.

    Other fields of the input come from gathers above; one whose source is of the contract's own category takes what the step
    itself made of fewer items, while a session grows. `folders` (category > folder of the session in which its files appear)
    is given by the platform."""
    counted: str | None = None
    """Of a gather with `Item`: the field of an item whose `count` says how much it brings; a recipe says how much is enough."""
    withheld_from: tuple[str, ...] = ()
    """Categories that must not take what it makes."""
    on_demand: bool = False
    """Run when a person asks for it: no recipe may hold such a step."""


@dataclass(frozen=True)
class Context:
    """What a backend may use besides its input: a folder of its own, a device, and a voice."""

    workdir: Path
    """Empty at the start. Everything the backend writes goes here; paths of the output lie in it."""
    device: str = "cpu"
    threads: int = 1
    memory: int = 4 << 30
    """Bytes the task may hold."""
    seed: int = 0
    """Derived from what is computed, so the same on every machine: the only source of randomness."""
    log: logging.Logger = LOG
    report: Callable[[float, str], None] = lambda fraction, message: None
    """Where `progress` goes; raises `Cancelled` when the task is to stop."""

    def progress(self, fraction: float, message: str = "") -> None:
        """Say how far the work is (0..1). Call it a few times a second at most and at least every few seconds.

        Raises:
            Cancelled: the task was cancelled; let it pass.
        """
        self.report(fraction, message)

    def command(self, argv: Sequence[str], timeout: float | None = None) -> str:
        """Run an external program in the working folder, without a shell, and return what it printed.

        Raises:
            Transient: it could not be started, ran out of time, or ended with a non-zero status.
        """
        try:
            done = subprocess.run(
                list(argv),
                cwd=self.workdir,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=timeout,
                check=False,
                preexec_fn=die_with_parent(),
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Transient(f"{argv[0]}: {error}") from error
        output = done.stdout.decode(errors="replace")
        self.log.info("%s", output)
        if done.returncode != 0:
            raise Transient(f"{argv[0]} ended with status {done.returncode}: {output[-2000:]}")
        return output


class Backend(ABC, Generic[InputT, ParamsT, OutputT]):
    """One implementation of a category. It knows nothing of buses, retries, other steps or where results go."""

    contract: ClassVar[Contract[Any, Any]]
    name: ClassVar[str]
    version: ClassVar[int] = 1
    """Raised by the author whenever the same input and parameters give another result."""
    Params: ClassVar[type[Params]]
    ignores: ClassVar[tuple[str, ...]] = ()
    """Fields of its input it does not look at, so that nothing is computed for their sake."""

    def load(self, device: str) -> None:
        """Called once per worker before the first task: read models here."""

    @abstractmethod
    def run(self, input: InputT, params: ParamsT, context: Context) -> OutputT:
        """Compute. Deterministic for the same input, parameters and seed.

        Raises:
            BadInput: the input cannot be processed; the message names file, value and limit.
            Transient: something outside failed and may work later.
        """

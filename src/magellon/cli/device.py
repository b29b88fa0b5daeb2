"""The flag that says where to compute, the same in every command."""

import re
from typing import Any

import typer

_WORDS = re.compile(r"auto|cpu|cuda(:\d{1,3})?")


def device_option(panel: str) -> Any:
    """An option `--device`. Only its words are checked here: whether there is such a GPU is seen where a task begins."""
    return typer.Option(callback=_check_word, help="auto, cpu, cuda or cuda:N.", rich_help_panel=panel)


def _check_word(word: str) -> str:
    if not _WORDS.fullmatch(word):
        raise typer.BadParameter(f"{word!r} is not auto, cpu, cuda or cuda:N (N counts GPUs from 0)")
    return word

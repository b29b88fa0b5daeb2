"""The three functions that Topaz names."""

from typing import Any, NoReturn


def rotate(*arguments: Any, **options: Any) -> NoReturn:
    raise NotImplementedError("torchvision is not installed beside this Topaz: it picks and denoises, but cannot be trained")


hflip = vflip = rotate

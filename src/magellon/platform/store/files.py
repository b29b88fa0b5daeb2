"""Files that appear whole or not at all."""

import contextlib
import os
import secrets
from pathlib import Path


def write_atomically(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file; readers see the old content or the new one, never a part."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def link_atomically(link: str | Path, target: str | Path, inside: str | Path) -> None:
    """Make or replace a symbolic link. Within the folder `inside` it is relative, so that the whole can be moved."""
    link, text, inside = str(link), str(target), str(inside)
    folder, name = os.path.split(link)
    if text.startswith(f"{inside}/") and link.startswith(f"{inside}/"):
        text = "../" * link.count("/", len(inside) + 1) + text[len(inside) + 1 :]
    try:
        os.symlink(text, link)
        return
    except FileNotFoundError:
        os.makedirs(folder, exist_ok=True)
    except FileExistsError:
        if os.path.islink(link) and os.readlink(link) == text:
            return
    partial = os.path.join(folder, f".{name}.{secrets.token_hex(4)}")
    os.symlink(text, partial)
    os.replace(partial, link)

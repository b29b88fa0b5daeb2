"""The command `magellon process`."""


def process_folder() -> None:
    """Not there yet."""

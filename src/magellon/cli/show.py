"""The command `magellon show`."""


def show_file() -> None:
    """Not there yet."""

"""The command `magellon simulate`."""


def simulate() -> None:
    """Not there yet."""

"""The command `magellon demo`."""


def run_demo() -> None:
    """Not there yet."""

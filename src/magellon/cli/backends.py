"""The command `magellon backends`."""


def list_backends() -> None:
    """Not there yet."""

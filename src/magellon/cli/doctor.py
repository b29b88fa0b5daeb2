"""The command `magellon doctor`."""


def run_doctor() -> None:
    """Not there yet."""

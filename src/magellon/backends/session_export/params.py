"""What may be said of every export."""

from magellon.contracts import Params


class ExportParams(Params):
    where: tuple[str, ...] = ()
    """Conditions that all must hold, such as ctf_resolution<=6 or 5000<=defocus<=20000; what lacks the value is left out."""
    classes: tuple[int, ...] = ()
    """Only particles of these classes, counted from 1; left out, all."""
    kept: bool = False
    """Only particles that 2D classification kept."""
    held: bool = False
    """Export micrographs that the session's filter holds back too."""

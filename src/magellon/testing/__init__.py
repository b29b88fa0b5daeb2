"""Conformance kits: what a backend must keep to, checked by running it. For authors of plugins as much as for ourselves."""

from magellon.testing.backend import check_backend
from magellon.testing.examples import make_example
from magellon.testing.faults import BackendFault
from magellon.testing.schema import check_params

__all__ = ["BackendFault", "check_backend", "check_params", "make_example"]

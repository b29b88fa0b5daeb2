"""What a kit raises when the thing under test does not keep to its contract."""


class BackendFault(AssertionError):
    """The message says which rule was broken, with the values that show it."""

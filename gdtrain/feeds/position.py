"""Data that cannot be set back."""


class NoPosition(ValueError):
    """Says why data cannot be set back to where it was.

    Example:

    >>> str(NoPosition("a generator only goes on"))
    'a generator only goes on'
    """

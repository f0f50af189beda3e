"""Says how to get matplotlib where it is missing."""

try:
    import matplotlib  # noqa: F401
except ImportError as error:
    raise ImportError(
        "`gdtrain.plots` draws with matplotlib, which could not be imported. "
        "Run `pip install matplotlib`, or, in a copy of gdtrain's repository, "
        "`pip install -e '.[plots]'`."
    ) from error

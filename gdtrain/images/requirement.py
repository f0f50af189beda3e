"""Says how to get Pillow where it is missing."""

try:
    import PIL  # noqa: F401
except ImportError as error:
    raise ImportError(
        "`gdtrain.images` reads images with Pillow, which could not be "
        "imported. Run `pip install pillow`, or, in a copy of gdtrain's "
        "repository, `pip install -e '.[examples]'`."
    ) from error

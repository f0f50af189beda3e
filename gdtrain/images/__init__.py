"""Labelled images from files, as arrays that a model takes."""

# First, so that its error is the one that is seen.
from gdtrain.images import requirement  # noqa: F401
from gdtrain.images.file import read_image
from gdtrain.images.folder import ImageData, LabelledImages, read_folder

__all__ = ["ImageData", "LabelledImages", "read_folder", "read_image"]

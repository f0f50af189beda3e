"""Labelled images from files, as arrays that a model takes."""

from gdtrain.images.file import read_image
from gdtrain.images.folder import ImageData, LabelledImages, read_folder

__all__ = ["ImageData", "LabelledImages", "read_folder", "read_image"]

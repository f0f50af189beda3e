"""Labelled images from files, as arrays that a model takes."""

from gdtrain.images.augmentation import RandomPhotoChanges
from gdtrain.images.file import read_image
from gdtrain.images.folder import ImageData, LabelledImages, read_folder

__all__ = [
    "ImageData",
    "LabelledImages",
    "RandomPhotoChanges",
    "read_folder",
    "read_image",
]

"""Labelled images from files, as arrays that a model takes."""

from gdtrain.images.augmentation import RandomPhotoChanges
from gdtrain.images.backbones import Backbone, open_backbone
from gdtrain.images.file import read_image
from gdtrain.images.folder import ImageData, LabelledImages, read_folder

__all__ = [
    "Backbone",
    "ImageData",
    "LabelledImages",
    "RandomPhotoChanges",
    "open_backbone",
    "read_folder",
    "read_image",
]

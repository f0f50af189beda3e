"""Labelled photos from files, as arrays that a model takes."""

from gdtrain.images.arrays import from_arrays
from gdtrain.images.augmentation import RandomPhotoChanges
from gdtrain.images.backbones import Backbone, open_backbone
from gdtrain.images.decoding import DamagedImage, decode
from gdtrain.images.photos import LabelledImages, PhotoFile, Photos
from gdtrain.images.reading import read_folder, read_table

__all__ = [
    "Backbone",
    "DamagedImage",
    "LabelledImages",
    "PhotoFile",
    "Photos",
    "RandomPhotoChanges",
    "decode",
    "from_arrays",
    "open_backbone",
    "read_folder",
    "read_table",
]

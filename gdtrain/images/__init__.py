"""Labelled photos from files, as arrays that a model takes."""

from gdtrain.images.answers import Answer
from gdtrain.images.arrays import from_arrays
from gdtrain.images.augmentation import RandomPhotoChanges
from gdtrain.images.backbones import Backbone, open_backbone
from gdtrain.images.calibration import (
    expected_calibration_error,
    temperature,
    wilson,
)
from gdtrain.images.classifier import PhotoClassifier
from gdtrain.images.close_up import with_close_up
from gdtrain.images.decoding import DamagedImage, decode
from gdtrain.images.fine_tune import FineTuning, fine_tune
from gdtrain.images.head import Head, fit_head
from gdtrain.images.loading import load
from gdtrain.images.none_of_these import NoneOfThese
from gdtrain.images.photos import LabelledImages, PhotoFile, Photos
from gdtrain.images.reading import read_folder, read_table
from gdtrain.images.reporting import Report, report

__all__ = [
    "Answer",
    "Backbone",
    "DamagedImage",
    "FineTuning",
    "Head",
    "LabelledImages",
    "NoneOfThese",
    "PhotoClassifier",
    "PhotoFile",
    "Photos",
    "RandomPhotoChanges",
    "Report",
    "decode",
    "expected_calibration_error",
    "fine_tune",
    "fit_head",
    "from_arrays",
    "load",
    "open_backbone",
    "read_folder",
    "read_table",
    "report",
    "temperature",
    "wilson",
    "with_close_up",
]

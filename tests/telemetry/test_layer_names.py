"""Layers are named by their paths."""

import keras
import tensorflow as tf

from gdtrain.telemetry.row_layout import layer_of
from tests import models


def test_layer_of_a_weight_is_its_path_without_the_model():
    model = models.line()
    assert layer_of(model.w, "line") == "line"
    inner = models.network()
    outer = keras.Sequential([keras.Input([3]), inner], name="outer")
    names = {layer_of(w, "outer") for w in outer.weights}
    assert names == {"network/hidden", "network/output"}
    assert layer_of(tf.Variable(1.0, name="bare"), "line") == "bare"

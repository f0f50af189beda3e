"""What is changed in Keras itself, and put back."""

import keras
import numpy as np
import pytest

from gdtrain.keras_bridge import patches


def loss():
    return float(
        keras.losses.MeanSquaredError()(np.ones([2, 1]), np.zeros([2, 1]))
    )


def test_loss_is_scaled_while_the_patch_is_open():
    assert loss() == 1
    with patches.loss_scaling(lambda x: x * 8, lambda x: x / 8):
        assert loss() == 8
    assert loss() == 1


def test_loss_scaling_of_the_first_user_stays_until_the_last_has_left():
    first = patches.loss_scaling(lambda x: x * 8, lambda x: x / 8)
    second = patches.loss_scaling(lambda x: x * 8, lambda x: x / 8)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert loss() == 8
    second.__exit__(None, None, None)
    assert loss() == 1


@pytest.mark.parametrize("name", ["fit", "evaluate", "predict"])
def test_method_of_keras_holds_its_original_in_a_closure(name):
    """`dispatch_to_model` changes that cell."""
    function = patches._LOOPS[name]
    cells = [cell.cell_contents for cell in function.__closure__]
    assert callable(function.__wrapped__)
    assert any(callable(content) for content in cells)

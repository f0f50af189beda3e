"""Each private name of Keras that the bridge uses is there.

The names are found in the bridge's source. The test of a name that is gone
says in which file of the bridge it is used; its docstrings say what breaks.
"""

import ast
import contextlib
import importlib
import importlib.util
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from gdtrain.keras_bridge import callbacks, data

BRIDGE = pathlib.Path(__file__).parents[2] / "gdtrain" / "keras_bridge"
TREES = {path.name: ast.parse(path.read_text()) for path in BRIDGE.glob("*.py")}
#: Private names that are gdtrain's or Python's
OTHERS = {"_subclass_of_same_name", "_made_of", "_own_loop", "_replace"}


def module_names():
    """`(file, module, name)` of what is taken from private modules."""
    found = set()
    for file, tree in TREES.items():
        modules = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module.startswith(
                ("keras.src", "tensorflow.python")
            ):
                for alias in node.names:
                    found.add((file, node.module, alias.name))
                    modules[alias.asname or alias.name] = (
                        f"{node.module}.{alias.name}"
                    )
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                module = modules.get(getattr(node.value, "id", None))
                if module:
                    found.add((file, module, node.attr))
    return sorted(found)


def name_of(node):
    return node.attr if isinstance(node, ast.Attribute) else node.id


def is_ours(node):
    """Whether a variable, or an attribute of `self`, is set."""
    if isinstance(node, ast.Attribute):
        is_own = getattr(node.value, "id", None) == "self"
        return is_own and isinstance(node.ctx, ast.Store)
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def attribute_names():
    """`(file, name)` of private attributes of objects of Keras."""
    found = set()
    for file, tree in TREES.items():
        own = OTHERS | {name_of(n) for n in ast.walk(tree) if is_ours(n)}
        for node in ast.walk(tree):
            name = None
            if isinstance(node, ast.Attribute):
                name = node.attr
            elif isinstance(node, ast.Constant):
                name = node.value
            if (
                isinstance(name, str)
                and name.startswith("_")
                and not name.startswith("__")
                and name.isidentifier()
                and name not in own - {"_flat_losses"}
            ):
                found.add((file, name))
    return sorted(found)


def compiled():
    model = keras.Sequential([keras.Input([2]), keras.layers.Dense(1)])
    model.compile("adam", "mse", metrics=["mae"])
    return model


def built_optimizer(optimizer_class=keras.optimizers.Adam, **arguments):
    optimizer = optimizer_class(**arguments)
    optimizer.build([keras.Variable([1.0])])
    return optimizer


def built_loss():
    model = compiled()
    model.evaluate(np.zeros([2, 2]), np.zeros([2, 1]), verbose=0)
    return model._compile_loss


def excluding_optimizer():
    optimizer = keras.optimizers.AdamW()
    optimizer.exclude_from_weight_decay([keras.Variable([1.0])], ["bias"])
    return optimizer


def generator_adapter():
    batches = [(np.zeros([2, 2]), np.zeros([2]))] * 2
    return data.data_adapter(batch for batch in batches)


def pydataset_adapter():
    class Data(keras.utils.PyDataset):
        def __len__(self):
            return 1

        def __getitem__(self, index):
            return np.zeros([2, 2]), np.zeros([2])

    return data.data_adapter(Data())


def eager_context():
    tf.random.set_seed(0)
    tf.random.normal([])
    return importlib.import_module("tensorflow.python.eager.context").context()


def amsgrad():
    return built_optimizer(amsgrad=True)


def loss_of_keras():
    return keras.losses.Huber()


def operation_error():
    return tf.errors.InvalidArgumentError(None, None, "message")


def layer():
    return keras.layers.Dropout(0.5)


def variable():
    return keras.Variable([1.0])


def default_hook():
    return keras.callbacks.Callback().on_train_batch_end


def model_checkpoint():
    callback = keras.callbacks.ModelCheckpoint("file.keras", save_freq=1)
    callback.on_epoch_begin(0)
    return callback


#: Makes an object of Keras that has an attribute
OWNERS = {
    "_assert_compile_called": compiled,
    "_async_train": lambda: keras.callbacks.CallbackList(),
    "_batches_seen_since_last_saving": model_checkpoint,
    "_clip_gradients": built_optimizer,
    "_keras_logits": lambda: keras.activations.softmax(tf.ones([1, 2])),
    "_compile_config": compiled,
    "_compile_loss": compiled,
    "_compile_metrics": compiled,
    "_compute_loss": compiled,
    "_context_handle": eager_context,
    "_current_epoch": model_checkpoint,
    "_distribute_strategy": compiled,
    "_dtype_policy": layer,
    "_ema_weights_in_model": keras.callbacks.SwapEMAWeights,
    "_exclude_from_weight_decay": excluding_optimizer,
    "_exclude_from_weight_decay_pattern": excluding_optimizer,
    "_first_batches": generator_adapter,
    "_flat_losses": built_loss,
    "_flatten_layers": layer,
    "_flatten_metrics_in_order": compiled,
    "_flush_futures": lambda: keras.callbacks.CallbackList(),
    "_fn_kwargs": loss_of_keras,
    "_all_reduce_sum_gradients": built_optimizer,
    "_get_variable_index": built_optimizer,
    "_global_test_batch": keras.callbacks.TensorBoard,
    "_global_train_batch": keras.callbacks.TensorBoard,
    "_inbound_nodes": layer,
    "_initial_epoch": compiled,
    "_inputs": lambda: data.data_adapter(np.zeros([2, 2])),
    "_is_default": default_hook,
    "_keras_history": lambda: keras.Input([2]),
    "_last_batch_seen": model_checkpoint,
    "_learning_rate": built_optimizer,
    "_loss_tracker": compiled,
    "_message": operation_error,
    "_metrics": built_loss,
    "_model": keras.callbacks.Callback,
    "_non_trainable_variables": layer,
    "_rng": eager_context,
    "_run_through_graph": lambda: keras.Model(
        inputs := keras.Input([2]), inputs
    ),
    "_seed": eager_context,
    "_seed_generators": layer,
    "_should_trace": keras.callbacks.TensorBoard,
    "_symbolic_build": compiled,
    "_trainable_variables": built_optimizer,
    "_trainable_variables_indices": built_optimizer,
    "_unpickle_model": compiled,
    "_user_loss": built_loss,
    "_user_loss_weights": built_loss,
    "_value": variable,
    "_var_key": built_optimizer,
    "_velocities": built_optimizer,
    "_velocity_hats": amsgrad,
    "_within_epoch": pydataset_adapter,
}


def gone(file, name):
    return (
        f"Keras {keras.__version__} has no {name}, which "
        f"gdtrain/keras_bridge/{file} uses; its docstring says what breaks."
    )


def is_in(module, name):
    """Whether a module, or a class in one, has a name or a submodule."""
    try:
        owner = importlib.import_module(module)
    except ModuleNotFoundError:
        parent, _, class_name = module.rpartition(".")
        owner = getattr(importlib.import_module(parent), class_name, None)
    if not hasattr(owner, name):
        with contextlib.suppress(ModuleNotFoundError):
            return bool(importlib.util.find_spec(f"{module}.{name}"))
    return hasattr(owner, name)


@pytest.mark.parametrize("file, module, name", module_names())
def test_name_is_in_a_private_module(file, module, name):
    assert is_in(module, name), gone(file, f"{module}.{name}")


@pytest.mark.parametrize("file, name", attribute_names())
def test_private_attribute_is_there(file, name):
    assert name in OWNERS, "add a maker of an object that has it"
    assert hasattr(OWNERS[name](), name), gone(file, name)


def test_every_name_of_the_table_is_used():
    assert {name for _, name in attribute_names()} == set(OWNERS)


def test_names_were_found():
    assert len(module_names()) > 30


def test_name_that_is_gone_is_noticed():
    assert not is_in("keras.src.losses.loss", "a_name_that_is_gone")


@pytest.mark.parametrize(
    "callback_class",
    [keras.callbacks.EarlyStopping, keras.callbacks.ReduceLROnPlateau],
)
def test_public_names_of_a_callback_state_are_there(callback_class):
    callback = callback_class(monitor="loss")
    callback.set_model(compiled())
    callback.on_train_begin()
    for name in callbacks.state_names(callback):
        assert hasattr(callback, name), gone("callbacks.py", name)

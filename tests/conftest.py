"""What all tests share: two CPUs for replicas, a seed, garbage collection."""

import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Matplotlib finds the fonts once, and not in each cache folder of tests.
matplotlib_cache = os.path.expanduser("~/.cache/matplotlib")
os.environ.setdefault("MPLCONFIGDIR", matplotlib_cache)

import keras  # noqa: E402
import pytest  # noqa: E402
import tensorflow as tf  # noqa: E402

from tests import long  # noqa: E402

# Before TensorFlow starts its devices; a single replica uses the first.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2,
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Before `-m` selects tests by their marks."""
    long.mark_cases(items)


def pytest_collection_finish():
    """What is imported stays: no garbage collection looks at it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def seed():
    """Every test starts from the same random state and names of layers."""
    keras.backend.clear_session(free_memory=False)  # Freeing takes 0.3 s.
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True, scope="session")
def cache_folder(tmp_path_factory):
    """The cache folder of the session, instead of the user's."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def two_replicas():
    """A `MirroredStrategy` over two CPUs.

    One for the session: TensorFlow 2.21 numbers the collective operations of
    each strategy from the same key, so that those of two would meet.
    """
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

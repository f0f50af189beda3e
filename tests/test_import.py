"""`import gdtrain` does nothing but import."""

import subprocess
import sys
import textwrap


def test_import_starts_no_device_file_log_handler_or_thread(tmp_path):
    # A fresh process: here, TensorFlow has started long ago.
    code = """
        import logging, os, sys, threading
        import tensorflow as tf
        import keras
        handlers = list(logging.root.handlers)
        threads = threading.active_count()
        modules = set(sys.modules)
        import gdtrain
        from tensorflow.python.eager import context
        assert not context.context()._initialized, "a device was started"
        assert logging.root.handlers == handlers
        assert threading.active_count() == threads
        assert os.listdir(".") == []
        new = {name.partition(".")[0] for name in set(sys.modules) - modules}
        assert "gdtrain.plots" not in sys.modules
        assert set(gdtrain.__all__) <= set(dir(gdtrain))
        assert "plots" in dir(gdtrain)
        heavy = {"matplotlib", "sklearn", "PIL", "pandas", "pytest", "ray"}
        assert not new & heavy, new & heavy
        print("fine")
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout == "fine\n", result.stderr

"""Imports TensorFlow without the lines that version 2.21 logs meanwhile, in
spite of `TF_CPP_MIN_LOG_LEVEL` (tensorflow/tensorflow issue 100442)."""

import importlib
import os
import tempfile

if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") != "0":
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held_back:
        os.dup2(held_back.fileno(), 2)
        try:
            importlib.import_module("tensorflow")
        except Exception:
            held_back.seek(0)
            os.write(stderr, held_back.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)

"""Puts the folder of the examples where Python looks, as running one does."""

import pathlib
import sys

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

"""Where numbers go. Writers know nothing of gradients.

A writer is any object with three methods:

- `write(steps, names, values, measured=None)` takes n steps of m names. Steps
  are int64 `[n]`, names m strings, values float32 `[n, m]`. `measured` is bool
  `[n, m]`, or `None` if all was measured: a number where it is False was not
  measured at that step and is not written. A NaN that was measured is.
- `flush()`: after it, all that was written can be read.
- `close()` flushes and lets go of files. A later `write` goes on there.

To go on exactly with a run that was broken off, a writer may also have
`get_state()`, which returns a dict or list of numbers, strings and arrays, and
`set_state(state)`, which drops what was written after that.

Writers raise when they cannot write; who calls them decides what then.
"""

from gdtrain.writers.aggregating import Thinned
from gdtrain.writers.csv_writer import CSVWriter
from gdtrain.writers.memory import MemoryWriter
from gdtrain.writers.several import SeveralWriters
from gdtrain.writers.tensorboard import TensorBoardWriter

__all__ = [
    "CSVWriter",
    "MemoryWriter",
    "SeveralWriters",
    "TensorBoardWriter",
    "Thinned",
]

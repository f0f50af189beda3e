"""Where the numbers of steps go. Writers know nothing of gradients."""

from gdtrain.writers.aggregating import AggregatingWriter
from gdtrain.writers.csv_writer import CSVWriter
from gdtrain.writers.memory import MemoryWriter
from gdtrain.writers.tensorboard import TensorBoardWriter
from gdtrain.writers.writer import MultiWriter, StatefulWriter, Writer

__all__ = [
    "AggregatingWriter",
    "CSVWriter",
    "MemoryWriter",
    "MultiWriter",
    "StatefulWriter",
    "TensorBoardWriter",
    "Writer",
]

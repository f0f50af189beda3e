"""The fingerprint of a `tf.data` pipeline, taken without disturbing it.

Its graph is read: the operations in their order, their numeric arguments, the
functions of its maps, and the data, if these are part of it. For data from
files, the first elements are read as well: through a copy of the graph, since
a pipeline counts its passes and must not count this one; without shuffling,
and up to the first operation that is random or calls Python.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from gdtrain.data import data_fingerprint

_Node = Any  # A `NodeDef` of a graph
_Accept = Callable[[_Node], bool]

_ELEMENTS = 2  # How many of the first are read
_MOST = 2**26  # Bytes of a graph that is copied; a larger one has the data
# How batches are brought, not which ones
_IGNORED = ("Prefetch", "Options", "Model")
# Each process that sets no seed draws one for these.
_RANDOM = re.compile("Shuffle|RandomDataset|SamplingDataset")
# What must not be called, or gives different numbers each time
_IMPURE = re.compile(
    "PyFunc|^(?!Stateless).*Random|Truncated|Multinomial|Distorted|Rng|"
    "ReadVariable|VarHandle|Lookup|HashTable"
)
# What TensorFlow's automatic sharding knows as files
_READER = re.compile(
    "(ArrayRecord|FixedLengthRecord|RecordIO|SSTable|TextLine|TFRecord)Dataset"
)


def graph(dataset: tf.data.Dataset) -> tf.compat.v1.GraphDef:
    """The graph of a pipeline, whose nodes are in their order."""
    return tf.compat.v1.GraphDef.FromString(
        tf.raw_ops.DatasetToGraphV2(
            input_dataset=tf.data.experimental.to_variant(dataset),
            external_state_policy=1,  # Ignored; checked elsewhere
        ).numpy()
    )


def of(dataset: tf.data.Dataset) -> dict:
    """The leaves of a pipeline's fingerprint, by name.

    Example:

    >>> one = of(tf.data.Dataset.range(4).shuffle(2).batch(2))
    >>> list(one)
    ['x', 'the pipeline[1]', 'the pipeline[2]', 'the first batches']
    >>> other = of(tf.data.Dataset.range(5).shuffle(2).batch(2))
    >>> [name for name in one if one[name] != other[name]]
    ['x']
    """
    try:
        pipeline = _Pipeline(graph(dataset))
    except (ValueError, TypeError, tf.errors.OpError) as error:
        why = str(error).partition("\n")[0][:100]
        return {"x": f"#unknown a tf.data pipeline ({why})"}
    return pipeline.leaves()


def impure_operations(dataset: Any) -> list[str]:
    """Operations of a pipeline's maps that are random or call Python.

    None are known of what is no `tf.data.Dataset`.

    Example:

    >>> noise = lambda n: tf.random.uniform([])
    >>> impure_operations(tf.data.Dataset.range(4).map(noise))
    ['RandomUniform']
    """
    if not isinstance(dataset, tf.data.Dataset):
        return []
    parts = _Pipeline(graph(dataset)).all_parts()
    return sorted({part.op for part in parts if _IMPURE.search(part.op)})


def sharding(dataset: Any) -> str | None:
    """Why its examples come in another order if the number of workers differs.

    `None` if they do not: if each worker takes its part of each batch.

    Example:

    >>> numbers = tf.data.Dataset.range(4)
    >>> sharding(numbers), sharding(tf.data.TextLineDataset("a.txt"))
    (None, 'a tf.data.Dataset is sharded by files...')
    """
    if not isinstance(dataset, tf.data.Dataset):
        return "it is not known how a distributed dataset is sharded"
    policies = tf.data.experimental.AutoShardPolicy
    policy = dataset.options().experimental_distribute.auto_shard_policy
    if policy == policies.DATA:
        return None
    if policy == policies.AUTO:
        definition = graph(dataset)
        nodes = [*definition.node, *_Pipeline(definition).all_parts()]
        if not any(_READER.match(node.op) for node in nodes):
            return None
        how = "by files"
    else:
        how = f"by AutoShardPolicy.{policy.name}"
    return (
        f"a tf.data.Dataset is sharded {how} among workers, so that another "
        "number of them has other batches (set "
        "`options.experimental_distribute.auto_shard_policy` to "
        "AutoShardPolicy.DATA in a new run)"
    )


class _Pipeline:
    """A pipeline, by its graph."""

    def __init__(self, definition: tf.compat.v1.GraphDef) -> None:
        self._definition = definition
        self._nodes = {node.name: node for node in definition.node}
        self._functions = {
            function.signature.name: function
            for function in definition.library.function
        }

    def leaves(self) -> dict:
        """The leaves of its fingerprint."""
        datasets = [n for n in self._definition.node if _is_dataset(n)]
        sources = [n for n in datasets if not self._inputs(n, _is_dataset)]
        found = {
            "x" if len(sources) == 1 else f"x[{index}]": self._source(node)
            for index, node in enumerate(sources)
        }
        operations = [
            node
            for node in datasets
            if node not in sources and not node.op.startswith(_IGNORED)
        ]
        for index, node in enumerate(operations, 1):
            found[f"the pipeline[{index}]"] = data_fingerprint.digest(
                "structure", node.op, *self._content(node)
            )
        if self._definition.ByteSize() <= _MOST:
            found[data_fingerprint.FIRST_BATCHES] = self._sample(datasets)
        if any("PyFunc" in n.op for one in datasets for n in self.parts(one)):
            found["what Python brings to the pipeline"] = "#unknown Python"
        return found

    def _source(self, node: _Node) -> str:
        """The leaf of a dataset that has no other as its input."""
        shapes = map(_shape, self._inputs(node, _is_constant))
        label = f"{node.op} of {', '.join(shapes)}"
        return data_fingerprint.digest("data", label, *self._content(node))

    def _inputs(self, node: _Node, accept: _Accept) -> list[_Node]:
        """The accepted ones of the inputs of a node."""
        names = (name.split(":")[0].lstrip("^") for name in node.input)
        nodes = [self._nodes[name] for name in names]
        return [node for node in nodes if accept(node)]

    def _content(self, node: _Node) -> list[bytes]:
        """The constant arguments of a node, then what its functions do."""
        given = self._inputs(node, _is_constant)
        if _RANDOM.search(node.op):
            given = given[:1]  # The size of its buffer; seeds come after
        found = [_bytes(one) for one in given]
        for part in self.parts(node):
            found.append(part.op.encode())
            if part.op == "Const":
                found.append(_bytes(part))
        return found

    def all_parts(self) -> list[_Node]:
        """The nodes of all functions."""
        return [p for node in self._definition.node for p in self.parts(node)]

    def parts(
        self, node: _Node, seen: frozenset[str] = frozenset()
    ) -> Iterator[_Node]:
        """The nodes of the functions of a node, and of those that they call."""
        for name in sorted(node.attr):
            value = node.attr[name]
            for function in [value.func, *value.list.func]:
                if function.name in self._functions.keys() - seen:
                    within = seen | {function.name}
                    for part in self._functions[function.name].node_def:
                        yield part
                        yield from self.parts(part, within)

    def _sample(self, datasets: list[_Node]) -> str:
        """The leaf of the first elements that can be had without harm."""
        last = None
        pure: set[str] = set()
        for node in datasets:
            if self._is_pure(node, pure):
                pure.add(node.name)
                last = node
        if last is None:
            return "#unknown what Python or random operations bring"
        try:
            once, twice = self._first_of(last), self._first_of(last)
        except (ValueError, TypeError, tf.errors.OpError) as error:
            why = str(error).partition("\n")[0][:100]
            return f"#unknown elements that cannot be read ({why})"
        if once != twice:
            return "#unknown elements that are others each time"
        return data_fingerprint.digest("data", f"{_ELEMENTS} elements", *once)

    def _is_pure(self, node: _Node, pure: set[str]) -> bool:
        """Whether the elements of a node can be had twice."""
        before = self._inputs(node, lambda one: not _is_constant(one))
        shuffles = bool(_RANDOM.search(node.op))
        if shuffles:  # Skipped below, with its generator of seeds
            before = [one for one in before if _is_dataset(one)]
        if any(one.name not in pure for one in before):
            return False
        if shuffles:
            return bool(before)
        return not any(_IMPURE.search(part.op) for part in self.parts(node))

    def _first_of(self, last: _Node) -> list[bytes]:
        """The first elements of a node, by a copy that does not shuffle."""
        copy = type(self._definition)()
        copy.CopyFrom(self._definition)
        through = {
            node.name: node.input[0]
            for node in copy.node
            if _is_dataset(node) and _RANDOM.search(node.op) and node.input
        }
        while last.name in through:
            last = self._nodes[through[last.name].split(":")[0]]
        for node in copy.node:
            if node.op == "_Retval":
                node.input[0] = last.name
            for index, name in enumerate(node.input):
                while name in through:
                    name = through[name]
                node.input[index] = name
        dataset = tf.data.experimental.from_variant(
            tf.raw_ops.DatasetFromGraph(graph_def=copy.SerializeToString()),
            _specs(last),
        )
        return [
            data_fingerprint.content(part).encode()
            for element in dataset.take(_ELEMENTS)
            for part in tf.nest.flatten(element, expand_composites=True)
        ]


def _is_dataset(node: _Node) -> bool:
    return "Dataset" in node.op and "output_shapes" in node.attr


def _is_constant(node: _Node) -> bool:
    return node.op == "Const"


def _bytes(node: _Node) -> bytes:
    """The content of a constant."""
    tensor = node.attr["value"].tensor
    return tensor.SerializeToString(deterministic=True)


def _shape(node: _Node) -> str:
    """Dtype and shape of a constant."""
    tensor = node.attr["value"].tensor
    sizes = [dim.size for dim in tensor.tensor_shape.dim]
    return f"{tf.as_dtype(tensor.dtype).name}{sizes}"


def _specs(node: _Node) -> tuple:
    """The structure of a dataset's elements, a flat one."""
    types = node.attr["output_types"].list.type or (
        node.attr["Toutput_types"].list.type
    )
    shapes = node.attr["output_shapes"].list.shape
    return tuple(
        tf.TensorSpec(tf.TensorShape(shape), tf.as_dtype(kind))
        for kind, shape in zip(types, shapes, strict=True)
    )

"""Collects activations, and gradients of micro-batches, within a step."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from gdtrain.descent import gradients, replicas
from gdtrain.telemetry import activations, norms
from gdtrain.telemetry.record import GradientParts


class BatchTap:
    """Taps outputs of layers, and gradients, in one step of one replica.

    Args:
        if_due: `if_due(need, numbers)` gives the vector that `numbers` makes,
            if a quantity is due that needs it, else zeros; `None` if no
            quantity ever does.
        graph: The graph of the step; `None` when running eagerly.
    """

    def __init__(
        self,
        if_due: Callable[[str, Callable[[], tf.Tensor]], tf.Tensor | None],
        graph: tf.Graph | None,
    ) -> None:
        self._if_due = if_due
        self._graph = graph
        self._share: float | tf.Tensor = 1.0
        # By layer: its outputs since the last summary
        self._outputs: dict[str, list[tf.Tensor]] = {}
        # (share, `Activations`) of each micro-batch
        self._activations: list[tuple[Any, activations.Activations]] = []
        # (share, squared norm of its gradient)
        self._parts: list[tuple[Any, tf.Tensor]] = []

    def begin_microbatch(self, share: float | tf.Tensor) -> None:
        """Begins a micro-batch that has a share of the batch's examples."""
        self.end_microbatch()
        self._share = share

    def add_output(self, layer: str, output: Any) -> None:
        """Keeps an output of a layer.

        Args:
            layer: The layer's name.
            output: A tensor; any other than of floats, or from within a loop,
                is passed over.
        """
        if (
            isinstance(output, tf.Tensor)
            and output.dtype.is_floating
            and output.shape.rank
            and output.shape.rank > 1
            and output.shape[-1]
            and getattr(output, "graph", None) is self._graph
        ):
            self._outputs.setdefault(layer, []).append(output)

    def end_microbatch(self) -> None:
        """Sums up the outputs of layers in the micro-batch."""
        outputs, self._outputs = self._outputs, {}
        if not outputs:
            return
        layers: list[activations.Activations] = []

        def numbers() -> tf.Tensor:
            layers.append(activations.summarize(outputs))
            return layers[-1].pack()

        packed = self._if_due("activations", numbers)
        if packed is not None:
            self._activations.append((self._share, layers[-1].unpack(packed)))

    def add_gradients(self, gradients: list[Any]) -> None:
        """Keeps the squared norm of the gradient of the micro-batch."""
        present = [g for g in gradients if g is not None]
        squares = self._if_due(
            "gradient_parts",
            lambda: tf.reduce_sum(norms.squared_norms(present), keepdims=True),
        )
        if squares is not None:
            self._parts.append((self._share, squares))

    def gradient_parts(
        self, examples: Any, microbatches: int
    ) -> GradientParts | None:
        """`GradientParts` of the batch; `None` if batches have but one.

        Args:
            examples: How many examples this replica has.
            microbatches: Into how many micro-batches batches are split.
        """
        parts, self._parts = self._parts, []
        if not parts or microbatches * replicas.count() == 1:
            return None
        squares = sum(
            tf.math.multiply_no_nan(square, tf.cast(share, tf.float32))
            for share, square in parts
        )
        of_replica = tf.cast(examples, tf.float32)
        count = sum(
            tf.cast(tf.cast(share, tf.float32) * of_replica > 0, tf.float32)
            for share, _ in parts
        )
        (squares,) = replicas.mean([squares], examples)
        return GradientParts(
            replicas.total(examples), replicas.total(count), squares[0]
        )

    def activations(self, examples: Any) -> activations.Activations | None:
        """`Activations` of the batch; `None` if there are none.

        Args:
            examples: How many examples this replica has.
        """
        self.end_microbatch()
        noted, self._activations = self._activations, []
        if len(noted) * replicas.count() <= 1:
            return noted[0][1] if noted else None

        def mean(lists: list[list[tf.Tensor]]) -> list[tf.Tensor]:
            total = None
            for (share, _), tensors in zip(noted, lists, strict=True):
                total = gradients.add_share(total, tensors, share)
            return replicas.mean(total or [], examples)

        return activations.merge([each for _, each in noted], mean)

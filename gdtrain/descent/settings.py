"""What `compile` of a gdtrain model takes, beyond what Keras keeps."""

import dataclasses
from typing import Any, Literal

import keras
import tensorflow as tf

from gdtrain.common.explained import more

_OF_KERAS = {"steps_per_execution", "jit_compile", "resolved_jit_compile"}


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of a model's steps; see `gdtrain.DescentTrainer.compile`.

    Args:
        global_clipnorm: The largest norm of a gradient; `None` for no limit.
        microbatches: Into how many parts a batch is split.
        reproducible_workers: How many virtual workers a batch is shared by;
            `None` for none.
        steps_per_execution: How many steps run as one program.
        jit_compile: Whether XLA compiles the steps.
        resolved_jit_compile: What Keras made of `jit_compile`.
    """

    global_clipnorm: float | None = None
    microbatches: int = 1
    reproducible_workers: int | None = None
    steps_per_execution: int | Literal["auto"] = "auto"
    jit_compile: bool | Literal["auto"] = "auto"
    resolved_jit_compile: bool | None = None

    @property
    def parts(self) -> int:
        """How many parts of a batch are run in turn by a single replica."""
        return self.reproducible_workers or self.microbatches

    @property
    def own(self) -> dict[str, Any]:
        """By name, the arguments that Keras's `compile` does not have.

        Compiled programs, saved models, fingerprints and HParams read them
        here, so that a new one is known to all of them.
        """
        names = [field.name for field in dataclasses.fields(self)]
        return {n: getattr(self, n) for n in names if n not in _OF_KERAS}

    @property
    def changed(self) -> dict[str, Any]:
        """Those of `own` that are not the default."""
        defaults = Settings().own
        return {n: v for n, v in self.own.items() if v != defaults[n]}


def of(model: keras.Model) -> Settings:
    """The settings of a model as they are now.

    `steps_per_execution` and `jit_compile` may be set after `compile`, as in
    Keras; the others are those of `compile`.

    Args:
        model: A `keras.Model`; one that is not of gdtrain has the defaults.
    """
    kept = getattr(model, "_descent_settings", Settings())
    steps = model.steps_per_execution
    if kept.steps_per_execution == "auto" and steps == 1:
        steps = "auto"
    jit_compile = model.jit_compile
    if kept.jit_compile == "auto" and jit_compile in (
        kept.resolved_jit_compile,
        None,
    ):
        jit_compile = "auto"
    return dataclasses.replace(
        kept, steps_per_execution=steps, jit_compile=jit_compile
    )


def uses_xla(model: keras.Model) -> bool:
    """Whether XLA may compile the steps of a model.

    TensorFlow 2.21 fails at those of several replicas, whatever the device:
    they run as a graph.

    Args:
        model: A `keras.Model`.
    """
    is_single = model.distribute_strategy.num_replicas_in_sync == 1
    return bool(model.jit_compile) and is_single


def check_means(
    loss: Any, microbatches: int, strategy: tf.distribute.Strategy
) -> None:
    """Refuses a loss that is a sum if a batch is trained on in parts.

    Args:
        loss: What `compile` received: a loss, its name, or a structure.
        microbatches: Into how many parts a batch is split.
        strategy: The `tf.distribute.Strategy` of the model.

    Raises:
        ValueError: if a loss has `reduction="sum"` and there are several
            micro-batches or replicas.
    """
    parts = microbatches * strategy.num_replicas_in_sync
    if parts == 1:
        return
    for one in keras.tree.flatten(loss):
        if getattr(one, "reduction", None) == "sum":
            raise ValueError(
                "With several micro-batches or replicas, each loss must be a "
                f"mean over examples. Received: {type(one).__name__}("
                f"reduction='sum') with microbatches={microbatches} and "
                f"{strategy.num_replicas_in_sync} replicas. Write "
                "reduction='sum_over_batch_size', and a learning rate larger "
                "by the batch size." + more("parts-of-a-batch")
            )

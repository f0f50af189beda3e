"""What `compile` of a gdtrain model takes, beyond what Keras keeps."""

import dataclasses
from typing import Literal

import keras


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of a model's steps; see `gdtrain.DescentTrainer.compile`.

    Args:
        global_clipnorm: The largest norm of a gradient; `None` for no limit.
        microbatches: Into how many parts a batch is split.
        steps_per_execution: How many steps run as one program.
        jit_compile: Whether XLA compiles the steps.
        resolved_jit_compile: What Keras made of `jit_compile`.
    """

    global_clipnorm: float | None = None
    microbatches: int = 1
    steps_per_execution: int | Literal["auto"] = "auto"
    jit_compile: bool | Literal["auto"] = "auto"
    resolved_jit_compile: bool | None = None


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

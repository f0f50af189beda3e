"""Learning rates that change from step to step.

Those that Keras has are not made again: "cosine" is
`keras.optimizers.schedules.CosineDecay`, "steps" is `PiecewiseConstantDecay`,
and there are `ExponentialDecay`, `PolynomialDecay`, `InverseTimeDecay`.
`WarmUp` puts a warm-up in front of any of them.

All can be given to an optimizer, `SGD(WarmUp(0.1, 100))`, or to
`gdtrain.callbacks.LearningRateScheduler`, which leaves the rate settable.
"""

from gdtrain.schedules.one_cycle import OneCycle
from gdtrain.schedules.warm_up import WarmUp

__all__ = ["OneCycle", "WarmUp"]

"""How the loss curves, and how large a learning rate it allows."""

import dataclasses
from typing import Any

import keras
import numpy as np

from gdtrain.common import checks, notebook
from gdtrain.curvature import hessian, lanczos, stable_learning_rate
from gdtrain.curvature.hessian import Hessian
from gdtrain.curvature.objective import Objective
from gdtrain.keras_bridge.optimizers import unwrapped
from gdtrain.mistakes import errors


@dataclasses.dataclass(frozen=True, eq=False)
class Curvature:
    """The result of `gdtrain.curvature`. Prints as a sentence.

    Args:
        eigenvalues: The largest eigenvalues of the Hessian, float64
            `[num_eigenvalues]`, the largest first.
        error_bounds: Float64 `[num_eigenvalues]`: within it of each there is
            an eigenvalue.
        products: How many Hessian-vector products were used.
        stable_learning_rate: The largest stable learning rate of the model's
            optimizer, a `float`: infinite where the loss does not curve
            upwards, `None` where it is not known.
        limit: How `stable_learning_rate` was computed, in words, or why it
            is not known.
        optimizer: The name of the optimizer's class.
        preconditioned_sharpness: The largest eigenvalue of
            P**-0.5 H P**-0.5, a `float`, for an optimizer with a
            preconditioner P, and else `None`.
        vectors: The eigenvectors, `[num_eigenvalues, weights]`, each of
            length 1, over all weights joined.

    Example:

    >>> import gdtrain, keras, numpy as np
    >>> model = gdtrain.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    >>> model.compile(gdtrain.GradientDescent(0.1), loss="mse")
    >>> x = np.array([[0.0], [2.0]])
    >>> gdtrain.curvature(model, x, 3 * x).limit
    '2 / sharpness, for GradientDescent'
    """

    eigenvalues: np.ndarray
    error_bounds: np.ndarray
    products: int
    stable_learning_rate: float | None
    limit: str
    optimizer: str
    preconditioned_sharpness: float | None
    vectors: np.ndarray = dataclasses.field(repr=False)

    @property
    def sharpness(self) -> float:
        """The largest eigenvalue."""
        return float(self.eigenvalues[0])

    def __str__(self) -> str:
        found = (
            f"sharpness {self.sharpness:.3g} (error at most "
            f"{self.error_bounds[0]:.1g}, {self.products} products)"
        )
        if self.preconditioned_sharpness is not None:
            found += f", preconditioned {self.preconditioned_sharpness:.3g}"
        rate = self.stable_learning_rate
        if rate is None:
            return f"{found}: {self.limit}"
        if np.isinf(rate):
            return f"{found}: it limits no learning rate"
        return (
            f"{found}: learning rates up to {rate:.3g} are stable for "
            f"{self.optimizer}"
        )

    def _repr_html_(self) -> str:
        """The sentence, and a row for each eigenvalue, in a notebook."""
        pairs = zip(self.eigenvalues, self.error_bounds, strict=True)
        return notebook.show(
            self,
            lambda: notebook.paragraph(str(self)),
            lambda: notebook.table(
                ["eigenvalue", "error at most"],
                [(f"{value:.4g}", f"{error:.1g}") for value, error in pairs],
            ),
        )


@errors.readable
def curvature(
    model: keras.Model,
    x: Any,
    y: Any = None,
    num_eigenvalues: int = 1,
    *,
    sample_weight: Any = None,
    examples: int | None = None,
    batch_size: int = 256,
    tolerance: float = 1e-3,
    max_products: int = 100,
    training: bool = False,
    minibatch_noise: bool = False,
    warm_start: Curvature | None = None,
) -> Curvature:
    """The largest eigenvalues of the Hessian of a model's loss.

    For fitting a line they are those of 2 X'X / n. The largest, the
    sharpness, decides how large the learning rate may be: plain descent on a
    quadratic diverges above 2 / sharpness. For Adam and RMSprop, the
    preconditioned sharpness is found too, at the cost of a second search.
    `limit_of` in `gdtrain.curvature.stable_learning_rate` has the limits of
    other optimizers.

    The model is not changed. A Hessian-vector product takes 3 to 8 times as
    long as the loss, and ten to twenty of them find the sharpness. Memory:
    2 * num_eigenvalues + 25 vectors as long as the weights, and twice what
    the gradient of `batch_size` examples takes.

    Args:
        model: A `keras.Model`, built and compiled with a loss.
        x: The data: arrays, or a `tf.data.Dataset` of batches.
        y: Targets, as in `keras.Model.fit`.
        num_eigenvalues: Defaults to 1, the sharpness. More than 1 take about
            twice the products, as equal eigenvalues are looked for. Of a
            model with fewer weights, all.
        sample_weight: As in `keras.Model.fit`.
        examples: How many examples to use: of arrays, spread evenly; of a
            dataset, the first. Defaults to `None`, all.
        batch_size: How many examples are computed at a time. Defaults to
            256.
        tolerance: Error bound to stop at, relative to the largest
            eigenvalue. Defaults to 1e-3; the error itself is usually about
            its square.
        max_products: How many Hessian-vector products each search may use,
            at least `num_eigenvalues`. Defaults to 100. Where they do not
            suffice, `error_bounds` says so.
        training: The mode of dropout and batch normalization. Defaults to
            `False`; see `gdtrain.curvature.objective.Objective`.
        minibatch_noise: Whether the limit is for steps whose gradients are
            mostly noise of small batches. Defaults to `False`.
        warm_start: An earlier `Curvature` of this model, whose eigenvectors
            the search begins with: fewer products where weights have moved
            little. Defaults to `None`.

    Returns:
        A `gdtrain.Curvature`.

    Raises:
        RuntimeError: if the model is not compiled or not built.
        TypeError: if the data or an argument are of a wrong type.
        ValueError: if an argument, the data or the loss cannot be used.
        FloatingPointError: if the loss or its curvature is not finite.

    Example:

    >>> import gdtrain, keras, numpy as np
    >>> model = gdtrain.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    >>> model.compile(gdtrain.GradientDescent(0.1), loss="mse")
    >>> x = np.array([[0.0], [2.0]])
    >>> found = gdtrain.curvature(model, x, 3 * x, num_eigenvalues=2)
    >>> found.eigenvalues.round(3).tolist()  # Of [[4, 2], [2, 2]]
    [5.236, 0.764]
    >>> round(found.stable_learning_rate, 3)
    0.382

    References:
        Pearlmutter, Fast Exact Multiplication by the Hessian, Neural
        Computation, 1994; Cohen et al., ICLR 2021, arXiv:2103.00065.
    """
    count = checks.positive_integer("num_eigenvalues", num_eigenvalues)
    max_products = checks.positive_integer("max_products", max_products)
    if max_products < count:
        raise ValueError(
            "`max_products` must be at least `num_eigenvalues`. Received: "
            f"max_products={max_products}, num_eigenvalues={count}. Write for "
            f"example max_products={max(100, 20 * count)}."
        )
    tolerance = checks.positive_number(
        "tolerance", tolerance, "Write for example tolerance=1e-3."
    )
    objective = Objective(
        model,
        x,
        y,
        sample_weight,
        examples=examples,
        batch_size=batch_size,
        training=training,
    )
    hessian = Hessian(objective)
    limits: Any = {"tolerance": tolerance, "max_products": max_products}
    vectors = _vectors(warm_start, hessian.size)
    found = hessian.largest(vectors, top=count, **limits)
    products = found.products
    sharpness, preconditioned = float(found.values[0]), None
    limit = stable_learning_rate.limit_of(model.optimizer, minibatch_noise)
    if limit.is_preconditioned and limit.product is not None:
        pairs = _preconditioned(objective, model, limits)
        if pairs is None:
            limit = limit._replace(
                product=None,
                words="the preconditioner is not known before the first step",
            )
        else:
            sharpness = preconditioned = float(pairs.values[0])
            products += pairs.products
    return Curvature(
        eigenvalues=found.values,
        error_bounds=found.error_bounds,
        products=products,
        stable_learning_rate=limit.learning_rate(sharpness),
        limit=limit.words,
        optimizer=type(unwrapped(model.optimizer)).__name__,
        preconditioned_sharpness=preconditioned,
        vectors=found.vectors,
    )


def _preconditioned(
    objective: Objective, model: keras.Model, limits: Any
) -> lanczos.Eigenpairs | None:
    """The largest eigenvalue of P**-0.5 H P**-0.5; `None` before a step."""
    divided_by = hessian.preconditioner_of(
        model.optimizer, objective.weights, model.distribute_strategy
    )
    if divided_by is None:
        return None
    return Hessian(objective, lambda: divided_by).largest(**limits)


def _vectors(warm_start: Curvature | None, size: int) -> np.ndarray | None:
    """The eigenvectors of a `Curvature` of a model of as many weights."""
    if warm_start is None:
        return None
    if not isinstance(warm_start, Curvature):
        raise TypeError(
            "`warm_start` must be a `Curvature`. Received: "
            f"warm_start={warm_start!r} of type {type(warm_start).__name__}. "
            "Pass what `curvature` returned for this model, or omit it."
        )
    if warm_start.vectors.shape[1] != size:
        raise ValueError(
            f"`warm_start` must be of a model of {size} weights, as this one. "
            f"Received: that of a model of {warm_start.vectors.shape[1]}. "
            "Omit it."
        )
    return warm_start.vectors

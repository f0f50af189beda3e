"""How the loss curves, and how large a learning rate it allows."""

import dataclasses

import numpy as np

from gdtrain.common import checks, notebook, tracebacks
from gdtrain.curvature import (
    lanczos,
    preconditioner,
    sharpness,
    stable_learning_rate,
)
from gdtrain.curvature.hessian import Hessian
from gdtrain.curvature.objective import Objective
from gdtrain.mistakes import operations


@dataclasses.dataclass(frozen=True, eq=False)
class Curvature:
    """What `gdtrain.curvature` found. Printed, it is a sentence.

    Args:
        eigenvalues: The largest eigenvalues of the Hessian, float64 `[top]`,
            the largest first.
        error_bounds: Float64 `[top]`: within it of each there is an
            eigenvalue.
        products: How many Hessian-vector products it took.
        stable_learning_rate: The largest stable learning rate of the model's
            optimizer, a `float`: infinite where the loss does not curve
            upwards, `None` where it is not known.
        limit: What `stable_learning_rate` is made from, in words, or why it
            is not known.
        optimizer: The name of the optimizer's class.
        preconditioned_sharpness: The largest eigenvalue of
            P**-0.5 H P**-0.5, a `float`, for an optimizer with a
            preconditioner P, and else `None`.
        vectors: The eigenvectors, `[top, weights]`, each of length 1, all
            weights one after another.

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
    def sharpness(self):
        """The largest eigenvalue, a `float`."""
        return float(self.eigenvalues[0])

    def __str__(self):
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


@tracebacks.filtered
@operations.explained
def curvature(
    model,
    x,
    y=None,
    top=1,
    *,
    sample_weight=None,
    examples=None,
    batch_size=256,
    tolerance=1e-3,
    most_products=100,
    training=False,
    small_batches=False,
    start=None,
):
    """The largest eigenvalues of the Hessian of a model's loss.

    For fitting a line they are those of 2 X'X / n. The largest, the
    sharpness, decides how large the learning rate may be: plain descent on a
    quadratic diverges above 2 / sharpness. For Adam and its like, the
    sharpness with its preconditioner is found too, with as many products
    again. `limit_of` in `gdtrain.curvature.stable_learning_rate` has the limits
    of other optimizers.

    It touches nothing of the model. A Hessian-vector product takes 3 to 8
    times as long as the loss, and ten to twenty of them find the sharpness.
    Memory: 2 * top + 25 vectors as long as the weights, and what the
    gradient of `batch_size` examples takes twice.

    Args:
        model: A `keras.Model`, built and compiled with a loss.
        x: The data: arrays, or a `tf.data.Dataset` of batches.
        y: Targets, as in `keras.Model.fit`.
        top: How many eigenvalues. Defaults to 1, the sharpness. Those above 1
            take about twice the products, as equal ones are looked for. Of a
            model with fewer weights, all.
        sample_weight: As in `keras.Model.fit`.
        examples: How many examples to look at: of arrays, ones spread evenly;
            of a dataset, the first. Defaults to `None`, all.
        batch_size: How many examples are worked on at a time. Defaults to
            256.
        tolerance: Error bound to stop at, relative to the largest
            eigenvalue. Defaults to 1e-3; the error itself is usually about
            its square.
        most_products: Most Hessian-vector products for each search, at least
            `top`. Defaults to 100. Where they do not suffice, `error_bounds`
            says so.
        training: The mode of dropout and batch normalization. Defaults to
            `False`; see `gdtrain.curvature.objective.Objective`.
        small_batches: Whether the limit is wanted for steps whose gradient
            is mostly noise of a small batch. Defaults to `False`.
        start: A `Curvature` of this model found before, to begin with its
            eigenvectors: fewer products where weights have moved little.
            Defaults to `None`.

    Returns:
        A `Curvature`.

    Raises:
        RuntimeError: if the model is not compiled or not built.
        TypeError: if the data or an argument are of another kind.
        ValueError: if an argument, the data or the loss cannot be used.
        FloatingPointError: if the loss or its curvature is not finite.

    Example:

    >>> import gdtrain, keras, numpy as np
    >>> model = gdtrain.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    >>> model.compile(gdtrain.GradientDescent(0.1), loss="mse")
    >>> x = np.array([[0.0], [2.0]])
    >>> found = gdtrain.curvature(model, x, 3 * x, top=2)
    >>> found.eigenvalues.round(3).tolist()  # Of [[4, 2], [2, 2]]
    [5.236, 0.764]
    >>> round(found.stable_learning_rate, 3)
    0.382

    References:
        Pearlmutter, Fast Exact Multiplication by the Hessian, Neural
        Computation, 1994; Cohen et al., ICLR 2021, arXiv:2103.00065.
    """
    top = checks.positive_integer("top", top)
    most_products = checks.positive_integer("most_products", most_products)
    if most_products < top:
        raise ValueError(
            "`most_products` must be at least `top`. Received: "
            f"most_products={most_products}, top={top}. Write for example "
            f"most_products={max(100, 20 * top)}."
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
    search = _Search(objective, tolerance, most_products)
    found = search.largest(top, vectors=_vectors(start, objective))
    limit = stable_learning_rate.limit_of(model.optimizer, small_batches)
    return _described(search, found, limit, model)


class _Search:
    """Looks for eigenvalues of the Hessian, one way or another."""

    def __init__(self, objective, tolerance, most_products):
        self.objective = objective
        self._limits = {
            "tolerance": tolerance,
            "most_products": most_products,
        }

    def largest(self, top=1, *, divided_by=None, vectors=None):
        """The `lanczos.Eigenpairs` of the Hessian."""
        hessian = Hessian(self.objective, divided_by)
        random = np.random.default_rng(0)
        return lanczos.largest(
            hessian,
            sharpness.start_from(vectors, hessian.size, hessian.dtype, random),
            top=top,
            **self._limits,
        )


def _described(search, found, limit, model):
    """The `Curvature` of what was found, for the model's optimizer."""
    sharpest, products = float(found.values[0]), found.products
    preconditioned = None
    if limit.is_preconditioned and limit.product is not None:
        divided_by = preconditioner.of(
            model.optimizer,
            search.objective.weights,
            model.distribute_strategy,
        )
        if divided_by is None:
            limit = limit._replace(
                product=None,
                words="the preconditioner is not known before the first step",
            )
        else:
            pairs = search.largest(divided_by=divided_by)
            sharpest = preconditioned = float(pairs.values[0])
            products += pairs.products
    return Curvature(
        eigenvalues=found.values,
        error_bounds=found.error_bounds,
        products=products,
        stable_learning_rate=limit.learning_rate(sharpest),
        limit=limit.words,
        optimizer=type(preconditioner.inner(model.optimizer)).__name__,
        preconditioned_sharpness=preconditioned,
        vectors=found.vectors,
    )


def _vectors(start, objective):
    """The eigenvectors of a `Curvature`, if they are of this model's size."""
    if start is None:
        return None
    if not isinstance(start, Curvature):
        raise TypeError(
            "`start` must be a `Curvature`. Received: "
            f"start={start!r} of type {type(start).__name__}. Pass what "
            "`curvature` returned for this model, or leave it out."
        )
    size = sum(weight.shape.num_elements() for weight in objective.weights)
    if start.vectors.shape[1] != size:
        raise ValueError(
            f"`start` must be of a model with as many weights, {size}. "
            f"Received: start of one with {start.vectors.shape[1]}. Leave it "
            "out."
        )
    return start.vectors

"""What is known of how a loss curves, and what it says."""

import dataclasses

import numpy as np

from gdtrain import notebook


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

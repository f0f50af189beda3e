"""Vectors that stay what they are over many products and restarts."""

import numpy as np
import pytest

from gdtrain.curvature.lanczos import KrylovSpace
from tests.curvature.test_lanczos import matrix_of


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rounding_does_not_add_up_over_many_restarts(dtype):
    random = np.random.default_rng(5)
    exact = matrix_of(np.linspace(0, 1, 300), random)
    start = random.normal(size=300).astype(dtype)
    space = KrylovSpace(exact.astype(dtype).dot, start, room=6, seed=0)
    for _ in range(2000):
        if space.is_full:
            space.keep(3)
        space.multiply()
    ritz = space.ritz()
    vectors = space.combined(ritz.vectors).astype("float64")
    rounding = 20 * float(np.finfo(dtype).eps)
    seen = vectors @ exact @ vectors.T
    np.testing.assert_allclose(seen, np.diag(ritz.values), atol=rounding)
    np.testing.assert_allclose(
        vectors @ vectors.T, np.eye(len(vectors)), atol=rounding
    )
    assert space.products == 2000
    assert ritz.values[0] == pytest.approx(1, abs=rounding)


def test_vector_is_drawn_where_a_product_brings_nothing_new():
    matrix = np.diag([3.0, 3.0, 1.0])
    space = KrylovSpace(matrix.dot, np.array([1.0, 1.0, 0.0]), 3, seed=0)
    seen = []
    while space.has_next:
        space.multiply()
        seen.append(space.ritz().values.round(12).tolist())
    assert seen[0] == [3] and seen[-1] == [3, 3, 1]
    vectors = space.combined(np.eye(3))
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(3), atol=1e-15)

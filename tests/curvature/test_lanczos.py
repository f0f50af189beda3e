"""Eigenvalues by products, against numpy.linalg.eigvalsh."""

import numpy as np
import pytest

from gdtrain.curvature import lanczos


def matrix_of(eigenvalues, random):
    """A symmetric matrix with these eigenvalues, in random directions."""
    size = len(eigenvalues)
    directions, _ = np.linalg.qr(random.normal(size=[size, size]))
    matrix = directions * eigenvalues @ directions.T
    return (matrix + matrix.T) / 2


SPECTRA = {
    "normal": lambda n, random: random.normal(size=n),
    "multiple": lambda n, random: random.integers(-3, 3, n).astype(float),
    "negative": lambda n, random: -random.random(n),
    "zero": lambda n, random: np.zeros(n),
    "equal": lambda n, random: np.full(n, 2.5),
    "three equal on top": lambda n, random: np.r_[
        np.full(min(n, 3), 5.0), random.random(max(n - 3, 0))
    ],
    "of all sizes": lambda n, random: 10.0 ** random.uniform(-6, 6, n),
}


@pytest.mark.parametrize("vectors", [None, "fewest"])
@pytest.mark.parametrize("spectrum", SPECTRA)
def test_eigenvalues_are_those_of_numpy(spectrum, vectors):
    random = np.random.default_rng(0)
    for top in (1, 2, 5):
        for size in (1, 2, 3, 8, 50):
            eigenvalues = SPECTRA[spectrum](size, random)
            matrix = matrix_of(eigenvalues, random)
            found = lanczos.largest(
                matrix.dot,
                random.normal(size=size),
                top=top,
                tolerance=1e-8,
                max_products=3000,
                max_vectors=vectors and top + 4,
            )
            expected = np.linalg.eigvalsh(matrix)[::-1][:top]
            scale = np.max(np.abs(eigenvalues)) or 1.0
            np.testing.assert_allclose(
                found.values, expected, rtol=0, atol=1e-10 * scale
            )
            assert len(found.values) == min(top, size)


def test_error_bounds_and_vectors_are_what_they_say():
    random = np.random.default_rng(1)
    eigenvalues = np.r_[10, 9.5, 9, random.normal(size=197)]
    matrix = matrix_of(eigenvalues, random)
    for most in (3, 6, 9, 30, 200):
        found = lanczos.largest(
            matrix.dot, random.normal(size=200), top=3, max_products=most
        )
        vectors = found.vectors.T
        np.testing.assert_allclose(vectors.T @ vectors, np.eye(3), atol=1e-12)
        residuals = matrix @ vectors - vectors * found.values
        lengths = np.linalg.norm(residuals, axis=0)
        assert np.all(lengths <= found.error_bounds * (1 + 1e-9) + 1e-12)
        for value, bound in zip(found.values, found.error_bounds):
            assert np.min(np.abs(eigenvalues - value)) <= bound + 1e-12
        # From below, whatever the number of products.
        assert np.all(found.values <= eigenvalues[:3] + 1e-12)
        assert found.products <= most
    assert np.all(found.error_bounds <= 2e-3 * 10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_error_bounds_hold_where_only_rounding_is_left(dtype):
    random = np.random.default_rng(7)
    exact = matrix_of(np.linspace(0, 1, 200), random)
    found = lanczos.largest(
        exact.astype(dtype).dot,
        random.normal(size=200).astype(dtype),
        top=3,
        tolerance=0.0,
        max_products=200,
    )
    vectors = found.vectors.T.astype("float64")
    residuals = exact @ vectors - vectors * found.values
    lengths = np.linalg.norm(residuals, axis=0)
    assert np.all(lengths <= found.error_bounds)
    assert np.all(lengths >= np.finfo(dtype).eps / 10)
    assert np.all(found.error_bounds < 100 * np.finfo(dtype).eps)


def test_products_are_used_until_the_tolerance_is_met():
    random = np.random.default_rng(2)
    matrix = matrix_of(np.r_[10.0, random.normal(size=199)], random)
    start = random.normal(size=200)
    products, errors = [], []
    for tolerance in (1e-1, 1e-3, 1e-6):
        found = lanczos.largest(matrix.dot, start, tolerance=tolerance)
        assert found.error_bounds[0] <= tolerance * found.values[0]
        products.append(found.products)
        errors.append(abs(found.values[0] - 10))
    assert products == sorted(set(products)) and products[-1] < 40
    assert errors[1] < 1e-5 and errors[2] < 1e-10


def test_good_start_takes_fewer_products():
    random = np.random.default_rng(3)
    matrix = matrix_of(np.r_[10.0, 9.0, random.normal(size=198)], random)
    cold = lanczos.largest(matrix.dot, random.normal(size=200))
    moved = matrix + 0.01 * matrix_of(random.normal(size=200), random)
    warm = lanczos.largest(moved.dot, cold.vectors[0])
    assert warm.products < cold.products
    exact = np.linalg.eigvalsh(moved)[-1]
    assert warm.values[0] == pytest.approx(exact, rel=1e-5)


def test_one_eigenvalue_beside_many_equal_ones_is_found():
    # One product of a random vector sees almost nothing but the equal ones.
    matrix = np.diag(np.r_[2.0, np.ones(9999)]).diagonal()
    start = np.random.default_rng(0).normal(size=10_000)
    found = lanczos.largest(lambda vector: matrix * vector, start)
    assert found.values[0] == pytest.approx(2, rel=1e-6)


def test_float32_is_as_exact_as_its_products():
    random = np.random.default_rng(4)
    eigenvalues = np.r_[10.0, 7.0, 3.0, random.normal(size=497) / 10]
    matrix = matrix_of(eigenvalues, random).astype("float32")
    found = lanczos.largest(
        matrix.dot, random.normal(size=500).astype("float32"), top=3
    )
    assert found.vectors.dtype == np.float32
    np.testing.assert_allclose(found.values, [10, 7, 3], rtol=1e-5)


@pytest.mark.parametrize("size", [1e25, 1e-25])
def test_squares_that_leave_float32_do_no_harm(size):
    random = np.random.default_rng(4)
    eigenvalues = np.r_[10.0, 7.0, 3.0, random.normal(size=47) / 10]
    matrix = (size * matrix_of(eigenvalues, random)).astype("float32")
    start = random.normal(size=50).astype("float32")
    found = lanczos.largest(matrix.dot, start, top=3)
    np.testing.assert_allclose(found.values / size, [10, 7, 3], rtol=1e-5)
    few = lanczos.largest(matrix.dot, start, max_products=30, max_vectors=8)
    assert few.values[0] / size == pytest.approx(10, rel=1e-4)
    assert 0 < few.error_bounds[0] / size < 0.1


def test_memory_is_that_of_so_many_vectors():
    seen = []

    def product(vector):
        seen.append(vector.base.shape if vector.base is not None else None)
        return np.arange(len(vector)) * vector

    lanczos.largest(product, np.ones(1000), tolerance=1e-12, max_vectors=8)
    assert len(seen) > 20 and set(seen) == {(9, 1000)}


def test_same_start_gives_the_same_answer():
    matrix = matrix_of(np.ones(50), np.random.default_rng(6))
    one, other = (
        lanczos.largest(matrix.dot, np.ones(50), top=3) for _ in range(2)
    )
    np.testing.assert_array_equal(one.vectors, other.vectors)


def test_product_that_is_not_finite_is_refused():
    with pytest.raises(FloatingPointError, match="must be finite.*length nan"):
        lanczos.largest(lambda vector: vector * np.nan, np.ones(3))

"""The lambda path on problems that are nasty by design, more of them than a notebook can run."""

import copy
import pickle
import warnings

import numpy as np
import pytest

from usvbook.lambda_path import lasso_path
from usvbook.self_expression import self_expression
from usvbook.simulated_pictures import simulated_pictures
from usvbook.sparse_solver import certificate


def nasty(trial):
    """Rows (n, d) with ties, duplicates, zero rows, rows of any length, n above d, or several."""
    rng = np.random.default_rng(trial)
    n, d = rng.integers(1, 60), rng.integers(1, 30)
    X = rng.normal(size=(n, d)) * (100 if trial % 7 == 0 else 1)
    if trial % 6 == 1:
        X = np.round(X)
    if trial % 6 == 2:
        X = np.sign(X)
    if trial % 6 == 3:
        X = np.abs(X)
    if trial % 4 == 0:
        X[n // 2 :] = X[: n - n // 2] * rng.choice([-1, 1])
    if trial % 5 == 0:
        X[0] = 0
    if trial % 9 == 0:
        X *= rng.uniform(0.01, 1, (n, 1))
    if trial % 13 == 0:
        X = X[:1] + 1e-4 * X
    return X, rng


@pytest.mark.parametrize("first", range(0, 300, 50))
def test_optimal_everywhere(first):
    for trial in range(first, first + 50):
        X, rng = nasty(trial)
        scale = max(np.sum(X**2, axis=1).max(), 1e-30)
        lam_min = scale * rng.choice([0.3, 0.1, 0.01, 1e-3])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            path = lasso_path(X, lam_min)
        top = path.lam_max.max()
        prices = [lam_min, *rng.uniform(lam_min, max(top, lam_min), 4), *rng.choice(path.lams, 3)]
        for lam in np.maximum(prices, lam_min):
            residual = certificate(X, path.at(lam), lam).kkt_residual.max()
            assert residual < 1e-10 * scale, (trial, lam / scale)


@pytest.mark.parametrize("noise", [0, 1e-6, 1e-4, 1e-3])
def test_many_near_copies(noise):
    rng = np.random.default_rng(0)
    X = np.repeat(simulated_pictures(20, random_state=0)[0], 10, axis=0)
    X += noise * rng.normal(size=X.shape).astype(np.float32) / 64
    path = lasso_path(X, 0.1)
    for lam in (0.1, 0.3, 0.7):
        assert certificate(X, path.at(lam), lam).kkt_residual.max() < 1e-11


def test_deep_path():
    X, _ = simulated_pictures(200, random_state=3)
    path = lasso_path(X, 0.01)
    for lam in (0.01, 0.02, 0.1):
        assert abs(path.at(lam) - self_expression(X, lam=lam)).max() < 1e-9


def test_threads_pickle_and_copy_change_nothing():
    X, _ = simulated_pictures(200, random_state=4)
    path = lasso_path(X)
    others = [lasso_path(X, n_jobs=2), pickle.loads(pickle.dumps(path)), copy.deepcopy(path)]
    for other in others:
        for ours, theirs in zip(vars(path).values(), vars(other).values(), strict=True):
            assert np.asarray(ours).tobytes() == np.asarray(theirs).tobytes()


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_calls(n):
    X = np.array([[1.0, 0.0], [0.8, 0.6]])[:n]
    C = lasso_path(X, 0.1).at(0.3).toarray()
    assert C.shape == (n, n)
    assert np.allclose(C, [[0, 0.5], [0.5, 0]] if n == 2 else 0)

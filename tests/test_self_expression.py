"""Properties of the self-expression that hold for any calls, in every way of computing it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

from usvbook.self_expression import certificate, self_expression

WAYS = {
    "whole": {},
    "two threads": {"n_jobs": 2},
    "blocks": {"max_memory_bytes": 3},  # rows at a time, see `solve`
    "torch": {"device": "cpu"},
}
seeds = st.integers(0, 2**31)
properties = settings(max_examples=12, deadline=None, derandomize=True)


def solve(X, way, **options):
    """Coefficients in one of the ways; as dense matrix."""
    options |= WAYS[way]
    if "max_memory_bytes" in options:
        options["max_memory_bytes"] *= 4 * sum(X.shape)
    return self_expression(X, **options).toarray()


def rows(seed, n, d, rank=None):
    """Unit rows in general position, or in a subspace of `rank` dimensions."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    if rank:
        X = rng.normal(size=(n, rank)) @ rng.normal(size=(rank, d))
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)


sizes = pytest.mark.parametrize("n,d", [(12, 40), (40, 12), (90, 30)], ids=str)
ways = pytest.mark.parametrize("way", WAYS)


@ways
@sizes
@properties
@given(seed=seeds, lam=st.floats(0.02, 0.6), l2=st.sampled_from([None, 0.05, 1.0]))
def test_every_solution_is_optimal(way, n, d, seed, lam, l2):
    """Fewer and more calls than dimensions, any price: the certificate holds."""
    X = rows(seed, n, d)
    options = {} if l2 is None else {"method": "elastic_net", "l2": l2}
    C = solve(X, way, lam=lam, **options)
    proof = certificate(X, C, lam, l2 or 0.0)
    assert proof.kkt_residual.max() < 1e-10 and proof.relative_gap.max() < 1e-10
    assert not C.diagonal().any()


@ways
@pytest.mark.parametrize("method", ["lasso", "elastic_net", "omp"])
@properties
@given(seed=seeds)
def test_reordered_and_turned_calls(way, method, seed):
    """Reordering calls reorders the solution, turning a call round turns its signs."""
    X, rng = rows(seed, 50, 60), np.random.default_rng(seed)
    C = solve(X, way, method=method, lam=0.1, n_nonzero=4)
    order, sign = rng.permutation(50), rng.choice([-1.0, 1.0], 50)
    reordered = solve(X[order], way, method=method, lam=0.1, n_nonzero=4)
    turned = solve(X * sign[:, None].astype(np.float32), way, method=method, lam=0.1, n_nonzero=4)
    assert np.abs(reordered - C[order][:, order]).max() < 1e-9
    assert np.abs(turned - C * np.outer(sign, sign)).max() < 1e-9


@ways
@properties
@given(seed=seeds, lam=st.floats(0.05, 0.6))
def test_duplicated_calls(way, seed, lam):
    """A call that is there twice is expressed by its copy alone, at the price's discount."""
    X = rows(seed, 15, 40)
    C = solve(np.vstack([X, X]), way, lam=lam)
    assert certificate(np.vstack([X, X]), C, lam).kkt_residual.max() < 1e-10
    copies = (np.arange(30) + 15) % 30
    assert np.allclose(C[np.arange(30), copies], 1 - lam, atol=1e-6)
    assert np.count_nonzero(C) == 30


@ways
@properties
@given(seed=seeds)
def test_price_above_every_similarity_buys_nothing(way, seed):
    X = rows(seed, 30, 20)
    similar = np.abs(X.astype(float) @ X.T.astype(float) - np.eye(30)).max()
    assert not solve(X, way, lam=similar * (1 + 1e-6)).any()
    assert solve(X, way, lam=similar * (1 - 1e-6)).any()


@ways
@properties
@given(seed=seeds)
def test_tiny_price_is_least_squares(way, seed):
    """With fewer other calls than dimensions there is one least-squares fit, and it is reached."""
    X = rows(seed, 9, 30)
    C = solve(X, way, lam=1e-9)
    for i in range(9):
        others = np.arange(9) != i
        fit = LinearRegression(fit_intercept=False).fit(X[others].T.astype(float), X[i])
        assert np.abs(C[i, others] - fit.coef_).max() < 1e-6


@ways
@properties
@given(seed=seeds, rank=st.integers(2, 6))
def test_subspaces_keep_to_themselves(way, seed, rank):
    """Calls in orthogonal subspaces use only calls of their own, whatever the price."""
    first, second = rows(seed, 20, 15, rank), rows(seed + 1, 20, 15, rank)
    X = np.block([[first, np.zeros_like(first)], [np.zeros_like(second), second]])
    C = solve(X, way, lam=0.05)
    assert C.any() and not C[:20, 20:].any() and not C[20:, :20].any()


@properties
@given(seed=seeds, method=st.sampled_from(["lasso", "elastic_net", "omp"]))
def test_all_ways_agree(seed, method):
    X = rows(seed, 70, 50)
    options = {"method": method, "lam": 0.15, "n_nonzero": 5}
    whole = solve(X, "whole", **options)
    for way in ("two threads", "blocks"):
        assert solve(X, way, **options).tobytes() == whole.tobytes()
    assert np.abs(solve(X, "torch", **options) - whole).max() < 1e-9


@properties
@given(seed=seeds, gamma=st.floats(1.05, 20))
def test_price_per_call(seed, gamma):
    """With a price per call every call that resembles anybody gets a coefficient."""
    X = rows(seed, 40, 25)
    C = self_expression(X, gamma=gamma)
    similar = np.abs(X.astype(float) @ X.T.astype(float) - np.diag((X.astype(float) ** 2).sum(1)))
    assert np.diff(C.indptr).min() >= 1
    proof = certificate(X, C, similar.max(axis=1) / gamma)
    assert proof.kkt_residual.max() < 1e-10

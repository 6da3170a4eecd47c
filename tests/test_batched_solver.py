"""The batched solver on hard data, and on the ways that ordinary data never takes."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.linear_model import orthogonal_mp_gram

from usvbook import batched_solver
from usvbook.batched_solver import batched_expression
from usvbook.simulated_pictures import simulated_pictures
from usvbook.sparse_solver import certificate


def repeated(rng, jitter):
    return np.repeat(rng.normal(size=(20, 30)), 5, axis=0) + jitter * rng.normal(size=(100, 30))


HARD = {
    "more calls than dimensions": lambda rng: rng.normal(size=(120, 5)),
    "ties everywhere": lambda rng: rng.integers(-1, 2, size=(120, 6)),
    "five copies": lambda rng: repeated(rng, 0),
    "nearly five copies": lambda rng: repeated(rng, 1e-5),
    "call and negative": lambda rng: (a := rng.normal(size=(50, 20)), np.vstack([a, -a]))[1],
    "rank three": lambda rng: rng.normal(size=(100, 3)) @ rng.normal(size=(3, 40)),
    "all similar": lambda rng: 0.5 + rng.random((100, 30)),
    "lengths over six decades": lambda rng: (
        rng.normal(size=(100, 20)) * 10 ** rng.uniform(-3, 3, (100, 1))
    ),
}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def pictures():
    return simulated_pictures(120, random_state=5)[0]


def hard(kind):
    X = HARD[kind](np.random.default_rng(3)).astype(np.float32)
    return X, float((X.astype(float) ** 2).sum(axis=1).max())


@pytest.mark.parametrize("kind", HARD)
@pytest.mark.parametrize("share", [0.3, 0.03, 0.01])
@pytest.mark.parametrize("l2", [0.0, 0.05])
def test_optimal_on_hard_data(kind, share, l2):
    X, scale = hard(kind)
    price = np.full(len(X), share * scale)
    C, missed = batched_expression(X, price, "elastic_net", l2 * scale, device="cpu")
    proof = certificate(X, C, price, l2 * scale)
    assert missed == 0 and not C.diagonal().any()
    assert proof.kkt_residual.max() < 1e-12 * scale and proof.relative_gap.max() < 1e-11


@pytest.mark.parametrize("kind", sorted(set(HARD) - {"ties everywhere", "five copies"}))
def test_pursuit_takes_the_atoms_of_scikit_learn(kind):
    X, _ = hard(kind)
    if kind == "call and negative":
        X = X[:50]  # the choice between a call and its negative is a tie
    C, _ = batched_expression(X, np.ones(len(X)), "omp", n_nonzero=4, device="cpu")
    G = X.astype(float) @ X.T.astype(float)
    for i in range(len(X)):
        others = np.flatnonzero(np.arange(len(X)) != i)
        y = np.zeros(len(X))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns where it stops early
            y[others] = orthogonal_mp_gram(
                G[np.ix_(others, others)], G[others, i], n_nonzero_coefs=4
            )
        ours = C[i].toarray().ravel()
        norm = np.linalg.norm(X[i].astype(float))
        same = np.array_equal(y != 0, ours != 0)
        leftover = [np.linalg.norm(X[i] - z @ X.astype(float)) / norm for z in (y, ours)]
        assert same or max(leftover) < 1e-6, (i, leftover)  # below: rounding of the data decides


@pytest.mark.parametrize("method", ["lasso", "elastic_net", "omp"])
def test_small_pieces_and_blocks_change_nothing(method, pictures, monkeypatch):
    price = np.full(120, 0.2)
    whole = batched_expression(pictures, price, method, 0.1, device="cpu")[0]
    monkeypatch.setattr(batched_solver, "_PIECE_BYTES", 300_000)
    pieces = batched_expression(pictures, price, method, 0.1, device="cpu", block_rows=7)[0]
    assert np.array_equal(whole.indices, pieces.indices)
    assert abs(whole - pieces).max() < 1e-12


def test_what_the_batch_cannot_solve_is_finished_alone(pictures, monkeypatch):
    price = np.full(120, 0.2)
    reference = batched_expression(pictures, price, device="cpu")[0]
    monkeypatch.setattr(
        batched_solver,
        "_small_lassos",
        lambda A, c, lam, y, tol: (y * torch.nan, torch.zeros_like(lam, dtype=torch.bool)),
    )
    alone, missed = batched_expression(pictures, price, device="cpu")
    assert missed == 0 and abs(alone - reference).max() < 1e-10

    def give_up(X, i, S, y, near, lam, l2, tol):
        return S, y, False

    monkeypatch.setattr(batched_solver, "_polish", give_up)
    assert batched_expression(pictures, price, device="cpu")[1] == np.diff(reference.indptr).size


@pytest.mark.parametrize("method", ["lasso", "omp"])
def test_everything_is_made_on_the_device_that_was_named(method, pictures):
    # A tensor made without naming its device would land on "meta", and mixing devices fails.
    with torch.device("meta"):
        C, missed = batched_expression(pictures, np.full(120, 0.2), method, device="cpu")
    assert missed == 0 and C.nnz > 120


def test_products_keep_all_digits_and_the_setting_comes_back(pictures, monkeypatch):
    seen = []
    turn = batched_solver._turn

    def watched(*args):
        seen.append(torch.get_float32_matmul_precision())
        return turn(*args)

    monkeypatch.setattr(batched_solver, "_turn", watched)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        batched_expression(pictures, np.full(120, 0.3), device="cpu")
        assert set(seen) == {"highest"} and torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


def test_no_warning_and_no_trace_in_the_input(pictures):
    X, price = pictures.copy(), np.broadcast_to(np.float64(0.3), 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert batched_expression(X[:1], price, device="cpu")[0].nnz == 0
        batched_expression(X, np.full(120, 0.3), device="cpu")
    assert X.tobytes() == pictures.tobytes()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a card")
def test_no_card_is_said_in_one_line(pictures):
    with pytest.raises(
        ValueError, match="device='cuda': this machine has no CUDA device"
    ) as caught:
        batched_expression(pictures, np.full(120, 0.3))
    assert "\n" not in str(caught.value) and "device='cpu'" in str(caught.value)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a card")
@pytest.mark.parametrize("method", ["lasso", "elastic_net", "omp"])
def test_the_card_says_what_the_processor_says(method, pictures):
    price = np.full(120, 0.2)
    ours, theirs = (
        batched_expression(pictures, price, method, 0.1, device=name)[0] for name in ("cuda", "cpu")
    )
    assert np.array_equal(ours.indices, theirs.indices) and abs(ours - theirs).max() < 1e-9

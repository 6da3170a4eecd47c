"""Every estimator of the package keeps scikit-learn's contract."""

import warnings

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score
from sklearn.utils.estimator_checks import (
    check_no_attributes_set_in_init,
    check_parameters_default_constructible,
    parametrize_with_checks,
)

from usvbook.files import refused
from usvbook.mupet import MupetSegmenter
from usvbook.outliers import CopyWarning
from usvbook.preprocessing import CallImages
from usvbook.repertoire import METHODS, Repertoire
from usvbook.segmentation import MultitaperSegmenter
from usvbook.simulated_pictures import simulated_pictures
from usvbook.ssc import CosineSpectralClustering, SparseSubspaceClustering, WardOnComponents

ESTIMATORS = [
    CallImages(),
    SparseSubspaceClustering(),
    SparseSubspaceClustering(method="omp"),
    CosineSpectralClustering(),
    WardOnComponents(),
    *(Repertoire(n_clusters=3, tau=None, method=method) for method in METHODS),
    Repertoire(n_clusters=3, tau=0.5),
]
SEGMENTERS = [MultitaperSegmenter, MupetSegmenter]


def known_to_fail(estimator):
    """Checks that ask for what a method does not promise, each with its reason."""
    if getattr(estimator, "method", None) == "omp":
        # Ten atoms in the plane: two always suffice, and any two will do.
        return {"check_clustering": "blobs in the plane do not lie in different subspaces"}
    return {}


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(ESTIMATORS, expected_failed_checks=known_to_fail)
def test_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize("segmenter", SEGMENTERS)
def test_segmenters_store_their_parameters(segmenter):
    """Segmenters take recordings, not arrays; of the contract, this is what applies to them."""
    for name, value in segmenter().get_params().items():
        changed = not value if isinstance(value, bool) else value
        assert segmenter(**{name: changed}).get_params()[name] == changed
    check_no_attributes_set_in_init(segmenter.__name__, segmenter())
    check_parameters_default_constructible(segmenter.__name__, segmenter())


# ---------------------------------------------------------------------------------- equal calls


@pytest.fixture(scope="module")
def pictures():
    return simulated_pictures(60, 4, random_state=2)[0]


CLUSTERERS = {
    **{method: lambda k, m=method: Repertoire(k, method=m) for method in METHODS},
    "SparseSubspaceClustering": lambda k: SparseSubspaceClustering(k, random_state=0),
    "CosineSpectralClustering": lambda k: CosineSpectralClustering(k, random_state=0),
    "WardOnComponents": lambda k: WardOnComponents(k, random_state=0),
}
every_way = pytest.mark.parametrize("way", CLUSTERERS)


def units_of(way, X, k):
    """Labels, and what was said of copies."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        labels = CLUSTERERS[way](k).fit(X).labels_
    return labels, [str(w.message) for w in caught if w.category is CopyWarning]


def same_partition(a, b):
    return adjusted_rand_score(a, b) == 1


@every_way
def test_equal_calls_are_one_unit(way, pictures):
    labels, said = units_of(way, np.repeat(pictures[:1], 60, axis=0), 5)
    assert (labels == 0).all()
    assert len(said) == 1 and "60 calls" in said[0] and "1 different" in said[0]
    assert "5 units" in said[0]


@every_way
@pytest.mark.parametrize("rounding", ["none", "last digits", "length", "wider type"])
def test_equal_calls_share_a_unit_but_for_rounding(way, rounding, pictures):
    """Every third call comes three times; unit rows, of other lengths, or with noise of 1e-7."""
    rng = np.random.default_rng(0)
    X = np.vstack([pictures, pictures[::3], pictures[::3]])
    original = np.concatenate([np.arange(60), np.arange(0, 60, 3), np.arange(0, 60, 3)])
    if rounding == "last digits":
        X = (X * (1 + 1e-7 * rng.normal(size=X.shape))).astype(np.float32)
    elif rounding == "length":
        X = (X * (1 + 3e-7 * rng.integers(-1, 2, (len(X), 1)))).astype(np.float32)
    elif rounding == "wider type":
        X = X.astype(np.float64) * (1 + 1e-9 * rng.normal(size=X.shape))
    order = rng.permutation(len(X))
    labels, said = units_of(way, X[order], 4)
    for call in range(0, 60, 3):
        assert len(set(labels[original[order] == call])) == 1, call
    assert len(said) == 1 and said[0].startswith("40 of") and "copies share" in said[0]


@every_way
@pytest.mark.parametrize("n_different", [1, 2, 5])
def test_no_more_units_than_different_calls(way, n_different, pictures):
    X = np.tile(pictures[:n_different], (8, 1))
    labels, said = units_of(way, X, 5)
    assert same_partition(labels, np.tile(np.arange(n_different), 8))
    assert f"{n_different} different" in said[0]


@every_way
def test_copies_of_calls_that_resemble_nobody(way):
    """Six pictures without a common pixel, ten times each, five units: no copy is torn apart."""
    X = np.tile(np.eye(6, 40, dtype=np.float32), (10, 1))
    labels, said = units_of(way, X, 5)
    assert (labels.reshape(10, 6) == labels[:6]).all()
    assert "6 different" in said[0] and len(set(labels[labels >= 0])) == 5


@every_way
def test_nothing_is_said_where_all_calls_differ(way, pictures):
    assert units_of(way, pictures, 4)[1] == []


@pytest.mark.parametrize("method", ["lasso", "omp", "elastic_net", "cosine"])
def test_a_recording_given_twice_changes_no_unit(method, pictures):
    """The graph is that of the different calls: it does not fall apart into pairs."""
    once = Repertoire(4, tau=None, method=method).fit(pictures)
    with pytest.warns(CopyWarning, match="60 different"):
        twice = Repertoire(4, tau=None, method=method).fit(np.vstack([pictures, pictures]))
    assert np.array_equal(twice.labels_, np.tile(once.labels_, 2))
    assert np.array_equal(twice.embedding_, np.tile(once.embedding_, (2, 1)))
    if method != "cosine":
        assert (twice.coef_[:60, :60] != once.coef_).nnz == 0 and twice.coef_[60:].nnz == 0


@pytest.mark.parametrize("method", METHODS)
def test_degenerate_calls_are_refused_in_one_line(method, pictures):
    broken = pictures[:6].copy()
    broken[2, 7] = np.nan
    cases = {
        "0 sample": pictures[:0],
        "1 sample": pictures[:1],
        "NaN": broken,
        "have a picture": np.zeros((6, 9)),
    }
    for words, X in cases.items():
        for tau in (0.8, None):
            with refused(words):
                Repertoire(2, tau=tau, method=method).fit(X)


@pytest.mark.parametrize("method", METHODS)
def test_two_calls(method, pictures):
    two = Repertoire(2, tau=None, method=method).fit(pictures[[0, 0]])
    assert two.labels_.tolist() == [0, 0] and len(two.centroids_) == 1


@pytest.mark.parametrize("method", METHODS)
def test_calls_without_picture_are_no_copies(method, pictures):
    X = np.vstack([pictures, np.zeros((5, pictures.shape[1]), np.float32)])
    with warnings.catch_warnings():
        warnings.simplefilter("error", CopyWarning)
        labels = Repertoire(4, method=method).fit(X).labels_
    assert (labels[60:] == -1).all()

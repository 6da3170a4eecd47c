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
from usvbook.outliers import CopyWarning, max_similarity
from usvbook.preprocessing import CallImages
from usvbook.repertoire import METHODS, Repertoire, UnlikeWarning
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


# ---------------------------------------------------------- what a repertoire says of itself


@pytest.fixture(scope="module")
def fitted(pictures):
    return Repertoire(4, random_state=1).fit(pictures)


@pytest.fixture
def seeds_used(monkeypatch):
    """The seed and the number of calls of every fit."""
    used, fit = [], Repertoire.fit

    def noted(self, calls, y=None):
        used.append((self.random_state, len(calls)))
        return fit(self, calls, y)

    monkeypatch.setattr(Repertoire, "fit", noted)
    return used


@pytest.mark.parametrize("n_seeds", [0, 1, 3])
def test_other_seeds_are_others_and_as_many_as_asked(n_seeds, fitted, pictures, seeds_used):
    said = fitted.stability(pictures, n_seeds=n_seeds, n_halves=0)
    seeds = [seed for seed, n in seeds_used if n == 60]
    assert len(seeds) == len(set(seeds)) == n_seeds and 1 not in seeds
    assert said["n_seeds"] == n_seeds and said["n_halves"] == 0
    assert ("stability" in said) == (n_seeds > 0) and "half_stability" not in said


def test_halves_come_first_with_their_number_and_spread(fitted, pictures, seeds_used):
    said = fitted.stability(pictures, n_seeds=2, n_halves=4)
    assert list(said) == [
        "half_stability", "half_stability_low", "half_stability_high", "n_halves",
        "stability", "stability_low", "stability_high", "n_seeds",
    ]  # fmt: skip
    assert said["n_halves"] == 4 and said["n_seeds"] == 2
    assert sum(n == 30 for _, n in seeds_used) == 8 and sum(n == 60 for _, n in seeds_used) == 2
    for name in ("half_stability", "stability"):
        assert said[f"{name}_low"] <= said[name] <= said[f"{name}_high"] <= 1
    again = fitted.stability(pictures, n_seeds=2, n_halves=4)
    assert again == said  # nothing is left to chance


def test_agreement_with_other_seeds_is_that_of_their_labels(fitted, pictures):
    said = fitted.stability(pictures, n_seeds=1, n_halves=0)
    other = Repertoire(4, random_state=0).fit(pictures)
    assert said["stability"] == adjusted_rand_score(fitted.labels_, other.labels_)
    assert said["stability_low"] == said["stability_high"] == said["stability"]


def test_halves_too_small_for_so_many_units_are_said(pictures):
    many = Repertoire(35, tau=None, method="kmeans").fit(pictures)
    with pytest.warns(UserWarning, match="no half of the 60 calls"):
        said = many.stability(pictures, n_seeds=1)
    assert said["n_halves"] == 0 and "half_stability" not in said and said["n_seeds"] == 1


def test_stability_is_of_the_calls_that_were_fitted(fitted, pictures):
    with refused("59 calls", "60 were fitted"):
        fitted.stability(pictures[:59])


def test_nineteen_of_twenty_own_calls_are_like_their_unit(fitted):
    like = fitted.is_like_unit(fitted.labels_, fitted.similarity_)
    for unit in range(4):
        own = like[fitted.labels_ == unit]
        assert own.mean() >= 0.95 and own.any()
    assert not like.all() or np.bincount(fitted.labels_).max() <= 20  # of more, one is below
    assert not fitted.is_like_unit(np.array([-1, 0]), np.array([1.0, 0.1])).any()


def test_calls_unlike_their_units_are_told_and_may_be_left_out(fitted, pictures):
    noise = np.random.default_rng(0).random((40, pictures.shape[1])).astype(np.float32)
    with pytest.warns(UnlikeWarning, match="40 of 40 calls"):
        units, similarity = fitted.assign(noise)
    assert (units >= 0).all() and not fitted.is_like_unit(units, similarity).any()
    with pytest.warns(UnlikeWarning):
        left, same = fitted.assign(noise, leave_unlike=True)
    assert (left == -1).all() and np.array_equal(same, similarity)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnlikeWarning)
        units, similarity = fitted.assign(pictures)  # its own calls are no surprise
        none, _ = fitted.assign(noise[:1], leave_unlike=True)  # and one call proves nothing
    assert none.tolist() == [-1] and fitted.likeness(units, similarity).n == 60


def test_likeness_counts_calls_below_the_floor_of_their_unit(fitted):
    floor = fitted.floors()
    units = np.array([0, 0, 1, -1])
    likeness = fitted.likeness(units, np.array([floor[0] - 0.1, 1, floor[1] + 0.01, 0]))
    assert (likeness.n, likeness.n_below, likeness.share) == (3, 1, 1 / 3)
    assert likeness.expected == 0.05
    assert fitted.likeness(units[:0], np.zeros(0)) == (0, 0, 0.0, 0.05)


def test_how_many_calls_are_in_the_mean_of_a_unit(pictures):
    tau = np.quantile(max_similarity(pictures)[0], 0.3)
    split = Repertoire(4, tau=tau).fit(pictures)
    counts = split.unit_counts()
    for unit in range(4):
        mine = split.labels_ == unit
        averaged = pictures[mine & split.is_inlier_]
        assert counts.n_calls[unit] == mine.sum() and counts.n_averaged[unit] == len(averaged)
        assert np.allclose(averaged.mean(axis=0), split.centroids_[unit], atol=1e-6)
    assert (counts.n_averaged < counts.n_calls).any()


def test_a_unit_of_outliers_is_the_mean_of_all_its_calls():
    X = np.abs(np.random.default_rng(0).normal(size=(40, 9))) * 0.05
    X[:20, 0], X[20:36, 3], X[36:, 7] = 1, 1, 1
    X[36:, :] += np.abs(np.random.default_rng(1).normal(size=(4, 9))) * 0.25
    founded = Repertoire(2, tau=0.985, min_similarity=0.6).fit(X)
    counts = founded.unit_counts()
    assert len(founded.centroids_) == 3 and not founded.is_inlier_[36:].any()
    assert counts.n_averaged[2] == counts.n_calls[2] == 4

"""Tests of groups beside the libraries that compute the same, where these are installed."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import pdist, squareform

from usvbook.diversity import chao1, hill, shannon, simpson
from usvbook.groups import cliffs_delta, dispersion, hedges_g, holm, permanova, relabelings

RNG = np.random.default_rng(0)
GROUP = np.repeat(["A", "B", "C"], [5, 6, 7])
POINTS = RNG.normal(size=(18, 4)) + 0.5 * np.repeat([0, 1, 2], [5, 6, 7])[:, None]
DISTANCES = squareform(pdist(POINTS))


def test_permanova_and_dispersion_as_in_scikit_bio():
    """F, and p within what 999 relabelings can say."""
    stats = pytest.importorskip("skbio.stats.distance")
    theirs = stats.DistanceMatrix(DISTANCES)
    ways, _ = relabelings(GROUP, n=1999, random_state=0)
    for ours, name in ((permanova, "permanova"), (dispersion, "permdisp")):
        found = ours(DISTANCES, GROUP, ways)
        told = getattr(stats, name)(theirs, GROUP, permutations=999, seed=0)
        assert np.isclose(found["F"], told["test statistic"], rtol=1e-4)
        assert abs(found["p"] - told["p-value"]) < 0.06


def test_diversity_as_in_scikit_bio():
    """Hill numbers, Shannon, Simpson and Chao's estimate of one animal."""
    alpha = pytest.importorskip("skbio.diversity.alpha")
    counts = np.array([30, 12, 7, 1, 1, 2, 0, 5])
    assert np.isclose(hill(counts, 1), alpha.hill(counts, order=1))
    assert np.isclose(hill(counts, 2), alpha.hill(counts, order=2))
    assert np.isclose(shannon(counts), alpha.shannon(counts, base=2))
    assert np.isclose(simpson(counts), alpha.simpson(counts, finite=True))
    assert np.isclose(chao1(counts), alpha.chao1(counts, bias_corrected=True))


def test_effects_and_holm_as_in_pingouin():
    """Hedges's g, Cliff's delta and Holm's correction."""
    pingouin = pytest.importorskip("pingouin")
    a, b = POINTS[:5], POINTS[5:11]
    for k in range(4):
        g = pingouin.compute_effsize(a[:, k], b[:, k], eftype="hedges")
        assert np.isclose(hedges_g(a, b)[k], g)
        table = pingouin.mwu(a[:, k], b[:, k])
        assert np.isclose(abs(cliffs_delta(a, b)[k]), abs(float(table["RBC"].iloc[0])))
    p = np.array([0.01, 0.04, 0.03, 0.2])
    assert np.allclose(holm(p), pingouin.multicomp(p, method="holm")[1])
    assert pd.Series(holm(p)).le(1).all()

"""Clusters of maps against planted ones, and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics
from sklearn.cluster import SpectralClustering

from pytest_gradcam.data.clusters import MOST, clustered


def maps(*counts, spread=0.3, seed=0):
    """So many maps (N, 8, 8) at each of several places, and the place of each."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(counts)), counts)
    rows, columns = np.mgrid[:8, :8]
    centres = np.array([(1, 1), (6, 6), (1, 6), (6, 1)])[truth] + rng.normal(0, spread, (len(truth), 2))
    heat = np.exp(-((rows - centres[:, :1, None]) ** 2 + (columns - centres[:, 1:, None]) ** 2) / 4)
    return heat / heat.sum(axis=(1, 2), keepdims=True), truth


@pytest.mark.parametrize("counts", [(40, 20), (30, 25, 20), (60, 15, 12, 10)])
def test_planted_clusters_are_found(counts):
    heat, truth = maps(*counts)
    found = clustered(heat)
    np.testing.assert_array_equal(found.labels, truth)  # the largest comes first
    assert min(map(found.separation, range(found.count))) > 0.5


def test_the_order_of_the_maps_does_not_matter():
    heat, _ = maps(30, 18, spread=1.0)
    order = np.random.default_rng(1).permutation(len(heat))
    there, back = clustered(heat), clustered(heat[order])
    assert metrics.adjusted_rand_score(there.labels[order], back.labels) == 1
    assert there.separation(0) == pytest.approx(back.separation(0))


def test_it_is_that_of_scikit_learn():
    heat, _ = maps(50, 30, spread=1.1, seed=3)
    found = clustered(heat)
    assert found.count > 1
    theirs = SpectralClustering(
        found.count, affinity="precomputed", assign_labels="cluster_qr", random_state=0
    ).fit_predict(found.ties)
    assert metrics.adjusted_rand_score(theirs, found.labels) > 0.95
    silhouettes = metrics.silhouette_samples(found.distances, found.labels, metric="precomputed")
    for number in range(found.count):
        assert found.separation(number) == pytest.approx(silhouettes[found.labels == number].mean())


def test_the_most_typical_map_comes_first():
    heat, truth = maps(25, 20)
    found = clustered(heat)
    own = found.typical(1)
    assert set(own) == set(np.flatnonzero(truth == 1))
    inside = found.distances[np.ix_(own, own)].sum(axis=1)
    assert (np.diff(inside) >= 0).all()


def test_maps_that_are_all_the_same_are_one_cluster():
    found = clustered(np.full((25, 8, 8), 1 / 64))
    assert found.count == 1
    assert found.separation(0) == 0


def test_there_are_never_more_than_the_most():
    heat = np.eye(64)[np.repeat(np.arange(16), 5)].reshape(-1, 8, 8)
    assert clustered(heat).count <= MOST

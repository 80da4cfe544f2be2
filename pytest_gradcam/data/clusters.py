"""Clusters of heatmaps: spectral clustering, as SpRAy does it (Lapuschkin et al. 2019, Nature Communications 10, 1096).

Maps are compared by the Hellinger distance of their shares of heat. Near ones are tied by a Gaussian weight on the scale of
either's neighbourhood (Zelnik-Manor and Perona 2004). The eigenvalues of this graph's normalised Laplacian tell by their largest
gap how many clusters there are, its eigenvectors which map is in which: by a pivoted QR factorisation (Damle, Minden and Ying
2019), which has no random start. The order of the maps does not matter, but for ties.

The paper's own graph joins each map to its nearest neighbours without weights: on maps of known clusters, its largest gap was
among the parts of a cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

MOST = 6  # clusters of a class at most
_NEIGHBOURHOOD, _FEWEST = 0.1, 4  # share of the maps whose distance is a map's scale, and how many at least


@dataclass(frozen=True)
class Clustering:
    """Which cluster each of the maps (N,) is in, their distances (N, N), and how closely they are tied (N, N), in [0, 1]."""

    labels: NDArray[np.intp]
    distances: Floats
    ties: Floats

    @property
    def count(self) -> int:
        return int(self.labels.max()) + 1

    def members(self, cluster: int) -> Bools:
        return np.asarray(self.labels == cluster)

    def separation(self, cluster: int) -> float:
        """The mean silhouette (Rousseeuw 1987) of a cluster's maps, in [-1, 1]; 0 where there is no other one."""
        if self.count < 2:
            return 0.0
        own = self.members(cluster)
        within = self.distances[own][:, own].sum(axis=1) / max(int(own.sum()) - 1, 1)
        others = [self.distances[own][:, self.members(other)] for other in range(self.count) if other != cluster]
        nearest = np.min([each.mean(axis=1) for each in others], axis=0)
        return float(((nearest - within) / np.maximum(np.maximum(nearest, within), 1e-12)).mean())

    def typical(self, cluster: int) -> NDArray[np.intp]:
        """A cluster's maps, those first that are closest to all of it."""
        own = np.flatnonzero(self.members(cluster))
        return own[np.argsort(self.distances[np.ix_(own, own)].sum(axis=1), kind="stable")]


def clustered(maps: Floats) -> Clustering:
    """The clusters of maps (N, h, w), each of which sums to 1; the largest cluster first."""
    roots = np.sqrt(maps.reshape(len(maps), -1))
    distances = np.asarray(scipy.spatial.distance.squareform(scipy.spatial.distance.pdist(roots)))
    ties = _ties(distances)
    values, vectors = scipy.linalg.eigh(scipy.sparse.csgraph.laplacian(ties, normed=True))
    count = int(np.diff(values[: MOST + 1]).argmax()) + 1
    return Clustering(_ordered(_assigned(vectors[:, :count])), distances, ties)


def _ties(distances: Floats) -> Floats:
    """1 for maps that are the same, and less the further apart they are beside their distances to neighbours."""
    nearest = max(_FEWEST, round(_NEIGHBOURHOOD * len(distances)))
    scales = np.maximum(np.sort(distances, axis=1)[:, nearest], 1e-9)  # the first one is the map itself
    ties = np.exp(-(distances**2) / (2 * scales[:, None] * scales))
    np.fill_diagonal(ties, 0)
    return np.asarray(ties)


def _assigned(vectors: Floats) -> NDArray[np.intp]:
    """The cluster of each row (N, K) of the first eigenvectors."""
    _, pivots = scipy.linalg.qr(vectors.T, mode="r", pivoting=True)
    u, _, v = scipy.linalg.svd(vectors[pivots[: vectors.shape[1]]].T)
    return np.asarray(np.abs(vectors @ (u @ v)).argmax(axis=1))


def _ordered(labels: NDArray[np.intp]) -> Any:
    """The same clusters, counted from the largest."""
    _, inverse, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    places = np.empty(len(sizes), np.intp)
    places[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    return places[inverse]

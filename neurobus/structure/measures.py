"""Qualities of a wiring, as graph theory names them. Pure.

Nodes are the neurons (sources are left out); an edge is a pair that has a synapse, however many. Degrees and
reciprocity are of directed edges; clustering (Watts & Strogatz 1998) is of the edges without their direction;
a path follows the directions. Beyond `EXACT` neurons clustering is measured on a sample of neurons and paths
from a sample of sources, and the result says so.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from neurobus.model import Array
from neurobus.network import Network
from neurobus.network.draw import Stream
from neurobus.placement import initial_mv
from neurobus.streams import Use, key

EXACT = 2000
"""Up to so many neurons nothing is sampled."""
CLUSTERING_SAMPLE, PATH_SAMPLE = 500, 128

Int64s = npt.NDArray[np.int64]


def measure(network: Network) -> dict[str, Any]:
    """Figures of the chemical, graded and electrical wiring, ready for JSON; what is what stands above."""
    n = network.n_neurons
    inside = network.synapses.pre < n
    pre, post = network.synapses.pre[inside], network.synapses.post[inside]
    facts: dict[str, Any] = {
        "config": network.config.places.name,
        "seed": network.seed,
        "neurons": n,
        "synapses": int(inside.sum()),
        "from_sources": int((~inside).sum()),
        "junctions": int(network.junctions.a.size),
        "graded_synapses": int(network.graded.pre.size),
        "chemical": wiring(pre, post, n, network.seed) if pre.size else None,
        "graded": None,
        "electrical": None,
        "weights": _weights(
            network, network.synapses.post[inside], network.synapses.weight[inside], "weight_unit"
        ),
        "graded_weights": _graded_weights(network),
        "delays_ms": _spread(network.synapses.delay[inside] * (network.dt_ns / 1e6)) if pre.size else None,
    }
    if network.graded.pre.size:
        facts["graded"] = wiring(network.graded.pre, network.graded.post, n, network.seed)
    if network.junctions.a.size:
        a, b = network.junctions.a, network.junctions.b
        both = np.concatenate([a, b]), np.concatenate([b, a])
        facts["electrical"] = wiring(*both, n, network.seed) | {
            "conductance_ns": _spread(network.junctions.ns)
        }
    return facts


def wiring(pre: npt.NDArray[Any], post: npt.NDArray[Any], n: int, seed: int = 1) -> dict[str, Any]:
    """Figures of the directed graph of n nodes whose edges are the pairs (pre, post)."""
    graph = csr_array((np.ones(pre.size, np.float32), (pre, post)), shape=(n, n))
    graph.sum_duplicates()
    graph.data[:] = 1.0
    own = int(graph.diagonal().sum())
    graph = (graph - _diagonal(graph)).tocsr()
    graph.eliminate_zeros()
    back = graph.T.tocsr()
    out, into = (np.diff(side.indptr).astype(np.int64) for side in (graph, back))
    edges = int(graph.nnz)
    mutual = int(graph.multiply(back).nnz)
    either = graph.maximum(back).tocsr()
    k = np.diff(either.indptr)
    mean = float(k.mean())
    clustering, clustered = _clustering(either, k, seed)
    paths = _paths(back, n, seed)
    weak, weakly = connected_components(graph, connection="weak")
    strong, strongly = connected_components(graph, connection="strong")
    # A random graph of as many edges: Watts & Strogatz 1998; the ratio of ratios: Humphries & Gurney 2008.
    random_c = mean / max(n - 1, 1)
    random_l = float(np.log(n) / np.log(edges / n)) if edges > n > 1 else None
    length = paths["mean"]
    small = None
    if random_l and length and clustering is not None and random_c > 0:
        small = (clustering / random_c) / (length / random_l)
    return {
        "edges": edges,
        "self": own,
        "density": edges / max(n * (n - 1), 1),
        "in_degree": _degrees(into),
        "out_degree": _degrees(out),
        "degree": _degrees(k.astype(np.int64)),
        "in_out_correlation": _correlation(into, out),
        "reciprocity": mutual / edges if edges else None,
        "clustering": clustering,
        "clustering_random": random_c,
        "clustering_of": clustered,
        "path_length": length,
        "path_length_random": random_l,
        "longest_path": paths["longest"],
        "reachable": paths["reachable"],
        "paths_from": paths["from"],
        "small_world": small,
        "weak_components": int(weak),
        "largest_weak": int(np.bincount(weakly).max()),
        "strong_components": int(strong),
        "largest_strong": int(np.bincount(strongly).max()),
    }


def joined(network: Network) -> tuple[npt.NDArray[Any], npt.NDArray[Any], Array]:
    """(pre, post, weight) of all chemical and graded synapses between neurons; conductances by `signed`."""
    inside, graded = network.synapses.pre < network.n_neurons, network.graded
    return (
        np.concatenate([network.synapses.pre[inside], graded.pre]),
        np.concatenate([network.synapses.post[inside], graded.post]),
        np.concatenate([network.synapses.weight[inside], signed(network)]),
    )


def degree_arrays(network: Network) -> tuple[Int64s, Int64s]:
    """In- and out-degree of every neuron: distinct partners among the neurons, itself left out."""
    n = network.n_neurons
    pre, post, _ = joined(network)
    other = pre != post
    pairs = np.unique(pre[other].astype(np.int64) * n + post[other])
    return np.bincount(pairs % n, minlength=n), np.bincount(pairs // n, minlength=n)


def _diagonal(graph: csr_array) -> csr_array:
    n = graph.shape[0]
    at = np.arange(n)
    return csr_array((graph.diagonal(), (at, at)), shape=(n, n))


def _degrees(k: Int64s) -> dict[str, float]:
    """`heterogeneity` is <k²>/<k>: the degree of a neighbour, where degrees are not correlated."""
    mean = float(k.mean())
    return {
        "mean": mean,
        "sd": float(k.std()),
        "min": int(k.min()),
        "max": int(k.max()),
        "heterogeneity": float(np.mean(k.astype(np.float64) ** 2) / mean) if mean else 0.0,
    }


def _correlation(a: Int64s, b: Int64s) -> float | None:
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else None


def _chosen(n: int, most: int, seed: int, label: str) -> Int64s:
    """All of n, or where there are more than `EXACT` a sample of them."""
    if n <= EXACT:
        return np.arange(n)
    return np.sort(Stream(key(seed, Use.SAMPLE, label)).order(n)[:most])


def _clustering(either: csr_array, k: npt.NDArray[Any], seed: int) -> tuple[float | None, int]:
    """Mean over neurons of the share of pairs of neighbours that are neighbours; 0 below two of them."""
    if not either.nnz:
        return None, 0
    some = _chosen(either.shape[0], CLUSTERING_SAMPLE, seed, "clustering")
    rows = either[some]
    closed = np.asarray((rows @ either).multiply(rows).sum(axis=1)).ravel()
    pairs = k[some].astype(np.float64) * (k[some] - 1.0)
    local: Array = np.divide(closed, pairs, out=np.zeros(some.size), where=pairs > 0)
    return float(local.mean()), int(some.size)


def _paths(back: csr_array, n: int, seed: int) -> dict[str, Any]:
    """Shortest directed paths, breadth first from many sources at once. `back`: row = target of an edge."""
    some = _chosen(n, PATH_SAMPLE, seed, "paths")
    total = longest = reached = 0
    for first in range(0, some.size, 256):
        sources = some[first : first + 256]
        seen = np.zeros((n, sources.size), bool)
        seen[sources, np.arange(sources.size)] = True
        front, steps = seen.astype(np.float32), 0
        while True:
            steps += 1
            new = (back @ front > 0) & ~seen
            found = int(np.count_nonzero(new))
            if not found:
                break
            total, reached, longest = total + steps * found, reached + found, max(longest, steps)
            seen |= new
            front = new.astype(np.float32)
    possible = some.size * (n - 1)
    return {
        "mean": total / reached if reached else None,
        "longest": longest if reached else None,
        "reachable": reached / possible if possible else None,
        "from": int(some.size),
    }


def _spread(values: npt.NDArray[Any]) -> dict[str, float]:
    return {
        "mean": float(values.mean()),
        "sd": float(values.std()) if values.min() < values.max() else 0.0,
        "min": float(values.min()),
        "max": float(values.max()),
    }


def _weights(network: Network, post: npt.NDArray[Any], weight: Array, unit_of: str) -> dict[str, Any]:
    """By unit, excitatory and inhibitory apart: how many, and how they spread."""
    found: dict[str, Any] = {}
    model_of = network.model_of[post]
    for unit in units(network, post, unit_of):
        having = [n for n, model in enumerate(network.models) if getattr(model, unit_of, None) == unit]
        here = np.isin(model_of, having)
        for sign, chosen in (("excitatory", weight > 0), ("inhibitory", weight < 0)):
            if (mine := weight[here & chosen]).size:
                found.setdefault(unit, {})[sign] = {"count": int(mine.size)} | _spread(mine)
    return found


def signed(network: Network) -> Array:
    """Weights of the graded synapses, (synapses,). A conductance (nS) counts as negative where its reversal
    potential lies below the potential at which the postsynaptic neuron starts."""
    graded = network.graded
    inhibits = graded.reversal < initial_mv(network)[graded.post]
    return np.where(inhibits, -graded.weight, graded.weight)


def _graded_weights(network: Network) -> dict[str, Any]:
    """Those of currents as `_weights`; conductances under nS, excitatory and inhibitory as by `signed`."""
    graded = network.graded
    current = np.isnan(graded.reversal)
    found = _weights(network, graded.post[current], graded.weight[current], "current_unit")
    ns = signed(network)[~current]
    for sign, mine in (("excitatory", ns[ns > 0]), ("inhibitory", -ns[ns < 0])):
        if mine.size:
            found.setdefault("nS", {})[sign] = {"count": int(mine.size)} | _spread(mine)
    return found


def units(network: Network, post: npt.NDArray[Any], unit_of: str) -> list[str]:
    """The units of weights on `post`: `weight_unit` of their models, or `current_unit`."""
    models = (network.models[number] for number in np.unique(network.model_of[post]).tolist())
    return sorted({getattr(model, unit_of) for model in models})

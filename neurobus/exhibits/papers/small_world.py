"""Small worlds: a few short cuts bring everybody near, and neighbours still know each other.

A ring of n = 1000 with k = 10, edges moved with probability p (Watts & Strogatz 1998, fig. 2). At p = 0 the
clustering is C(0) = 3 (k - 2) / (4 (k - 1)) and the mean path L(0) = the mean over m = 1 ... n - 1 of
ceil(min(m, n - m) / (k / 2)). One spike, sent on by everybody once, measures the same distances on the bus.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from neurobus.exhibits import Exhibit, Lab, Row
from neurobus.model import Array
from neurobus.network import Network
from neurobus.picture import COLOURS, FAINT, GREY, INK
from neurobus.structure.measures import wiring

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

N, K, DELAY_MS = 1000, 10, 1.0
REWIRED = (0.0, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
SHOWN = (0.0, 0.01, 1.0)


class SmallWorld(Exhibit):
    title = "Small worlds"
    claim = (
        "With one edge in a hundred moved, paths are a fifth as long, and neighbours still know each other."
    )
    source = "Watts & Strogatz 1998, fig. 2"
    size_in = (9.6, 5.6)
    controls = ("synapses.0.rewire=0.5",)

    def measure(self, lab: Lab) -> list[Row]:
        networks = {p: lab.build("small_world", f"synapses.0.rewire={p}") for p in REWIRED}
        found = [self._measured(network) for network in networks.values()]
        self.C, self.L = (np.array(values) for values in zip(*found, strict=True))
        self.waves = {p: self._wave(lab, p) for p in SHOWN}
        wrong = sum(int(np.sum(wave != _distances(networks[p]))) for p, wave in self.waves.items())
        at = REWIRED.index(0.01)
        c0 = 3 * (K - 2) / (4 * (K - 1))
        steps = np.arange(1, N)
        l0 = float(np.mean(np.ceil(np.minimum(steps, N - steps) / (K / 2))))
        return [
            Row.near("C(0), clustering of the ring", self.C[0], c0, 1e-9, source="3 (k - 2) / (4 (k - 1))"),
            Row.near("L(0), mean path of the ring", self.L[0], l0, 1e-9, source="closed form, about n / 2k"),
            Row.above("C(0.01) / C(0)", self.C[at] / self.C[0], 0.9, source="Watts & Strogatz 1998, fig. 2"),
            Row.below("L(0.01) / L(0)", self.L[at] / self.L[0], 0.3, source="Watts & Strogatz 1998, fig. 2"),
            Row.near("L(1) by ln n / ln k", self.L[-1] * np.log(K) / np.log(N), 1, 0.15,
                     source="random graph"),
            Row.below("C(1) / C(0)", self.C[-1] / self.C[0], 0.05, source="random graph: k / n"),
            Row.near(f"neurons whose spike does not tell their distance, of {N * len(SHOWN):,}", wrong, 0, 0,
                     source="paths counted in the graph"),
        ]  # fmt: skip

    def _measured(self, network: Network) -> tuple[float, float]:
        inner = network.synapses.pre < N
        found = wiring(network.synapses.pre[inner], network.synapses.post[inner], N)
        return found["clustering"], found["path_length"]

    def _wave(self, lab: Lab, rewired: float) -> Array:
        """Distance of every neuron from the first, told by its one spike; -1 where there is none."""
        run = lab.run("small_world", f"synapses.0.rewire={rewired}")
        first = run.spikes_ms("c.0")[0]
        trains = run.trains_ms("c")
        return np.array([(train[0] - first) / DELAY_MS if train.size == 1 else -1 for train in trains]).round(
            6
        )

    def draw(self, figure: Figure) -> None:
        axes = figure.subplot_mosaic("aab;aac;aad")
        self._curves(axes["a"])
        for axis, p, colour in zip(
            (axes[name] for name in "bcd"), SHOWN, (INK, COLOURS[0], COLOURS[1]), strict=True
        ):
            axis.plot(self.waves[p] * DELAY_MS, np.arange(N), ".", markersize=1.6, color=colour)
            axis.set(xlim=(-2, 104), ylim=(0, N), ylabel="neuron", yticks=[0, 500, 1000])
            axis.set_title(f"p = {p:g}: all reached after {self.waves[p].max():.0f} ms", color=colour)
            axis.grid(color=FAINT, linewidth=0.6)
        for name in "bc":
            axes[name].tick_params(labelbottom=False)
        axes["d"].set_xlabel("time of the spike (ms)")

    def _curves(self, axis: Axes) -> None:
        p = np.maximum(REWIRED, 1e-4)
        axis.semilogx(
            p, self.C / self.C[0], "s-", color=COLOURS[2], markersize=5, linewidth=1, markerfacecolor="white"
        )
        axis.semilogx(p, self.L / self.L[0], "o-", color=COLOURS[3], markersize=5, linewidth=1)
        axis.text(0.0022, 0.93, "C(p) / C(0)", color=COLOURS[2], ha="right", fontsize=10)
        axis.text(0.0012, 0.42, "L(p) / L(0)", color=COLOURS[3], ha="right", fontsize=10)
        axis.axvspan(3e-3, 1e-1, color=COLOURS[0], alpha=0.07, linewidth=0)
        axis.text(np.sqrt(3e-4), 0.02, "small worlds", color=COLOURS[0], ha="center")
        axis.set_xticks([1e-4, 1e-3, 1e-2, 1e-1, 1], ["0", "0.001", "0.01", "0.1", "1"])
        axis.minorticks_off()
        axis.set(title="Clustering and path length", xlabel="p, share of edges moved", ylim=(0, 1.05))
        axis.tick_params(axis="x", color=GREY)
        axis.grid(color=FAINT, linewidth=0.6)


def _distances(network: Network) -> Array:
    """Shortest paths from the first neuron to all."""
    inner = network.synapses.pre < N
    graph = csr_array(
        (np.ones(int(inner.sum())), (network.synapses.pre[inner], network.synapses.post[inner])), shape=(N, N)
    )
    found: Array = dijkstra(graph, unweighted=True, indices=0)
    return found

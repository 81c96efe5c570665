"""A ring of actors: `python -m tests.bench.actors ray|dask`, then a line on stdin for each measurement.

One process per neuron, each holding a handle of the next. A spike carries the hops that are left; as they
are a multiple of the ring, the first neuron sees both the begin and the end. Answers are lines of JSON.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

N = 20
HOPS = 1000
PACKAGES = {"ray": "ray", "dask": "distributed"}

Call = Callable[..., Any]


class Neuron:
    """`send` is how its actor system calls a method of `next` without waiting for it."""

    next: Any
    send: Call
    elapsed_s: float | None = None

    def connect(self, next: Any) -> None:
        self.next = next

    def spike(self, left: int) -> None:
        if left == HOPS:
            self.elapsed_s, self.begun = None, time.perf_counter()
        if left:
            self.send(self.next, left - 1)
        else:
            self.elapsed_s = time.perf_counter() - self.begun

    def elapsed(self) -> float | None:
        return self.elapsed_s


class RayNeuron(Neuron):
    def send(self, to: Any, left: int) -> None:
        to.spike.remote(left)


class DaskNeuron(Neuron):
    def send(self, to: Any, left: int) -> None:
        to.spike(left)


Ring = tuple[list[Any], Callable[[Any, str], Any]]
"""The actors, and how the driver calls one and waits for the answer."""


@contextmanager
def ray() -> Iterator[Ring]:
    import ray

    ray.init(num_cpus=N, include_dashboard=False, log_to_driver=False, logging_level="error")
    actor = ray.remote(RayNeuron)
    neurons = [actor.remote() for _ in range(N)]
    yield neurons, lambda to, method, *args: ray.get(getattr(to, method).remote(*args))
    ray.shutdown()


@contextmanager
def dask() -> Iterator[Ring]:
    from distributed import Client, LocalCluster

    with LocalCluster(n_workers=N, threads_per_worker=1, dashboard_address=None, memory_limit=0) as cluster, \
         Client(cluster) as client:  # fmt: skip
        workers = list(client.scheduler_info(n_workers=-1)["workers"])
        futures = [client.submit(DaskNeuron, actor=True, workers=[worker], pure=False) for worker in workers]
        yield client.gather(futures), lambda to, method, *args: getattr(to, method)(*args).result()


def main() -> None:
    name = sys.argv[1]
    if importlib.util.find_spec(PACKAGES[name]) is None:
        print(json.dumps({"missing": f"{name.capitalize()} is not installed"}), flush=True)
        return
    with {"ray": ray, "dask": dask}[name]() as (neurons, call):
        for one, next in zip(neurons, neurons[1:] + neurons[:1], strict=True):
            call(one, "connect", next)
        turn(neurons[0], call)
        print(json.dumps({"actors": len(neurons)}), flush=True)
        for _ in sys.stdin:
            print(json.dumps({"us": turn(neurons[0], call) / HOPS * 1e6}), flush=True)


def turn(first: Any, call: Call) -> float:
    """Seconds from the first hop to the last."""
    call(first, "spike", HOPS)
    while (elapsed := call(first, "elapsed")) is None:
        time.sleep(0.1)
    return float(elapsed)


if __name__ == "__main__":
    main()

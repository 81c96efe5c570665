"""The cache of compiled kernels: whoever comes second finds what the first has made."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import msgpack
import numpy as np
import pytest

from neurobus.loading import load
from neurobus.node.kernel import codegen, loader
from neurobus.node.sealed import KERNEL, seal, unseal

LIF = load("nodes.lif")


def test_two_that_want_one_kernel_compile_it_once(tmp_path, monkeypatch):
    loader.kernel("nodes.lif", LIF)
    ready = loader.object_path("nodes.lif", LIF).read_bytes()
    made = []

    def slowly(path, *_):
        made.append(path)
        time.sleep(0.05)
        path.write_bytes(ready)

    monkeypatch.setenv("NEUROBUS_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(codegen, "compile_model", slowly)
    monkeypatch.setattr(loader, "_loaded", {})
    threads = [threading.Thread(target=loader.kernel, args=("nodes.lif", LIF)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [loader.object_path("nodes.lif", LIF)]


def test_the_name_of_a_kernel_tells_what_it_is_made_from():
    class Edited(LIF):
        @staticmethod
        def step(k, s, c, x, I, key, fired):
            return np.int64(0)

    paths = [loader.object_path("nodes.lif", LIF), loader.object_path("nodes.lif", Edited),
             loader.object_path("nodes.lif", LIF, ("nodes.stdp",)),
             loader.object_path("other.lif", LIF)]  # fmt: skip
    assert len(set(paths)) == 4


def test_a_kernel_file_that_does_not_hold_its_function_is_refused(tmp_path, monkeypatch):
    loader.kernel("nodes.lif", LIF)
    path = tmp_path / "bad.kernel"
    sealed = loader.object_path("nodes.lif", LIF).read_bytes()
    code = msgpack.unpackb(unseal(KERNEL, sealed))
    path.write_bytes(seal(KERNEL, msgpack.packb(code | {"symbol": "nothing"})))
    with pytest.raises(RuntimeError, match="remove it"):
        loader._load(path, loader.read(path))


def test_a_kernel_from_the_cache_runs_where_numba_was_merely_imported():
    """numba makes its helpers known to LLVM when it compiles, not before."""
    loader.kernel("nodes.eif", load("nodes.eif"))
    code = """
import numba, sys
from neurobus.loading import load
from tests.helpers import Ensemble, net, run_table, table
neuron = table("neurons", id="a", model="nodes.eif", params='{ I_e = "500 pA" }')
ensemble = Ensemble(net(run_table() + neuron))
assert len(ensemble.run(1000).emission.keys) > 1
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, (done.returncode, done.stderr)

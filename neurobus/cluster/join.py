"""One neuron started by hand on a running bus.

    python -P -m nodes.lif --id n3 --bus ring --param I_e="400 pA" --synapse "ring.0, 500 pA, 5 ms"

The cluster must run under the wall clock. Where its config has a place for the neuron (a source of kind
`external` with this id), the neurons that listen to it hear it; a neuron nobody expects is on the bus for
observers: `top`, `ps`, `poke`, `weights` and `record` know it while it is there.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neurobus import units
from neurobus.bus.peer import Endpoints, Peer
from neurobus.cluster import folder as folders
from neurobus.cluster.levels import as_guest
from neurobus.config.schema import wrong_id
from neurobus.errors import InputError, NeurobusError
from neurobus.grid import off_grid_ms, steps_up
from neurobus.loading import load
from neurobus.model import Array, Model, Param, Source
from neurobus.network.held import fault, told_by
from neurobus.node.core import Core
from neurobus.node.role import Role
from neurobus.node.source_core import SourceCore
from neurobus.node.wall import WallProcess
from neurobus.parts import Background, Currents, NeuronPart, SourcePart, uncoupled
from neurobus.stateful_synapses import lay_out
from neurobus.streams import Use, Words, keys, tags
from neurobus.wire import bus as wire
from neurobus.wire import verbs
from neurobus.wire.message import Control, Report

ANSWER_S = 0.5


def main(model_name: str, argv: Sequence[str] | None = None) -> None:
    """The `__main__` of every node program."""
    model = load(model_name)
    parser = argparse.ArgumentParser(
        prog=f"python -P -m {model_name}",
        description=f"Start one {model.__name__} neuron on a running bus.",
        epilog=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--id", required=True, help="the neuron's id: its name on the bus")
    parser.add_argument(
        "--bus", required=True, metavar="CLUSTER", help="name of the running cluster, or its run folder"
    )
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="; ".join(f"{n} = {p.default} ({p.doc})" for n, p in model.params().items()),
    )
    parser.add_argument("--synapse", action="append", default=[], metavar='"PRE, WEIGHT, DELAY[, RECEPTOR]"')
    given = parser.parse_args(argv)
    try:
        join(model, model_name, given.id, given.bus, given.param, given.synapse)
    except NeurobusError as error:
        print(f"{model_name}: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def join(
    model: type[Model] | type[Source],
    model_name: str,
    neuron: str,
    bus: str,
    params: list[str],
    synapses: list[str],
) -> None:
    """Live on the bus as `neuron` until Ctrl-C or the end of the cluster. Raises InputError."""
    if wrong := wrong_id(neuron):
        raise InputError(f"--id: {wrong}")
    manifest = folders.Manifest.read(Path(bus)) if Path(bus, "manifest.json").exists() else folders.find(bus)
    if manifest.clock != "wall":
        raise InputError(
            f"cluster '{manifest.name}' runs under the virtual clock; a neuron can join by hand under "
            "the wall clock only"
        )
    of_config = {*manifest.ids} - {*manifest.external, *manifest.guests, *manifest.left}
    if neuron in of_config or _answers(manifest, neuron):
        raise InputError(f"'{neuron}' is alive on '{manifest.name}'; one id has one live owner")
    ids = list(manifest.ids)
    if neuron not in ids:
        ids.append(neuron)
    core: Core | SourceCore
    if issubclass(model, Source):
        if synapses:
            raise InputError(f"{model_name} is a source: it has no synapses")
        core = SourceCore(_source_part(model, manifest, ids, neuron, params))
        heard: list[str] = []
    else:
        part = _neuron_part(model, model_name, manifest, ids, neuron, params, synapses)
        core = Core(part)
        core.advance(0)
        sources = np.flatnonzero(np.diff(part.row)).tolist()
        sources += part.stateful.source.tolist() if part.stateful else []
        heard = sorted({manifest.streams[i] for i in sources if ids[i] != neuron})
    index_of = {name: i for i, name in enumerate(manifest.ids) if manifest.streams[i] == name}
    role = Role(
        name=neuron,
        ids=[neuron],
        index=[ids.index(neuron)],
        dt_ns=manifest.dt_ns,
        wall=True,
        epoch=int(time.time()),
        spikes_heard=heard,
        index_of=index_of,
        n_ids=len(ids),
        late_start=True,
        guest=as_guest(model, core.part.params),
    )
    interrupted = False

    def interrupt(*_: object) -> None:
        nonlocal interrupted
        interrupted = True

    signal.signal(signal.SIGINT, interrupt)
    print(
        f"{neuron} ({model_name}) joins '{manifest.name}' as process {os.getpid()}; Ctrl-C takes it off",
        flush=True,
    )
    WallProcess(role, core).run(
        Peer(manifest.bus), stop_when=lambda: interrupted or not folders.alive(manifest.pid)
    )
    why = "Ctrl-C" if interrupted else f"'{manifest.name}' has ended"
    print(f"{neuron} has left: {why}", flush=True)


def _answers(manifest: folders.Manifest, neuron: str) -> bool:
    """Whether a process on the bus answers to this name."""
    peer = Peer(Endpoints(**manifest.endpoints), observer=True)
    try:
        peer.subscribe(wire.topic(wire.REPORT, neuron))
        peer.join(f"who-is-{os.getpid()}")
        peer.send(wire.encode(Control(neuron, verbs.AskStatus())))
        give_up = time.monotonic() + ANSWER_S
        while (left := give_up - time.monotonic()) > 0:
            data = peer.wait(left)
            if data is not None and data[:1] == wire.REPORT and isinstance(wire.decode(data), Report):
                return True
        return False
    finally:
        peer.close()


def _values(params: dict[str, Param], given: list[str]) -> dict[str, float]:
    values = {name: param.value for name, param in params.items()}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or name not in params:
            raise InputError(f"--param {text}: write NAME=VALUE with one of {', '.join(params)}")
        try:
            values[name] = units.parse(value if params[name].unit else float(value), params[name].unit)
        except ValueError as error:
            raise InputError(f"--param {text}: {error}") from error
        if not params[name].admits(values[name]):
            raise InputError(f"--param {text}: must be {params[name].bounds()}")
    return values


def _on_grid(model: type[Model] | type[Source], values: dict[str, float], dt_ns: int) -> dict[str, float]:
    """The values; a source's times off the grid are refused, a model's are told."""
    for name, param in model.params().items():
        if param.steps and off_grid_ms(values[name], dt_ns / 1e6):
            word, dt = f"{name} = {values[name]:g} ms", f"{dt_ns / 1e6:g} ms"
            if issubclass(model, Source):
                raise InputError(f"{word} is no multiple of dt = {dt}")
            acts_ms = int(steps_up(values[name], dt_ns / 1e6)) * dt_ns / 1e6
            print(f"{word} acts as {acts_ms:g} ms, rounded up to steps of {dt}", file=sys.stderr)
    return values


def _key(manifest: folders.Manifest, use: Use, neuron: str) -> Words:
    """Of a neuron alone, as in a config."""
    return keys(manifest.seed, use, tags(neuron, np.zeros(1, np.int64)))


def _source_part(
    model: type[Source], manifest: folders.Manifest, ids: list[str], neuron: str, params: list[str]
) -> SourcePart:
    given = _on_grid(model, _values(model.params(), params), manifest.dt_ns)
    key = int(_key(manifest, Use.SOURCE, neuron)[0])
    times: dict[int, Any] = {} if model.params() else {0: np.empty(0, np.int64)}
    try:
        model.stamps({**given, **({"times": times[0]} if times else {})}, key, manifest.dt_ns, 0, 1)
    except ValueError as error:
        raise InputError(f"{model.__name__}: {error}") from error
    values = {name: np.array([value]) for name, value in given.items()}
    index = np.array([ids.index(neuron)], np.int64)
    return SourcePart(neuron, model, index, [neuron], values, times, {}, [key], manifest.dt_ns)


def _require_held(
    model: type[Model], model_name: str, p: dict[str, Array], rows: list[Any], synapses: list[str]
) -> None:
    """The model can have these weights; what it rounds is told."""
    _, weights, _, receptors = np.array(rows, np.float64).reshape(-1, 4).T
    each = {name: np.repeat(value, len(rows)) for name, value in p.items()}
    if (found := fault(model, each, weights, receptors)) is not None:
        raise InputError(f'--synapse "{synapses[found[0]]}": {found[1]}')
    for word in told_by(model_name, model, each, weights):
        print(word, file=sys.stderr)


def _neuron_part(
    model: type[Model],
    model_name: str,
    manifest: folders.Manifest,
    ids: list[str],
    neuron: str,
    params: list[str],
    synapses: list[str],
) -> NeuronPart:
    given = _on_grid(model, _values(model.params(), params), manifest.dt_ns)
    p = {name: np.array([value]) for name, value in given.items()}
    if (word := model.check(p)) is not None:
        raise InputError(word)
    rows = []
    for text in synapses:
        parts = [part.strip() for part in text.split(",")]
        if len(parts) not in (3, 4) or parts[0] not in ids or parts[0] in set(manifest.left) - {neuron}:
            right = '"PRE, WEIGHT, DELAY" or "PRE, WEIGHT, DELAY, RECEPTOR" with PRE an id of the cluster'
            raise InputError(f'--synapse "{text}": write {right}')
        if parts[3:] and parts[3] not in model.receptors:
            raise InputError(f'--synapse "{text}": the receptors are {", ".join(model.receptors)}')
        try:
            weight, delay_ns = units.parse(parts[1], model.weight_unit), units.to_ns(parts[2])
        except units.UnitError as error:
            raise InputError(f'--synapse "{text}": {error}') from error
        if delay_ns <= 0 or delay_ns % manifest.dt_ns:
            raise InputError(f'--synapse "{text}": the delay must be a multiple of dt, {manifest.dt_ns} ns')
        by_sign = model.by_sign and len(model.receptors) > 1 and weight < 0
        receptor = model.receptors.index(parts[3]) if parts[3:] else int(by_sign)
        rows.append((ids.index(parts[0]), weight, delay_ns // manifest.dt_ns, receptor))
    _require_held(model, model_name, p, rows, synapses)
    rows.sort(key=lambda row: row[0])
    delays = [row[2] for row in rows]
    owned = None
    if model.arrive is not None:
        source, weights, steps, receptors = np.array(rows, np.float64).reshape(-1, 4).T
        zeros, whole = np.zeros(len(rows), int), [a.astype(int) for a in (source, receptors, steps)]
        owned = lay_out(
            model, 1, len(ids), manifest.dt_ns, [], [], whole[0], zeros, whole[1], whole[2], weights,
            zeros - 1, zeros,
        )  # fmt: skip
        rows = []
    return NeuronPart(
        name=neuron,
        model_name=model_name,
        model=model,
        index=np.array([ids.index(neuron)], np.int64),
        ids=[neuron],
        params=p,
        key=_key(manifest, Use.NOISE, neuron),
        dt_ns=manifest.dt_ns,
        min_delay=min([manifest.min_delay, *delays]),
        max_delay=max([manifest.min_delay, *delays]),
        row=np.searchsorted([row[0] for row in rows], np.arange(len(ids) + 1)).astype(np.int64),
        target=np.array([row[3] for row in rows], np.int32),
        delay=np.array([row[2] for row in rows], np.int32),
        weight=np.array([row[1] for row in rows], np.float64),
        coupling=uncoupled(len(ids), 1),
        currents=Currents.none(),
        background=Background(np.zeros(1), np.zeros(1), _key(manifest, Use.BACKGROUND, neuron)),
        watched=np.empty(0, np.int32),
        potential_delta_mv=1.0,
        potential_interval=1,
        sample_delay=1,
        stateful=owned,
        remembering=None if owned is None else np.ones(owned.n, np.bool_),
    )

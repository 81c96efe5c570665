"""The timetable of a classroom: which sample is shown when, and the spikes that show it.

Open loop: sample n has slot n, so every input, teacher, LEARN and RESET spike is known from (data, order,
passes) before the first neuron wakes. Within a slot, from its begin:

    RESET at once · teacher half a level later · inputs from `start` on · LEARN at `learn_at`, in training

Codes (time of an input with level x of 1 … top after `start`, in levels; 0 is silent):
    latency   top - x
    rank      how many stronger levels the sample holds: contrast does not matter (Thorpe 1990)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from neurobus import units
from neurobus.classroom.data import Labels, Levels, Samples
from neurobus.config import Config
from neurobus.config.schema import Background, Current
from neurobus.errors import InputError
from neurobus.network import Network

Steps = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Timing:
    """Steps of the bus's grid, counted from the begin of a slot. `delay`: of every synapse here."""

    slot: int
    start: int
    level: int
    learn_at: int
    delay: int
    top: int
    code: str = "latency"

    def slots_at(self, step: int) -> int:
        """How many slots are answered for good when the network stands at `step`."""
        return max(0, (step - self.delay - self.learn_at) // self.slot + 1)


@dataclass(frozen=True)
class Room:
    """Who is in a classroom. Indices are those of the network; reader n answers for class `n % classes`.

    `teachers` by class; `learn` and `reset` are the broadcasts. Without teachers nobody is told.
    """

    timing: Timing
    classes: int
    readers: list[int]
    inputs: list[int]
    teachers: list[int]
    learn: int | None
    reset: int


def room(network: Network) -> Room:
    """The classroom of a config. Raises InputError where `[classroom]` contradicts its network."""
    config, table = network.config, network.config.classroom
    if table is None:
        raise InputError("no [classroom] here that says who reads and who is shown", config.path)

    def members(key: str) -> list[int]:
        name = getattr(table, key)
        if name not in network.groups:
            raise config.error(("classroom", key), f"there is no '{name}' in this network")
        return [int(i) for i in network.groups[name]]

    def steps(key: str) -> int:
        try:
            ns = units.to_ns(getattr(table, key))
        except units.UnitError as error:
            raise config.error(("classroom", key), f"{key}: {error}") from error
        if ns % network.dt_ns or ns <= 0:
            raise config.error(("classroom", key), f"{key} must be a multiple of dt, and more than 0")
        return ns // network.dt_ns

    readers = members("readers")
    others = [members(key) for key in ("inputs", "reset")]
    teachers = members("teachers") if table.teachers else []
    learn = members("learn") if table.learn else []
    for key, many in (("reset", others[1]), ("learn", learn)):
        if len(many) > 1:
            raise config.error(
                ("classroom", key), f"'{getattr(table, key)}' must be one source, not {len(many)}"
            )
    if teachers and len(teachers) != table.classes:
        raise config.error(("classroom", "classes"), f"{table.classes} classes, but {len(teachers)} teachers")
    if teachers and len(readers) < table.classes:
        raise config.error(("classroom", "readers"), f"{len(readers)} readers for {table.classes} classes; "
                           "each class needs one at least")  # fmt: skip
    into = np.isin(network.synapses.post, readers)
    delays = np.unique(network.synapses.delay[into])
    if len(delays) != 1:
        raise config.error(("classroom", "readers"), "all synapses onto the readers must have one delay")
    timing = Timing(steps("slot"), steps("start"), steps("level"), steps("learn_at"), int(delays[0]),
                    table.levels, table.code)  # fmt: skip
    last_input = timing.start + timing.level * (timing.top - 1)
    if timing.learn_at <= last_input:
        raise config.error(("classroom", "learn_at"), "learn_at must come after the last input, "
                           f"{last_input * network.dt_ns / 1e6:g} ms after the slot's begin")  # fmt: skip
    if timing.slot <= timing.learn_at:
        raise config.error(("classroom", "slot"), f"slot must be longer than learn_at, {table.learn_at}")
    ranks = (len(readers) - 1) // table.classes if teachers else 0
    # All who have never learnt can claim a sample in turn, and the last claim is heard before the next RESET.
    least = timing.learn_at + (ranks + 1) * timing.delay
    timing = replace(timing, slot=max(timing.slot, least))
    return Room(
        timing, table.classes, readers, others[0], teachers, learn[0] if learn else None, others[1][0]
    )


def order(samples: Samples, passes: int, seed: int) -> Labels:
    """The training samples in the order shown: each pass a permutation of its own."""
    draw = np.random.RandomState(seed)
    taught = [draw.permutation(samples.train) for _ in range(passes)]
    return np.concatenate([np.empty(0, np.int64), *taught])


def encode(levels: Levels, timing: Timing) -> Steps:
    """(N, D) levels as steps after `start`, -1 where silent."""
    x = levels.astype(np.int64)
    if timing.code == "latency":
        late = timing.top - x
    else:
        present = np.zeros((len(x), timing.top + 2), np.int64)
        np.put_along_axis(present, x, 1, axis=1)
        stronger = present[:, ::-1].cumsum(axis=1)[:, ::-1]
        late = np.take_along_axis(stronger, x + 1, axis=1)
    return np.where(x > 0, late * timing.level, -1)


def spikes(room: Room, samples: Samples, shown: Labels, n_learnt: int) -> dict[int, Steps]:
    """Source → stamps of its spikes, ascending, when `shown[n]` is shown in slot n and the first `n_learnt`
    are learnt from. Stamps begin at 1: nothing is stamped before the first step is over."""
    timing = room.timing
    begin = 1 + np.arange(len(shown), dtype=np.int64) * timing.slot
    times = {room.reset: begin}
    late = encode(samples.levels[shown], timing)
    for value, source in enumerate(room.inputs):
        seen = late[:, value] >= 0
        times[source] = begin[seen] + timing.start + late[seen, value]
    taught = samples.labels[shown[:n_learnt]]
    for kind, source in enumerate(room.teachers):
        times[source] = begin[:n_learnt][taught == kind] + max(1, timing.level // 2)
    if room.learn is not None:
        times[room.learn] = begin[:n_learnt] + timing.learn_at
    return times


def config_for(config: Config, samples: Samples) -> list[str]:
    """What to `--set` so that a config fits data of another size; raises InputError without `[classroom]`."""
    table = config.classroom
    if table is None:
        raise InputError("has no [classroom]; see configs/digits/thirty.toml", config.path)
    wanted = {
        table.inputs: samples.n_inputs,
        **({table.teachers: len(samples.names)} if table.teachers else {}),
    }
    changes = [
        f"sources.{source.id}.count={wanted[source.id]}"
        for source in config.sources
        if not isinstance(source, (Current, Background))
        and wanted.get(source.id, source.count) != source.count
    ]
    if table.classes != len(samples.names):
        changes.append(f"classroom.classes={len(samples.names)}")
    return changes

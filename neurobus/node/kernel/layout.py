"""What a core and its machine code share: one table of numbers and addresses, the operations on it, and the
layout of a state. Python sees a table as `Table`, compiled code as `memory.TABLE`; both are made from
`FIELDS`.

A *step* is a time (steps of dt since the start), a *key* is `step << 32 | neuron`, and a *place* counts from
0 in a queue or an array. All fields are int64. One table and not many objects: with hundreds of processes on
two cores none finds its memory in a cache, and what a duty costs is the memory it touches.
"""

from __future__ import annotations

import ctypes
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

NUMBER = None
"""The kind of a field that is a number, or an address of bytes, of a socket, of a function. The others are
addresses of arrays, and their kind is the type of the elements."""
I64, I32, U8, U64, F64 = np.int64, np.int32, np.uint8, np.uint64, np.float64

_NUMBERS = (
    # the committed state
    "step",  # up to here all is emitted, and cannot be taken back
    "n_keys n_samples n_plan",  # spikes, samples, and planned inputs (changes of current, pokes) that wait
    "at_key at_sample at_plan",  # how far they are used: the place of the first that is not
    "deliveries late",  # synapses at which a spike has acted; inputs that came after they should have acted
    # the last run
    "last n_out n_mv",  # where it ended; spikes and samples put out and not yet taken
    "run_at_key run_at_sample run_at_plan run_deliveries",
    # sizes
    "n_neurons n_states n_receptors n_constants n_noisy",  # noisy: all neurons or 0
    "n_synapses n_gaps n_sources n_watched",  # without memory; junctions and graded synapses; neurons of the
    # whole network; neurons here whose potential is published
    "slots state_size n_own",  # of the input ring, a power of two; numbers of a state; values of `own_line`
    "room_keys room_samples out_steps",  # room for what waits, and for what so many updates put out
    "most_per_step",  # spikes of one neuron in one update
    # what does not change
    "potential",  # which variable of the model is the membrane potential
    "interval",  # steps between two samples of one neuron, at least
    "lag lag_mv",  # a spike is poured in update stamp + lag, the smallest delay - 1; a sample likewise
    "memory owner",  # 1: there are synapses with memory; the model owns its synapses
    "restful looks_ahead",  # 1: without input it may come to rest; it looks ahead
    "own_spikes own_samples",  # 1: what is put out here acts here
    "at_most",  # steps to be committed at a time: after so many, what is put out here may act here
    # the time to come
    "acts nearest",  # emissions at step `nearest`; 0: nothing is emitted before it; TAKEN: it is committed
    "look_out look_mv",  # spikes and samples in `out`, those of the look included
    "look_length far",  # steps; the latest stamp of a stimulus that was told ahead
    "ahead",  # the copy stands at an emission in this step, which can be committed as it is; or -1
    "rest_at rest_deliveries",  # the copy stands at rest from this step on, or -1; so many came on the way
    "resting",  # 1: the committed state is at rest until what waits acts
    "limit",  # nobody wants to know of what lies beyond this step
    # duties and answers
    "duty_number epoch",  # of the last duty carried out; of what is sent
    "seq sample_seq spikes_sent samples_sent",  # spikes and samples sent in this epoch; by compiled code
    "longest_duty",  # bytes of a frame that compiled code may take for a duty; 0: none
    "duty_topic duty_head",  # address of the topic of duties, and its length
    "answer answer_head room_answer",  # address of a frame that begins with its topic; its length; spikes
    # the bus
    "receive data send",  # addresses of zmq_msg_recv, zmq_msg_data, zmq_send
    "message dendrites axon",  # of a zmq_msg_t, and of the sockets
    "clock poll waiting",  # of clock_gettime, of ppoll, of a timespec and two pollfds
    "frame size",  # the frame received last: address, bytes
    "t0_ns dt_ns grace",  # step 0 by the clock on the wall; a step; steps to stay behind the present
    "n_new n_new_mv room_new room_new_mv",  # spikes and samples received and not yet admitted; room for them
    "slot_mask axon_head voice_head",  # of the hash table of streams; lengths of the topics of what is sent
    # the call
    "table model",  # addresses of this table, and of the model's own code
    "result raised",  # numba's convention: what a function hands back, and what it raised
    "served failed",  # what an operation hands back; 0, RAISED or TOO_MANY
)
_ARRAYS = {
    "new new_mv_keys": I64,  # keys of spikes and samples received and not yet admitted
    "new_mv": F64,
    "stream_rows": I64,  # by stream: place and length of its topic, wire index, address of its account
    "stream_slots": I64,  # hash table: rows of streams, -1 for none
    "stream_names axon_frame voice_frame": U8,  # topics of what is heard; frames that begin with those sent
    "keys sample_keys": I64,  # spikes and samples that wait, ascending
    "sample_mv": F64,
    "buffer spare scratch": F64,  # the committed state, the copy that is run ahead, another copy
    "constants": F64,  # (n_constants, K)
    "delta": F64,  # mV by which a potential moves before a sample is published
    "key": U64,  # of the random words of each neuron
    "fired": U8,
    "row": I64,  # the synapses of source s are row[s] … row[s + 1] of `target`, `delay` and `weight`
    "target delay": I32,  # receptor * K + neuron; steps
    "weight": F64,
    "plan_step": I64,  # by planned input: update, 0 a change of current or 1 an input, target, value
    "plan_what": U8,
    "plan_target": I32,
    "plan_value": F64,
    "gap_row": I64,  # gaps that source s acts through: gap_of[gap_row[s] … gap_row[s + 1]]
    "gap_of gap_to": I32,  # gap_to: the neuron
    "gap_at": I64,  # gaps of neuron i: gap_at[i] … gap_at[i + 1]
    "gap_ns gap_mv": F64,  # conductance or weight; reversal potential, nan: none
    "gap_f": F64,  # (5, n_gaps): 0 a junction or 1 + transfer, threshold, slope, start, the partner's peak
    "gap_delta": F64,  # mV by which a line may be off; infinity: the neuron has no junction
    "watched": I32,
    "zero peak": F64,  # mV to be added to the potential; mV that partners see at a spike, nan: the potential
    "noise noise_weight": F64,  # (2, n_noisy): mean of arrivals in an update, exp(-mean)
    "noise_key": U64,
    "index": I64,  # wire index of each neuron
    "out out_sample": I64,  # keys of what is put out
    "out_mv own_constants": F64,  # own_…: of `StatefulSynapses`
    "own_integers": I64,
}
STATE_PARTS = (
    "states", "ring", "electrode", "gap_sum", "sent_mv", "sent_step", "gap_value", "current", "gap_total",
    "sent_slope", "sent_far", "gap_slope", "gap_stamp", "gap_far", "own_line", "synapses",
)  # fmt: skip
"""What a state consists of, in this order: variables (n_states, K); input ring (slots, n_receptors * K);
current of electrodes (pA); sum over graded synapses (nan: to be summed anew); by neuron the sample published
last and its step; by gap what acts through it; the current handed to the model; sum of conductances with a
reversal potential; slope of a neuron's line (mV a step) and for how many steps it holds; of a partner's line
slope, stamp and reach; what partners take each neuron's potential for in the next `n_own` updates; synapses
with memory."""
_OFFSETS = [f"{part}_at" for part in STATE_PARTS[1:]]
"""Bytes from the beginning of a state."""
FIELDS: dict[str, Any] = {name: NUMBER for names in (*_NUMBERS, *_OFFSETS) for name in names.split()}
FIELDS |= {name: kind for names, kind in _ARRAYS.items() for name in names.split()}
"""All that Python and compiled code share: name → kind, in the order in which it stands in a table."""

RESULT_AT, RAISED_AT = (8 * list(FIELDS).index(name) for name in ("result", "raised"))
"""Bytes from the beginning of a table."""

TAKEN = -1
RAISED, TOO_MANY = 1, 2
"""What `failed` may be: the model's code raised an exception; a neuron fired more often in a step than it
may, or more often within two delays than its synapses remember."""
OTHER, OLD, TELL, NOBODY, LONGER = 0, -1, -2, -3, -4
"""What `served` may be. OTHER: a frame that is none of those looked for; nothing was done. OLD: a duty that
was answered before. TELL: the duty was carried out, but its answer is more than spikes. NOBODY: no frame
came in time. LONGER: what was received takes more than one call."""

OPERATIONS = (
    "admit", "admit_samples", "commit", "look", "duty", "foresee", "settle", "converse", "attend",
)  # fmt: skip
"""What Python asks of compiled code: the functions of these names in `lookahead` and `bus_io`."""
ADMIT, ADMIT_SAMPLES, COMMIT, LOOK, DUTY, FORESEE, SETTLE, CONVERSE, ATTEND = range(len(OPERATIONS))
MOST_ARGUMENTS = 4
MODEL_RUN, MODEL_SETTLE = range(2)
"""What the common code asks of a model's own (`codegen.entrance`)."""

NEWS, CONTINUED = 1, 2
"""Bits of a duty: something arrived with it; it is gone on with, after room was made."""

ROOM, AT_A_TIME = 128, 15
FRAME_ROOM = 32 + 18 * AT_A_TIME
"""Spikes, or samples, that `attend` receives before it must react; those in one frame that it reads or writes
(msgpack's short arrays have no more); and bytes of such a frame behind its topic, at most."""

SHORTEST_LOOK, FIRST_LOOK, LONGEST_LOOK = 20, 160, 20_000
"""Steps that a core looks ahead. Four times as far when nothing came before the last look's end, half as
far when something did: where inputs are dense a long look is wasted, where they are rare a wake is (a
wake costs some 100 µs, a step of a look 0.06)."""
FEW_SPIKES, FAR_DELAYS, FARTHEST_LOOK = 16, 8, 1000
"""A duty with more than `FEW_SPIKES` may be a stimulus told ahead; where it reaches farther than `FAR_DELAYS`
smallest delays, a look goes on to its end, but no farther than `FARTHEST_LOOK` steps."""
FARTHEST_LINE = 64
"""Two samples farther apart (steps) than this say nothing of the slope."""


class Table(ctypes.Structure):
    """The table as Python sees it: every number by its name, and arrays by `bind`."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> int: ...

    _fields_ = tuple((name, ctypes.c_int64) for name in FIELDS)

    def __init__(self) -> None:
        super().__init__()
        self.bound: dict[str, npt.NDArray[Any]] = {}
        self.table = ctypes.addressof(self)

    def bind(self, **arrays: npt.NDArray[Any]) -> None:
        """Compiled code works on these from here on. They live as long as they are bound."""
        for name, array in arrays.items():
            assert array.dtype == FIELDS[name] and array.flags.c_contiguous, name
            setattr(self, name, array.ctypes.data)
        self.bound |= arrays

    def put(self, **numbers: int) -> None:
        """Write several numbers."""
        for name, value in numbers.items():
            setattr(self, name, value)


class State:
    """The numbers of a state in a row, `buffer`, and its parts by name: views of it, in the shapes given."""

    def __init__(self, shapes: dict[str, tuple[int, ...]]):
        assert tuple(shapes) == STATE_PARTS
        sizes = [math.prod(shape) for shape in shapes.values()]
        ends = np.cumsum(sizes).tolist()
        self.buffer: npt.NDArray[np.float64] = np.zeros(ends[-1])
        self.first = {part: end - size for part, end, size in zip(shapes, ends, sizes, strict=True)}
        self.part = {
            part: self.buffer[end - size : end].reshape(shape)
            for (part, shape), end, size in zip(shapes.items(), ends, sizes, strict=True)
        }


def synapse_part(buffer: npt.NDArray[np.float64], size: int) -> npt.NDArray[np.float64]:
    """What belongs to synapses with memory in a state as a snapshot has it: the last `size` numbers."""
    return buffer[len(buffer) - size :]

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

_COMMITTED = dict(
    step=NUMBER,  # up to here all is emitted, and cannot be taken back
    n_keys=NUMBER,  # spikes that wait …
    at_key=NUMBER,  # … and how far they are used: the place of the first that is not
    at_plan=NUMBER,
    at_sample=NUMBER,
    deliveries=NUMBER,  # synapses at which a spike has acted
    late=NUMBER,  # spikes, samples and pokes that came after the update in which they should have acted
)
_RUN = dict(
    last=NUMBER,  # the step where the last run ended
    n_out=NUMBER,  # spikes put out and not yet taken, in `out`
    n_mv=NUMBER,  # samples likewise, in `out_sample` and `out_mv`
    run_at_key=NUMBER,  # how far the last run used the queues
    run_at_plan=NUMBER,
    run_at_sample=NUMBER,
    run_deliveries=NUMBER,
)
_SIZES = dict(
    n_neurons=NUMBER,
    n_states=NUMBER,  # variables of the model
    n_receptors=NUMBER,
    slots=NUMBER,  # of the input ring, a power of two
    n_gaps=NUMBER,  # junctions and graded synapses, by their end here
    potential=NUMBER,  # which variable is the membrane potential
    n_synapses=NUMBER,  # without memory
    n_sources=NUMBER,  # neurons of the whole network
    n_watched=NUMBER,  # neurons here whose potential is published
    n_noisy=NUMBER,  # neurons here with background noise: all or 0
    interval=NUMBER,  # steps between two samples of one neuron, at least
    lag=NUMBER,  # a spike is poured in update stamp + lag: the smallest delay - 1
    lag_mv=NUMBER,  # a sample acts in update stamp + lag_mv
    room_keys=NUMBER,
    n_constants=NUMBER,
    n_plan=NUMBER,  # planned inputs: changes of current, and pokes
    n_samples=NUMBER,  # samples that wait
    room_samples=NUMBER,
    out_steps=NUMBER,  # there is room for what so many updates put out
    most_per_step=NUMBER,  # spikes of one neuron in one update
    n_own=NUMBER,  # values to come that are kept of each neuron's own line
    state_size=NUMBER,  # numbers of a whole state
    memory=NUMBER,  # 1: there are synapses with memory
    owner=NUMBER,  # 1: the model owns its synapses
    restful=NUMBER,  # 1: without input it may come to rest
    looks_ahead=NUMBER,
    own_spikes=NUMBER,  # 1: spikes of neurons here act on neurons here
    own_samples=NUMBER,  # 1: so do their potentials
    at_most=NUMBER,  # steps to be committed at a time: after so many, what is put out here may act here
)
_LOOK = dict(
    acts=NUMBER,  # emissions at step `nearest`; 0: nothing is emitted before it; TAKEN: it is committed
    nearest=NUMBER,
    look_out=NUMBER,  # spikes and samples in `out`, those of the look included
    look_mv=NUMBER,
    look_length=NUMBER,  # steps
    far=NUMBER,  # the latest stamp of a stimulus that was told ahead
    ahead=NUMBER,  # the copy stands at an emission in this step, which can be committed as it is; or -1
    rest_at=NUMBER,  # the copy stands at rest from this step on; or -1
    rest_deliveries=NUMBER,  # on the way there
    resting=NUMBER,  # 1: the committed state is at rest until what waits acts
    limit=NUMBER,  # nobody wants to know of what lies beyond this step
)
_DUTIES = dict(
    duty_number=NUMBER,  # of the last duty carried out
    epoch=NUMBER,
    seq=NUMBER,  # spikes sent in this epoch
    sample_seq=NUMBER,
    spikes_sent=NUMBER,  # by compiled code
    samples_sent=NUMBER,
    longest_duty=NUMBER,  # bytes of a frame that compiled code may take for a duty; 0: none
    duty_topic=NUMBER,  # address of the topic of duties, and its length
    duty_head=NUMBER,
    answer=NUMBER,  # address of the frame of an answer, which begins with its topic, and the topic's length
    answer_head=NUMBER,
    room_answer=NUMBER,  # spikes
)
_BUS = dict(
    receive=NUMBER,  # addresses of functions: zmq_msg_recv, zmq_msg_data, zmq_send
    data=NUMBER,
    send=NUMBER,
    message=NUMBER,  # of a zmq_msg_t, and of the sockets
    dendrites=NUMBER,
    axon=NUMBER,
    clock=NUMBER,  # of clock_gettime and ppoll
    poll=NUMBER,
    frame=NUMBER,  # the frame received last: address, bytes
    size=NUMBER,
    t0_ns=NUMBER,  # when step 0 was, by the clock on the wall
    dt_ns=NUMBER,
    grace=NUMBER,  # steps that the committed state stays behind the present
    waiting=NUMBER,  # address of a timespec and two pollfds
    n_new=NUMBER,  # spikes received and not yet admitted
    room_new=NUMBER,
    n_new_mv=NUMBER,  # samples likewise
    room_new_mv=NUMBER,
    slot_mask=NUMBER,  # of the hash table of streams
    axon_head=NUMBER,  # bytes of the topics of spikes and samples sent
    voice_head=NUMBER,
    served=NUMBER,  # what an operation hands back
    table=NUMBER,  # address of this table
    model=NUMBER,  # of the model's own code
    result=NUMBER,  # numba's convention: what a function hands back, and what it raised
    raised=NUMBER,
    failed=NUMBER,  # 0, RAISED or TOO_MANY
)
_ARRAYS = dict(
    new=I64,  # keys of spikes received and not yet admitted
    new_mv_keys=I64,
    new_mv=F64,
    stream_rows=I64,  # by stream: place and length of its topic, wire index, address of its `ledger.Account`
    stream_slots=I64,  # hash table: rows of streams, -1 for none
    stream_names=U8,
    axon_frame=U8,  # frames that begin with the topics of spikes and samples sent
    voice_frame=U8,
    keys=I64,  # spikes that wait, ascending
    buffer=F64,  # the committed state
    spare=F64,  # the copy that is run ahead
    scratch=F64,
    constants=F64,  # (n_constants, K)
    delta=F64,  # mV by which a potential moves before a sample is published
    key=U64,  # of the random words of each neuron
    fired=U8,
    row=I64,  # the synapses of source s are row[s] … row[s + 1] of `target`, `delay` (steps) and `weight`
    target=I32,  # receptor * K + neuron
    delay=I32,
    weight=F64,
    plan_step=I64,  # by planned input: update, 0 a change of current or 1 an input, target, value
    plan_what=U8,
    plan_target=I32,
    plan_value=F64,
    sample_keys=I64,  # samples that wait, ascending
    sample_mv=F64,
    gap_row=I64,  # gaps that source s acts through: gap_of[gap_row[s] … gap_row[s + 1]]
    gap_of=I32,
    gap_at=I64,  # gaps of neuron i: gap_at[i] … gap_at[i + 1]
    gap_ns=F64,  # conductance (nS) or weight
    gap_mv=F64,  # reversal potential; nan: none
    gap_to=I32,
    gap_f=F64,  # (5, n_gaps): 0 a junction or 1 + transfer, threshold, slope, start, the partner's peak
    gap_delta=F64,  # mV by which a line may be off; infinity: the neuron has no junction
    watched=I32,
    zero=F64,  # mV to be added to the potential
    peak=F64,  # mV that partners see at a spike; nan: the potential itself
    noise=F64,  # (2, n_noisy): mean of arrivals in an update, exp(-mean)
    noise_key=U64,
    noise_weight=F64,
    index=I64,  # wire index of each neuron
    out=I64,
    out_sample=I64,
    out_mv=F64,
    own_integers=I64,  # of `Owned`
    own_constants=F64,
)
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
_OFFSETS = {f"{part}_at": NUMBER for part in STATE_PARTS[1:]}  # bytes from the beginning of a state

FIELDS: dict[str, Any] = (
    _COMMITTED | _RUN | _SIZES | _LOOK | _DUTIES | _BUS | _OFFSETS | _ARRAYS
)  # all that Python and compiled code share

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

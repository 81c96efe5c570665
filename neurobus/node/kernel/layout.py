"""The table through which a core and its kernel see the same: int64 scalars, then addresses of arrays."""

from __future__ import annotations

STEP, N_KEYS, AT_KEY, AT_PLAN, AT_SAMPLE, DELIVERIES, LATE = range(7)
"""Scalars that are the committed state: step, spikes that wait, and how far each queue has been used."""
LAST, N_OUT, N_MV, RUN_AT_KEY, RUN_AT_PLAN, RUN_AT_SAMPLE, RUN_DELIVERIES, ACTS = range(8, 16)
"""Scalars that tell of the last run: the step where it ended, what it put out, how far it used the queues,
and, of a look, how many emissions it met."""
(N_NEURONS, N_STATES, N_RECEPTORS, SLOTS, N_GAPS, POTENTIAL, N_SYNAPSES, N_SOURCES, N_WATCHED, N_NOISY,
 INTERVAL, LAG, ROOM_KEYS, N_CONSTANTS, N_PLAN, N_SAMPLES, OUT_STEPS, N_OWNED) = range(16, 34)  # fmt: skip
"""Scalars that are sizes: they change only when the arrays do. N_OWNED: numbers of the state that belong to
synapses with memory."""
(NUMBER, EPOCH, SEQ, SAMPLE_SEQ, LIMIT, LOOK_LENGTH, RESTFUL, HEAD, NEXT, SERVED, N_SERVED) = range(34, 45)
"""Scalars of SERVE: number of the last duty, what an answer tells besides, how far to look, the step before
which nothing more is emitted (0: is it at rest?), the length of the answer or one of the words below, and
spikes in all answers so far."""
LOOK_OUT, LOOK_MV, REST_AT, RESTING, AHEAD, REST_DELIVERIES, NEAREST, FEEDS_ITSELF = range(45, 53)
"""What is known of the time to come. LOOK_OUT, LOOK_MV: what is put out with the look's part. REST_AT: the
copy of the state stands at rest from this step on, and REST_DELIVERIES came on the way; or -1. RESTING: the
committed state is at rest until what waits acts. AHEAD: the copy stands at an emission in this step, which
can be committed as it is; or -1. NEAREST: before this step nothing is emitted. FEEDS_ITSELF: what is emitted
here acts on neurons here."""
PLAIN, SIZE, FRAME, RECEIVE, DATA, SEND, MESSAGE, DENDRITES, AXON, CLOCK, POLL = range(53, 64)
"""Scalars of CONVERSE and ATTEND: how long a duty may be to be served, or 0; size and address of the frame
received; and addresses: of `zmq_msg_recv`, `zmq_msg_data` and `zmq_send`, of a message and of both sockets,
of `clock_gettime` and `ppoll`."""
(T0_NS, DT_NS, GRACE, N_NEW, ROOM_NEW, N_NEW_MV, ROOM_NEW_MV, NEW_MV_KEYS, NEW_MV, ROOM_SAMPLES, N_TOLD,
 SLOT_MASK, AXON_HEAD, VOICE_HEAD, WAITING, HEARD, HEARD_SLOTS, HEARD_NAMES, AXON_FRAME,
 VOICE_FRAME) = range(64, 84)  # fmt: skip
"""Scalars of ATTEND: when step 0 was, the length of a step, how far the committed state stays behind the
present; spikes heard and not yet admitted, and room for them; the same of samples, and addresses of their
keys and mV; room for those that wait; samples sent; of the streams heard a hash table's mask; lengths of the
topics of spikes and samples sent; and addresses: of a timespec (2) and pollfds (2), of the streams as rows
(place and length of the topic, wire index, address of the `neurobus.ledger.Account`), of the hash table
(rows, -1 for none), of the topics, and of frames that begin with the topics of spikes and samples sent."""
TABLE, MODEL, RESULT, RAISED, FAILED, REMEMBERS = range(84, 90)
"""Scalars by which the model's own code is called: addresses of this table and of that code, places for what
it hands back by numba's convention; whether it raised an exception; whether its synapses have memory."""
LAG_MV, N_OWN = range(90, 92)
"""Scalars of junctions: a sample acts in update stamp + LAG_MV; of each neuron's own line, as its partners
hear of it, the N_OWN values to come are kept."""
SCALARS, ARRAYS = 92, 41
"""Places for scalars, and after them for addresses of arrays, in the order of `Core._fill_table`."""
BUFFER, SPARE, GAP_TO, GAP_F, SCRATCH, NEW, GAP_DELTA = 1, 2, 36, 37, 38, 39, 40
"""Places among the arrays of what graded synapses need, of room for one more state, and of how far (mV) a
neuron with junctions lets its line be off; infinity: it has none."""
FARTHEST_LINE = 64
"""Two samples farther apart (steps) than this say nothing of the slope."""

OTHER, OLD, TELL, NOBODY, LONGER = 0, -1, -2, -3, -4
"""OTHER: not a plain duty, nothing was done. OLD: of a number that was answered. TELL: carried out, but the
answer is more than spikes. NOBODY: no frame came in time. LONGER: what was heard takes more than one call."""

RUN, COMMIT, LOOK, REACT, DUE, DUTY, SERVE, CONVERSE, ATTEND, SETTLE, STILL, FIRST = range(12)
"""Operations. RUN: advance the state at address a from step b to c, ended at the first emission if d.
COMMIT: advance the committed state to step a, over a rest if there is one, but no farther than b steps at a
time; SERVED is 0, and that is left to be done, where there is no room for what may be put out.
LOOK: look ahead from the committed state, past step b, no farther than c; a: nothing arrived since the last.
REACT: admit N_NEW spikes and N_NEW_MV samples, commit up to a, look ahead, and if that meets something due by
b, commit it too (ACTS is TAKEN then); nothing new: look on, for an emission or for rest; nobody wants to know
of what lies beyond c. SERVED is 0, and nothing was done, where that takes more than one call.
DUE: commit what the last look saw coming, if it is due by a, no farther than c; SERVED is 0 if it saw none.
DUTY: admit c new spikes at address b, commit up to a, look ahead to d (no farther than a: not at all).
SERVE: carry out the duty in the frame of c bytes at address b, whose topic has a bytes, and write the answer
behind the topic that stands at address d.
CONVERSE: receive frames and SERVE those whose topic, of b bytes, stands at address a, and send each
answer, which is written behind the topic at address d, until a frame is none of these (OTHER, TELL) or none
came for as long as the socket is patient (NOBODY).
ATTEND: until time a, receive spikes and samples and REACT to them as they come, and do what is DUE as time
goes on, until a frame is something else (OTHER), or what was heard takes more than one call (LONGER), or the
end is near.
SETTLE: tell the synapses of the state at a what they can know of at step b, and if c bring them to then.
STILL: ACTS tells whether the copy, which stands at step a with nothing waiting, is a fixed point of the
update, bit for bit. FIRST: SERVED is the first update in which anything that waits can act."""
TAKEN = -1

RAISED_IT, TOO_MANY = 1, 2
"""What FAILED may be: the model's code raised an exception; a neuron fired more often in a step than it may,
or more often within two delays than its synapses remember."""

ROOM, AT_A_TIME = 128, 15
FRAME_ROOM = 32 + 18 * AT_A_TIME
"""Spikes, or samples, that ATTEND hears before it must react; those in one frame that it reads or writes
(msgpack's short arrays have no more); and bytes of such a frame behind its topic, at most."""

SHORTEST_LOOK, FIRST_LOOK, LONGEST_LOOK = 20, 160, 20_000
"""Steps that a core looks ahead. Four times as far when nothing came before the last look's end, half as
far when something did: where inputs are dense a long look is wasted, where they are rare a wake is (a
wake costs some 100 µs, a step of a look 0.06)."""

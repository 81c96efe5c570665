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
NOW, LOOK_OUT, LOOK_MV = range(45, 48)
"""Scalars of REACT: how far the clock on the wall is, and what is put out with the look's part."""
PLAIN, SIZE, FRAME, RECEIVE, DATA, SEND, MESSAGE, DENDRITES, AXON = range(48, 57)
"""Scalars of CONVERSE: how long a duty may be to be served, or 0; size and address of the frame received; and
addresses: of `zmq_msg_recv`, `zmq_msg_data` and `zmq_send`, of a message and of both sockets."""
SCALARS, ARRAYS = 57, 40
"""Places for scalars, and after them for addresses of arrays, in the order of `Core._fill_table`."""
GAP_TO, GAP_F, SCRATCH = 36, 37, 38
"""Places among the arrays of what graded synapses need, and of room for one more state."""

OTHER, OLD, TELL, NOBODY = 0, -1, -2, -3
"""OTHER: not a plain duty, nothing was done. OLD: of a number that was answered. TELL: carried out, but the
answer is more than spikes. NOBODY: no frame came in time."""

RUN, DUTY, SERVE, SETTLE, REACT, AWAKE, STILL, ON, CONVERSE, TAKE = range(10)
"""Operations. RUN: advance the state at address a from step b to c, ended at the first emission if d.
DUTY: admit c new spikes at address b, commit up to a, look ahead to d (no farther than a: not at all).
SERVE: carry out the duty in the frame of c bytes at address b, whose topic has a bytes, and write the answer
behind the topic that stands at address d. SETTLE: tell the synapses of the state at a what they can know of
at step b, and if c bring them to then. REACT: as DUTY; but when the look meets something due by T.NOW, that
is committed too, and T.ACTS is TAKEN. AWAKE: as REACT; but the copy that a look would begin with stands at
rest, from step a on. STILL: T.ACTS tells whether the copy, which stands at step a with nothing waiting, is
a fixed point of the update, bit for bit. ON: nothing is new since the last REACT; look to step a, where the
neuron may be at rest again (T.ACTS is RESTS then), and if it is not, on to b; commit what is due as REACT
does. CONVERSE: receive frames and SERVE those whose topic, of b bytes, stands at address a, and send each
answer, which is written behind the topic at address d, until a frame is none of these (OTHER, TELL) or none
came for c times the socket's patience (NOBODY). TAKE: commit what the last REACT or ON saw coming, if it is
due now."""
TAKEN, RESTS = -1, -2

SHORTEST_LOOK, FIRST_LOOK, LONGEST_LOOK = 20, 160, 20_000
"""Steps that a core looks ahead. Four times as far when nothing came before the last look's end, half as
far when something did: where inputs are dense a long look is wasted, where they are rare a wake is (a
wake costs some 100 µs, a step of a look 0.06)."""

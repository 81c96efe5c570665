"""The classroom in Brian2, in an environment of its own: `python brian_race.py COURSE.npz TARGET`.

The equations of nodes/race.py anew in Brian2's notation; nothing of neurobus is imported. Prints JSON: ms a
sample and the reader that answered each, and writes the weights beside the course. Brian2 lets spikes act
after the thresholds of a step, so a delay of 8 ticks is 7 here.
"""

import json
import sys
import time

import brian2 as b
import numpy as np

given, target = np.load(sys.argv[1], allow_pickle=False), sys.argv[2]
levels, labels, W, warm = given["levels"], given["labels"], given["W"], int(given["warm"])
K, D = W.shape
CLASSES, SLOT, START, LEARN_AT, TICK = 10, 256, 8, 200, 0.125
b.prefs.codegen.target = target
b.defaultclock.dt = TICK * b.ms

readers = b.NeuronGroup(
    K,
    """V : 1
       S : 1
       r : 1
       open : 1
       fired : 1
       inhibited : 1
       mine : 1
       mate : 1
       earlier : 1
       foreign : 1
       word : 1
       square : 1
       by : 1
       fire : 1""",
    threshold="fire > 0",
    reset="",
    events={"opens": "word == 1", "learns": "by != 0"},
)
readers.run_regularly(
    """right = int(mine == 1) * int(earlier == 0) * int(foreign > 0)
       by = int(word == 2) * int(fired >= 0) * (right - int(mine == 0))
       open = open * int(word != 2)
       V = V * int(word != 1)
       S = S * int(word != 1)
       r = r * int(word != 1)
       fired = fired * int(word != 1) - int(word == 1)
       inhibited = inhibited * int(word != 1)
       mine = mine * int(word != 1)
       mate = mate * int(word != 1)
       earlier = earlier * int(word != 1)
       foreign = foreign * int(word != 1)
       V = clip(V + open * int(fired < 0) * int(inhibited == 0) * floor(S / 8), 0, 65535)
       th = clip(12000 + floor(square / 16), 0, 65535)
       fire = open * int(fired < 0) * int(inhibited == 0) * int(V >= th)
       fired = fired + fire * (r + 1)
       r = r + 1""",
    dt=b.defaultclock.dt,
)
readers.fired, readers.square = -1, (W * W).sum(axis=1)


def source(n, at, who):
    return b.SpikeGeneratorGroup(n, np.asarray(who), np.asarray(at) * TICK * b.ms)


n = len(levels)
begin = np.arange(n) * SLOT + 8
slot, value = np.nonzero(levels)
pixels = source(D, begin[slot] + START + 8 * (16 - levels[slot, value].astype(int)) - 1, value)
teachers = source(CLASSES, begin + 3, labels)
learn, reset = source(1, begin + LEARN_AT - 1, np.zeros(n)), source(1, begin - 1, np.zeros(n))

inputs = b.Synapses(
    pixels,
    readers,
    "w : 1\nT : 1",
    on_pre="S_post += open_post * w\nT = open_post * (16 - floor((r_post - 8) / 8)) + (1 - open_post) * T",
    on_post={
        "clears": "T = 0",
        "moves": """by_w = by_post * floor((8 * T - w) / (8 + 8 * int(by_post < 0)))
                    moved = clip(w + by_w, 0, 127)
                    square_post += moved * moved - w * w
                    w = moved""",
    },
    on_event={"clears": "opens", "moves": "learns"},
)
inputs.connect()
inputs.w = W.T.ravel()
taught = b.Synapses(teachers, readers, on_pre="mine_post = 1")
taught.connect("i == j % 10")
learning = b.Synapses(learn, readers, on_pre="word_post = 2")
learning.connect()
opening = b.Synapses(reset, readers, on_pre="word_post = 1\nopen_post = 1")
opening.connect()
done = readers.run_regularly("word = 0", dt=b.defaultclock.dt, when="before_synapses")
foreign = b.Synapses(
    readers,
    readers,
    on_pre="""foreign_post += open_post
              inhibited_post += open_post * int(fired_post < 0) * int(mine_post == 0)""",
    delay=7 * TICK * b.ms,
)
foreign.connect("i % 10 != j % 10")
mates = b.Synapses(
    readers,
    readers,
    on_pre="""mate_post += open_post
              ahead = int(r_post - 8 < fired_post) + int(r_post - 8 == fired_post) * int(i < j)
              before = int(fired_post < 0) + int(fired_post >= 0) * ahead
              earlier_post += open_post * before
              inhibited_post += open_post * int(fired_post < 0)""",
    delay=7 * TICK * b.ms,
)
mates.connect("i % 10 == j % 10 and i != j")
heard = b.SpikeMonitor(readers)
network = b.Network(
    readers, pixels, teachers, learn, reset, inputs, taught, learning, opening, foreign, mates, heard
)
network.run((8 + warm * SLOT) * TICK * b.ms)
since = time.perf_counter()
network.run((n - warm) * SLOT * TICK * b.ms)
spent = time.perf_counter() - since
ticks = np.rint(heard.t / b.ms / TICK).astype(int) - 8
first = [-1] * n
for tick, reader in sorted(zip(ticks.tolist(), np.asarray(heard.i).tolist(), strict=True)):
    if tick >= 0 and first[tick // SLOT] < 0:
        first[tick // SLOT] = reader
np.save(sys.argv[1] + f".{target}.npy", np.asarray(inputs.w).reshape(D, K).T)
print(json.dumps({"ms": 1000 * spent / (n - warm), "first": first}))

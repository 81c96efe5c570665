"""Runge–Kutta–Fehlberg 4(5) with the step control of GSL's `odeiv`: what the models with ODEs share.

    evolve = rkf45(derivatives, D)     once, beside the model; derivatives(y, c, i, I, held): dy/dt, D numbers
    y, t, h = evolve(y, t, dt, h, eps, eps_yp, c, i, I, held)

One call makes one adaptive step of neuron i from t towards dt (never beyond) and says where it came to
and how far to try next; `h` is carried from one call, and one update, to the next (0: try all of dt).
A step whose error exceeds 1.1 (eps + eps_yp |h dy/dt|) in any component is made again, smaller by up to 5;
one below half of it lets the next be larger by up to 5. Same operations in the same order as GSL (and so
NEST), hence the same bits.
"""

from __future__ import annotations

import math

DBL_MIN = 2.2250738585072014e-308

A = (
    (1.0 / 4.0,),
    (3.0 / 32.0, 9.0 / 32.0),
    (1932.0 / 2197.0, -7200.0 / 2197.0, 7296.0 / 2197.0),
    (8341.0 / 4104.0, -32832.0 / 4104.0, 29440.0 / 4104.0, -845.0 / 4104.0),
    (-6080.0 / 20520.0, 41040.0 / 20520.0, -28352.0 / 20520.0, 9295.0 / 20520.0, -5643.0 / 20520.0),
)
"""Fehlberg's tableau: what each stage after the first adds of the slopes before it."""
B = (902880.0 / 7618050.0, 0.0, 3953664.0 / 7618050.0, 3855735.0 / 7618050.0, -1371249.0 / 7618050.0,
     277020.0 / 7618050.0)  # fmt: skip
"""The step itself, of fifth order."""
E = (1.0 / 360.0, 0.0, -128.0 / 4275.0, -2197.0 / 75240.0, 1.0 / 50.0, 2.0 / 55.0)
"""Fifth order less fourth: the error."""

_TEMPLATE = """
def evolve(y0, t, dt, h, eps, eps_yp, c, i, I, held):
    left = dt - t
    if h <= 0.0:
        h = left
    k1 = derivatives(y0, c, i, I, held)
    while True:
        final = h > left
        if final:
            h = left
        k2 = derivatives({stage[0]}, c, i, I, held)
        k3 = derivatives({stage[1]}, c, i, I, held)
        k4 = derivatives({stage[2]}, c, i, I, held)
        k5 = derivatives({stage[3]}, c, i, I, held)
        k6 = derivatives({stage[4]}, c, i, I, held)
        y = {step}
        f = derivatives(y, c, i, I, held) if eps_yp > 0.0 else k1
        worst = DBL_MIN
        for error, slope in zip({error}, f):
            ratio = abs(error) / abs(eps_yp * abs(h * slope) + eps)
            worst = max(worst, ratio if ratio < math.inf else math.inf)
        now = dt if final else t + h
        if worst > 1.1:
            smaller = max(0.9 / math.pow(worst, 1.0 / 5.0), 0.2) * h
            if smaller < h and now + smaller != now:
                h = smaller
                continue
            if worst == math.inf:  # no number at any step: stay, so that time at least goes on
                return y0, dt, 0.0
        elif worst < 0.5:
            h = min(max(0.9 / math.pow(worst, 1.0 / 6.0), 1.0), 5.0) * h
        return y, now, h
"""


def rkf45(derivatives, D):
    """`evolve` for a system of D equations; see the module's docstring.

    Written out for D numbers: a kernel has no memory to allocate for arrays.
    """

    def each(term):
        return "(" + "".join(f"{term(j)}, " for j in range(D)) + ")"

    def slopes(weights, j):
        return " + ".join(f"{w!r} * k{m + 1}[{j}]" for m, w in enumerate(weights) if w)

    text = _TEMPLATE.format(
        stage=[each(lambda j, row=row: f"y0[{j}] + h * ({slopes(row, j)})") for row in A],
        step=each(lambda j: f"y0[{j}] + h * ({slopes(B, j)})"),
        error=each(lambda j: f"h * ({slopes(E, j)})"),
    )
    names = {"derivatives": derivatives, "math": math, "DBL_MIN": DBL_MIN, "__name__": __name__}
    exec(compile(text, __file__, "exec"), names)
    return names["evolve"]

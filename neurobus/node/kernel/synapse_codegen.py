"""The kernel's part for synapses with memory: written for a model and a set of synapse types, then compiled.

It works on `StatefulSynapses`: `integers`, `constants`, and, in the state, behind all that every neuron has,
weights, states of synapses, and what each site remembers: its traces, and a ring of the neuron's last spikes
with the traces right after each. A synapse knows how many of these spikes it was told (`seen`); it is told
the others when it needs to know, or when the ring must make room.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import carray, njit  # type: ignore[attr-defined]

from neurobus.loading import load_synapse
from neurobus.model import Model, Synapse
from neurobus.node.kernel import layout as T
from neurobus.node.kernel.memory import address, view, view2
from neurobus.stateful_synapses import ACTED, CURSORS_AT, DELAYS_AT, HEAD, SIZES, modulators_of

_SIZES = (
    """
    at = address(t.own_integers)
    own_i = carray(t.own_integers, HEAD)
"""
    + "".join(f"    {name} = own_i[{place}]\n" for place, name in enumerate(SIZES))
    + """
    K = t.n_neurons
    delays = view(at + 8 * own_i[DELAYS_AT], n_delays, np.int64)
    cursor = view(at + 8 * own_i[CURSORS_AT], n_delays, np.int64)
"""
)
_WIRING = (
    _SIZES
    + """
    e, n = at + 8 * HEAD, 8 * n_synapses
    own_row = view(e, n_rows, np.int64)
    e += 8 * n_rows
    entry, entry_delay = view(e, n_synapses, np.int64), view(e + n, n_synapses, np.int64)
    receptor, neuron = view(e + 2 * n, n_synapses, np.int64), view(e + 3 * n, n_synapses, np.int64)
    own_site, own_delay = view(e + 4 * n, n_synapses, np.int64), view(e + 5 * n, n_synapses, np.int64)
    e += 6 * n + 8 * n_delays
    site_at = view2(e, n_sites, 2, np.int64)
    e += 16 * n_sites
    sites_of, synapses_of = view(e, K + 1, np.int64), view(e + 8 * K + 8, K + 1, np.int64)
    type_of = view(e + 16 * K + 16, n_sites, np.int64)
"""
)
"""Not slices: numba is long at each of them."""
_STATE = """
    w, z = view(own, n_synapses, np.float64), view2(own + 8 * n_synapses, n_z, n_synapses, np.float64)
"""
_SITES = """
    tic, h = carray(t.own_constants, 2)[0], carray(t.own_constants, 2)[1]
    site_c = view2(address(t.own_constants) + 16, n_sites, n_c, np.float64)
    b = own + 8 * (1 + n_z) * n_synapses
    seen = view(b, n_seen, np.float64)
    b += 8 * n_seen
    traces = view2(b, n_sites, n_g, np.float64)
    b += 8 * n_sites * n_g
    count, told = view(b, n_sites, np.float64), view(b + 8 * n_sites, n_sites, np.float64)
    b += 16 * n_sites
    times = view2(b, n_sites, n_history, np.float64)
    b += 8 * n_sites * n_history
"""
_BEGIN = f"""
def begin(t, k, at_key):
    '''Find how far each delay has got among the keys; returns the first update in which one is due.'''
{_SIZES}
    n_keys = t.n_keys
    keys = carray(t.keys, n_keys)
    own_i[ACTED] = 0
    due = 1 << 40
    for m in range(n_delays):
        q = at_key
        while q < n_keys and (keys[q] >> 32) + delays[m] - 1 < k:
            q += 1
        cursor[m] = q
        if q < n_keys:
            due = min(due, (keys[q] >> 32) + delays[m] - 1)
    return due


def rest_of_keys(t):
    '''Tell the first key that some delay still waits with; returns how many synapses acted.'''
{_SIZES}
    at_key = t.n_keys
    for m in range(n_delays):
        at_key = min(at_key, cursor[m])
    t.run_at_key = at_key
    return own_i[ACTED]
"""
_ACT = f"""
def act(t, own, x_at, state, k):
    '''All that is due in update k; returns the next update in which anything is.'''
{_WIRING}{_STATE}{{sites}}
    n_keys, n_rec = t.n_keys, t.n_receptors
    keys = carray(t.keys, n_keys)
    s = view2(state, t.n_states, K, np.float64)
    c = carray(t.constants, (t.n_constants, K))
    x = view2(x_at, n_rec, K, np.float64)
    due = 1 << 40
    for m in range(n_delays):
        d = delays[m]
        q = cursor[m]
        while q < n_keys and (keys[q] >> 32) + d - 1 <= k:
            stamp = keys[q] >> 32
            source = keys[q] & 0xFFFFFFFF
            lo, hi = own_row[source], own_row[source + 1]
            end = hi
            while hi - lo > 8:
                middle = (lo + hi) // 2
                if entry_delay[middle] < d:
                    lo = middle + 1
                else:
                    hi = middle
            while lo < end and entry_delay[lo] < d:
                lo += 1
            while lo < end and entry_delay[lo] == d:
                j = entry[lo]
                i = neuron[j]
                lo += 1
                own_i[ACTED] += 1
{{arrive}}
            q += 1
        cursor[m] = q
        if q < n_keys:
            due = min(due, (keys[q] >> 32) + d - 1)
    return due
"""
_OWNED_STEP = f"""
def owned_step(t, own, k, s, c, x, I, key, fired):
{_WIRING}{_STATE}
    return step(k, s, c, x, I, key, fired, synapses_of, receptor, w, z)
"""
_CATCH_UP = """
def catch_up_{n}(upto, j, known, n, times, past, n_history, n_g, tic, lag_ms, w, z, c, g):
    '''Tell synapse j of those spikes of its neuron, stamped up to `upto`, that it does not know of.'''
    mask = n_history - 1
    m = n
    while m > known and times[(m - 1) & mask] > upto:
        m -= 1
    for q in range(known, m):
        post_{n}(times[q & mask] * tic * 0.001 + lag_ms, j, w, z, c, g,
                 view(past + 8 * n_g * (q & mask), n_g, np.float64))
    return m
"""
_SETTLE = f"""
def settle(t, own, k, now):
    '''Tell every synapse of the spikes it can know of at step k, and if `now` bring its weight to then.'''
{_WIRING}{_STATE}{_SITES}
    for site in range(n_sites):
        past = b + 8 * n_g * (n_history + 1) * site
        for j in range(site_at[site, 0], site_at[site, 1]):
            d = own_delay[j]
{{settled}}
"""
_FIRE = f"""
def fire(t, own, i, k):
    '''Neuron i has fired at step k.'''
{_WIRING}{_STATE}{_SITES}
    for site in range(sites_of[i], sites_of[i + 1]):
        past = b + 8 * n_g * (n_history + 1) * site
{{fired}}
"""


def compiled(
    name: str, model: type[Model], synapses: tuple[str, ...], jitted: Callable[..., Any]
) -> dict[str, Any]:
    """`begin`, `act`, `owned_step`, `fire`, `settle`, `rest_of_keys`: None what is not needed. `jitted`: of
    `codegen`, which imports this module."""
    scope: dict[str, Any] = {
        "np": np,
        "T": T,
        "carray": carray,
        "address": address,
        "view": view,
        "view2": view2,
    }
    scope |= {"HEAD": HEAD, "ACTED": ACTED, "DELAYS_AT": DELAYS_AT, "CURSORS_AT": CURSORS_AT}
    scope |= dict.fromkeys(("begin", "act", "owned_step", "fire", "settle", "rest_of_keys"))
    if model.arrive is None and not synapses:
        return scope

    def made(text: str) -> None:
        local: dict[str, Any] = {}
        exec(text, scope, local)  # our own text; what models bring are functions in `scope`
        scope.update({key: njit(error_model="numpy")(value) for key, value in local.items()})

    made(_BEGIN)
    if model.arrive is not None:
        scope["arrive"], scope["step"] = jitted(model.arrive), jitted(model.step)
        made(_ACT.format(sites="", arrive=_indented(16, "arrive(k, i, receptor[j], j, w, z, s, c, x)")))
        made(_OWNED_STEP)
        return scope
    kinds = [load_synapse(synapse) for synapse in synapses]
    for n, kind in enumerate(kinds):
        for hook in ("arrive", "fire", "post", "modulate", "until"):
            if getattr(kind, hook) is not None:
                scope[f"{hook}_{n}"] = jitted(getattr(kind, hook))
        if kind.post is not None:
            made(_CATCH_UP.format(n=n))
    made(_ACT.format(sites=_SITES, arrive=_indented(16, _arrive(kinds))))
    fired = "".join(_fired(n, kind) for n, kind in enumerate(kinds))
    if fired:
        made(_FIRE.format(fired=_indented(8, fired)))
    settled = "".join(_settled(n, kind) for n, kind in enumerate(kinds))
    if settled:
        made(_SETTLE.format(settled=_indented(12, settled)))
    return scope


def _lag_ms(kind: type[Synapse]) -> str:
    return "d * h" if kind.dendritic else "0.0"


def _known(n: int, kind: type[Synapse], back: str) -> tuple[str, str]:
    """Text that tells synapse j of spikes up to `back`, and then the traces of the last one before that."""
    if kind.post is None:
        return "", "traces[site]"
    text = f"""
{_catch_up(n, "j", back, "site", _lag_ms(kind))}
y = int(seen[j])
while y > 0 and times[site, (y - 1) & (n_history - 1)] >= {back}:
    y -= 1
y = (y - 1) & (n_history - 1) if y > 0 else n_history
"""
    return text, "view(past + 8 * n_g * y, n_g, np.float64)"


def _settled(n: int, kind: type[Synapse]) -> str:
    """Synapse j at step k: a dendritic one is d behind, and hears of its neuron another d late."""
    back, at = ("k - 2 * d", "k - d") if kind.dendritic else ("k", "k")
    text, y = _known(n, kind, back)
    if kind.until is not None:
        text += f"""
if now and {at} > 0:
    ms = ({at}) * tic * 0.001
    until_{n}(ms, ms - {_lag_ms(kind)}, j, w, z, site_c[site], traces[site], {y})
"""
    return f"if type_of[site] == {n}:\n{_indented(4, text)}\n" if text else ""


def _indented(by: int, text: str) -> str:
    return "\n".join(" " * by + line for line in text.strip("\n").split("\n"))


def _catch_up(n: int, j: str, upto: str, site: str, lag_ms: str) -> str:
    return (
        f"seen[{j}] = catch_up_{n}({upto}, {j}, int(seen[{j}]), int(count[{site}]), times[{site}], past, "
        f"n_history, n_g, tic, {lag_ms}, w, z, site_c[{site}], traces[{site}])"
    )


def _arrive(kinds: list[type[Synapse]]) -> str:
    """A spike at synapse j."""
    heard = modulators_of(kinds)
    text = "site = own_site[j]\n"
    if heard:
        text += "if site < 0:\n    for p in range(sites_of[i], sites_of[i + 1]):\n"
        text += "        past = b + 8 * n_g * (n_history + 1) * p\n"
        text += "".join(_indented(8, _modulate(n, kind, heard)) + "\n" for n, kind in enumerate(kinds))
        text += "    continue\n"
    text += "past = b + 8 * n_g * (n_history + 1) * site\n"
    for n, kind in enumerate(kinds):
        at = "stamp" if kind.dendritic else "(stamp + d)"
        back, back_ms = ("stamp - d", "ms - d * h") if kind.dendritic else ("stamp + d", "ms")
        text += f"if type_of[site] == {n}:\n    ms = {at} * tic * 0.001\n"
        known, y = _known(n, kind, back)
        text += _indented(4, known) if known else ""
        text += f"""
    x[receptor[j], i] += arrive_{n}(ms, {back_ms}, j, w, z, site_c[site], traces[site], {y})
"""
    return text


def _modulate(n: int, kind: type[Synapse], heard: list[str]) -> str:
    """A spike at modulating synapse j: what it does to site p of the neuron."""
    text = ""
    for m, modulator in enumerate(kind.modulators):
        text += f"if type_of[p] == {n} and site == {-1 - heard.index(modulator)}:\n"
        if kind.post is not None:
            text += "    for jj in range(site_at[p, 0], site_at[p, 1]):\n"
            text += f"        {_catch_up(n, 'jj', 'k + 1', 'p', '0.0')}\n"
        text += f"    modulate_{n}({m}, w[j], (k + 1) * tic * 0.001, site_at[p, 0], site_at[p, 1], w, z, "
        text += "site_c[p], traces[p])\n"
    return text or "pass"


def _fired(n: int, kind: type[Synapse]) -> str:
    """The neuron fired at step k: its traces, and an entry in the ring of its last spikes.

    The oldest entry makes room once all synapses know of it. What is older than two delays can be told at
    once, for no spike on its way was sent before it.
    """
    if kind.fire is None and kind.post is None:
        return ""
    text = f"if type_of[site] == {n}:\n"
    if kind.fire is not None:
        text += f"    fire_{n}(k * tic * 0.001, site_c[site], traces[site])\n"
    if kind.post is not None:
        upto = "k - 2 * longest" if kind.dendritic else "k"
        text += f"""
    last = int(count[site])
    if last - told[site] >= n_history - 1:
        for jj in range(site_at[site, 0], site_at[site, 1]):
            d = own_delay[jj]
            {_catch_up(n, "jj", upto, "site", _lag_ms(kind))}
        q = last
        while q > told[site] and times[site, (q - 1) & (n_history - 1)] > {upto}:
            q -= 1
        told[site] = q
        if last - q >= n_history - 1:
            t.failed = T.TOO_MANY
    times[site, last & (n_history - 1)] = k
    now = view(past + 8 * n_g * (last & (n_history - 1)), n_g, np.float64)
    for q in range(n_g):
        now[q] = traces[site, q]
    count[site] = last + 1
"""
    return text

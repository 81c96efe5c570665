"""The hub of the wall clock: ZeroMQ's own proxy, in C, with a tap for observers.

It takes in with SUB and hands out with PUB, not XSUB/XPUB: subscriptions then end at the hub instead of
being sent on to every axon, which with n neurons would be n² messages before the first spike.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import zmq

from neurobus.bus.peer import OBSERVER_HWM, PATIENT_HWM, Endpoints


def serve(endpoints: Endpoints, bound: Callable[[], None], lifeline: Callable[[], None]) -> None:
    """Bind, call `bound`, and forward frames until `lifeline` returns."""
    context = zmq.Context()
    inward, outward, tap = (context.socket(kind) for kind in (zmq.SUB, zmq.PUB, zmq.PUB))
    inward.setsockopt(zmq.RCVHWM, PATIENT_HWM)
    outward.setsockopt(zmq.SNDHWM, PATIENT_HWM)
    tap.setsockopt(zmq.SNDHWM, OBSERVER_HWM)
    inward.subscribe(b"")
    for socket, endpoint in ((inward, endpoints.inward), (outward, endpoints.outward), (tap, endpoints.tap)):
        socket.setsockopt(zmq.LINGER, 0)
        socket.bind(endpoint)
    threading.Thread(target=_forward, args=(inward, outward, tap), daemon=True).start()
    bound()
    lifeline()


def _forward(inward: zmq.Socket[bytes], outward: zmq.Socket[bytes], tap: zmq.Socket[bytes]) -> None:
    zmq.proxy(inward, outward, tap)

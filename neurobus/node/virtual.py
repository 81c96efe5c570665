"""A process under the virtual clock: it sleeps until the conductor sends a duty, and answers it."""

from __future__ import annotations

from neurobus.node.core import Core
from neurobus.node.interface import NOTHING, Emission
from neurobus.node.kernel import layout as T
from neurobus.node.process import Process
from neurobus.wire import bus as wire
from neurobus.wire import verbs
from neurobus.wire.bus import NEVER, Order
from neurobus.wire.message import Control, ControlMessage

PLAIN_MS = 500
"""As `LINGER_MS` while all duties are plain and nothing else is waited for: with a thousand processes a round
takes 100 ms, and to look up five times meanwhile costs as much as the duty."""


class VirtualProcess(Process):
    _patient = False

    def _open(self) -> None:
        self._duty_topic = wire.topic(wire.DUTY, self.role.name)

    def _inputs(self) -> list[bytes]:
        return [self._duty_topic]

    def _bind(self) -> None:
        if self._lines is not None and isinstance(self.core, Core):
            self.core.bind_duties(self._duty_topic, self._lines)

    # -- frames -----------------------------------------------------------------------------------

    def _readable(self) -> None:
        if not self._joined:
            self.hear()
        elif self._lines is not None and isinstance(self.core, Core):
            self._converse()
        elif not self._done.is_set():
            self.bus.converse(self._handle)

    def _converse(self) -> None:
        """As `Peer.converse`, but plain duties never leave the kernel."""
        while not self._done.is_set() and isinstance(core := self.core, Core):
            plain = self.role.single and not self.lease.active
            if plain != self._patient:
                self._patient = plain
                self.bus.patience(PLAIN_MS if plain else self.LINGER_MS)
            outcome = core.converse(plain)
            if outcome == T.NOBODY:
                return
            if outcome == T.TELL:
                emission, next_step = core.served()
                self.outbox.book(emission)
                self.outbox.answer(core.duty_number, next_step, emission)
            else:
                self._handle(core.frame())

    def _frame(self, data: bytes) -> None:
        if data[:1] == wire.DUTY:
            self._do(wire.read_duty(data[len(self._duty_topic) :]))
            return
        event = wire.decode(data)
        if isinstance(event, Control):
            self._control(event.message)

    def _control(self, message: ControlMessage) -> None:
        if isinstance(message, verbs.Start):
            self.core.limit = NEVER if message.stop_step is None else message.stop_step
        else:
            super()._control(message)

    # -- duties -------------------------------------------------------------------------------------

    def _do(self, duty: wire.Duty) -> None:
        """A duty that compiled code has left: inputs, run, answer."""
        core, order = self.core, duty.order
        if duty.number <= core.duty_number:
            return
        core.duty_number = duty.number
        emission, next_step = core.duty(*duty[1:6])
        if order is not None:
            emission = self._order(order, emission)
            next_step = NEVER if order is Order.STOP else next_step
        self.outbox.book(emission)
        if self.lease.active:
            self.lease.duty_done(duty.number, next_step, emission, duty.keys, duty.stimuli)
        else:
            self.outbox.answer(duty.number, next_step, emission)
        if order is Order.STOP:
            self._report_final({}, {})

    def _order(self, order: Order, emission: Emission) -> Emission:
        """The extra word of a duty. Returns what is to be emitted."""
        if order is Order.CATCH_UP:
            return NOTHING
        if order is Order.SNAPSHOT and self.role.snapshots is not None:
            self.save(self.state())
        elif order is Order.RECORD:
            self._report_recorded()
        return emission

    # -- time: it stands where the last duty ended, and nothing is heard but duties -----------------------

    @property
    def started(self) -> bool:
        return self.core.duty_number & wire.COUNT_MASK > 0

    def step(self) -> int:
        return self.core.k

    def time_of(self, step: int) -> float:
        return self.loop.time()

    def hear(self) -> None:
        while (data := self.bus.receive()) is not None:
            self._handle(data)

    def take_in(self) -> None:
        pass

    def settle(self) -> None:
        pass

    def commit(self, step: int) -> None:
        self.core.advance(step)

    def act(self) -> None:
        pass

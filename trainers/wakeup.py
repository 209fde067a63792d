"""Signals heard beside the main thread: Python's handlers wait until the call that it is in returns."""

import os
import signal
import socket
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from threading import Event, Thread


class Wakeup:
    """Calls `second(number, self)`, in a thread of its own, at a second signal that is no echo of the first.

    The interpreter writes each signal's number into a socket as it comes (`signal.set_wakeup_fd`), whatever Python is
    doing; a thread reads them. A call that holds the interpreter's lock keeps that thread waiting as well.
    """

    def __init__(self, numbers: Collection[int], echo_s: float, second: "Callable[[int, Wakeup], None]") -> None:
        self._numbers, self._echo_s, self._second = numbers, echo_s, second
        self._closed = Event()
        self._ear, mouth = socket.socketpair()
        mouth.setblocking(False)
        self._mouth = mouth
        self._before = signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)
        Thread(target=self._listen, daemon=True, name="signals").start()

    @property
    def closed(self) -> bool:
        """Whether nobody is to be ended any more."""
        return self._closed.is_set()

    def wait(self, seconds: float) -> None:
        """Until it is closed, at most so long."""
        self._closed.wait(seconds)

    def close(self) -> None:
        """Hear no more. On the main thread."""
        signal.set_wakeup_fd(self._before)
        self._closed.set()
        self._mouth.close()

    def _listen(self) -> None:
        first: float | None = None
        with self._ear:
            while heard := self._ear.recv(64):
                now = time.monotonic()
                for number in heard:
                    if number not in self._numbers:
                        continue
                    if first is None:
                        first = now
                    elif now - first >= self._echo_s:
                        self._second(number, self)
                        return


def _deaf() -> None:
    """A forked process has its own signals: a pool that ends its workers is no signal to the run."""
    with suppress(ValueError):
        signal.set_wakeup_fd(-1)


os.register_at_fork(after_in_child=_deaf)

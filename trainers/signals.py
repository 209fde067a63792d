"""SIGINT, SIGTERM and SIGUSR1 (a scheduler's notice): finish the step, save a checkpoint, end with its code."""

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from threading import Thread
from types import FrameType
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from eval_hooks import CheckpointEval
from eval_hooks.ranks import highest
from trainers import announce
from trainers.wakeup import Wakeup

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGUSR1: 143}
ECHO_S = 3.0
"""Further signals within that time are the first one's echoes: a launcher passes on what its whole group has got."""
GRACE_S, CLEANUP_S = 5.0, 60.0
"""From a second signal to the end of the process: where the main thread is inside one call, and where it is ending."""
LAST_WORDS_S = 2.0


class StopOnSignal(TrainerCallback):
    """After the step in which a signal reaches any rank, all ranks save and stop; what is being measured is left out.

    It is measured first when the run is resumed. A second signal some seconds later stops at once, also where the main
    thread is inside a call that does not return; `at_once` is then told the exit code, for status.json. Before the
    first step signals do what they always do: there is nothing to save.
    """

    def __init__(self, measure: CheckpointEval) -> None:
        self.measure = measure
        self.at_once: Callable[[int], object] = int
        self.code = 0
        """Exit code of the signal that stopped the run; 0: none did."""
        self._arrived, self._since = 0, 0.0
        self.started = False
        """Whether the first step has begun: what fails before it is the request's fault, not the run's."""
        self._before: dict[int, Any] = {}
        self._wakeup: Wakeup | None = None
        self._ending = False
        """Whether the main thread has heard of the second signal."""

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take the signals over at the first step."""
        self.started = True
        if not self._before:
            self._before = {number: signal.signal(number, self._note) for number in CODES}
            self._wakeup = Wakeup(CODES, ECHO_S, self._end)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Save and stop, where a signal has come; a rank that it reaches later takes it for an echo."""
        self.code = highest(self._arrived, args.device)
        if self.code:
            if not self._arrived:
                self._arrived, self._since = self.code, time.monotonic()
            control.should_save = control.should_training_stop = self.measure.abandoned = True

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """A signal during the last evaluation: all is trained and saved, but not measured."""
        self.code = highest(max(self.code, self._arrived), args.device)

    def give_back(self) -> None:
        """Let signals do again what they did before the first step."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
        if self._wakeup:
            self._wakeup.close()
            self._wakeup = None

    def _note(self, number: int, frame: FrameType | None) -> None:
        name, first = signal.Signals(number).name, not self._arrived
        if not first and time.monotonic() - self._since < ECHO_S:
            return
        self._arrived, self.measure.abandoned = CODES[signal.Signals(number)], True
        if first:
            self._since = time.monotonic()
            announce(f"{name}: a checkpoint is saved after this step; another one after {ECHO_S:.0f} s ends it at once")
            return
        self.code, self._ending = self._arrived, True
        announce(f"{name}: the run ends at once; --resume goes on from its newest checkpoint")
        raise KeyboardInterrupt

    def _end(self, number: int, wakeup: Wakeup) -> None:
        """End the process, from a thread of its own, unless the main thread does."""
        wakeup.wait(GRACE_S)
        if self._ending:
            wakeup.wait(CLEANUP_S)
        if wakeup.closed:
            return
        code = self._arrived or CODES[signal.Signals(number)]
        words = Thread(target=partial(self._last_words, number, code), daemon=True)
        words.start()  # what the main thread holds may keep it for ever, too
        words.join(LAST_WORDS_S)
        os._exit(code)

    def _last_words(self, number: int, code: int) -> None:
        name = signal.Signals(number).name
        announce(f"{name}: ended inside a call that does not return; --resume goes on from the newest checkpoint")
        self.at_once(code)

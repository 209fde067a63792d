"""SIGINT, SIGTERM and SIGUSR1 (a scheduler's notice): finish the step, save a checkpoint, end with its code."""

import signal
import time
from types import FrameType
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from eval_hooks import CheckpointEval
from eval_hooks.ranks import highest
from trainers import announce

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGUSR1: 143}
ECHO_S = 3.0
"""Further signals within that time are the first one's echoes: a launcher passes on what its whole group has got."""


class StopOnSignal(TrainerCallback):
    """After the step in which a signal reaches any rank, all ranks save and stop; what is being measured is left out.

    It is measured first when the run is resumed. A second signal some seconds later stops at once. Before the first
    step signals do what they always do: there is nothing to save.
    """

    def __init__(self, measure: CheckpointEval) -> None:
        self.measure = measure
        self.code = 0
        """Exit code of the signal that stopped the run; 0: none did."""
        self._arrived, self._since = 0, 0.0
        self.started = False
        """Whether the first step has begun: what fails before it is the request's fault, not the run's."""
        self._before: dict[int, Any] = {}

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take the signals over at the first step."""
        self.started = True
        if not self._before:
            self._before = {number: signal.signal(number, self._note) for number in CODES}

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

    def _note(self, number: int, frame: FrameType | None) -> None:
        name, first = signal.Signals(number).name, not self._arrived
        if not first and time.monotonic() - self._since < ECHO_S:
            return
        self._arrived, self.measure.abandoned = CODES[signal.Signals(number)], True
        if first:
            self._since = time.monotonic()
            announce(f"{name}: a checkpoint is saved after this step; another one after {ECHO_S:.0f} s ends it at once")
            return
        self.code = self._arrived
        announce(f"{name}: the run ends at once; --resume goes on from its newest checkpoint")
        raise KeyboardInterrupt

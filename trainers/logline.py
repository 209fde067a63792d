"""One ordinary line a logged step: how far, loss, learning rate, speed, memory, time left."""

import time
from collections.abc import Mapping
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from eval_hooks.evaluate import half_precision
from trainers import announce
from trainers.screen import attempt
from trainers.world import world_size

PEAKS: dict[str, float] = {
    "GB300": 2500e12,
    "GB200": 2500e12,
    "B300": 2250e12,
    "B200": 2250e12,
    "B100": 1750e12,
    "GH200": 989e12,
    "H200 NVL": 835e12,
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "H800 PCIe": 756e12,
    "H800": 989e12,
    "H20": 148e12,
    "A100": 312e12,
    "A800": 312e12,
    "A40": 149.7e12,
    "A30": 165e12,
    "A10G": 70e12,
    "A10": 125e12,
    "L40S": 362e12,
    "L40": 181e12,
    "L20": 119.5e12,
    "L4": 121e12,
    "RTX 6000 Ada": 364e12,
    "RTX A6000": 154.8e12,
    "RTX 5090": 209.5e12,
    "RTX 5080": 112.6e12,
    "RTX 4090": 165.2e12,
    "RTX 3090 Ti": 80e12,
    "RTX 3090": 71e12,
    "MI355X": 2517e12,
    "MI350X": 2307e12,
    "MI325X": 1307e12,
    "MI300X": 1307e12,
    "MI300A": 981e12,
    "MI250X": 191.5e12,
    "MI250": 181e12,
    "MI210": 181e12,
}
"""Dense bf16 operations a second with fp32 sums, by a part of the name that torch gives the card.

From the makers' data sheets. NVIDIA's for data centres give twice as much, with sparsity (H100: 1,979 TFLOPS), and some
for 8 or 72 cards together (HGX B200 and B300: 36 PFLOPS; GB200 and GB300 NVL72: 360); for GeForce its architecture
white papers have it. AMD's are Instinct's; an MI250X or MI250 is two devices, each half of the card's 383 or 362.
"""
OTHERS = ("Laptop", "MIG", "D", "Ti", "SUPER", "Max")
"""Words after a name that make it a smaller card, or a slice of one, whose peak is not the name's."""
GIB = 2**30


def peak_of(name: str) -> float | None:
    """A card's peak, by the longest name in the table that is part of its own; None for an unknown one."""
    words = f" {name.replace('-', ' ')} "
    for key in sorted(PEAKS, key=len, reverse=True):
        _, found, after = words.partition(f" {key} ")
        if found:
            return None if set(after.split()) & set(OTHERS) else PEAKS[key]
    return None


def utilisation(tokens_s: float, trained: int, total: int, peak: float, ranks: int) -> float:
    """Model FLOPs utilisation: the share of the cards' peak that the model's own arithmetic takes.

    A token costs 2 operations a parameter forwards, 2 backwards through all of them, and 2 for the gradient of each
    trained one: 6 N where all are trained (Chowdhery et al. 2022, arXiv:2204.02311, appendix B, without attention's own
    share). What activation checkpointing computes again does not count.
    """
    return tokens_s * (4 * total + 2 * trained) / (peak * ranks)


class LogLine(TrainerCallback):
    """Prints what the Trainer logs of training, in place of its dictionary and its bar.

    Speed counts training only; evaluations and saving count for the time left.
    """

    def __init__(self, trained: int, total: int) -> None:
        self.trained, self.total = trained, total
        """Parameters."""
        self._begun = self._step_begun = 0.0
        self._first = 0
        self._busy_s = 0.0
        self._last_step, self._last_tokens = 0, 0.0

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clocks."""
        self._step_begun = time.monotonic()
        if not self._begun:
            self._begun, self._first, self._last_step = self._step_begun, state.global_step, state.global_step

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Stop the one of training."""
        self._busy_s += time.monotonic() - self._step_begun

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """The line; nothing for the summary at the end, which has no loss."""
        if logs and "loss" in logs:
            attempt("the step", lambda: announce("  ".join(self._parts(args, state, logs))))

    def _parts(self, args: TrainingArguments, state: TrainerState, logs: Mapping[str, Any]) -> list[str]:
        parts = [f"step {state.global_step}/{state.max_steps}", f"loss {logs['loss']:.4f}"]
        if "learning_rate" in logs:
            parts.append(f"lr {logs['learning_rate']:.2e}")
        parts += [*self._speed(args, state, logs), f"{memory_gib(args):.1f} GiB"]
        done, left = state.global_step - self._first, state.max_steps - state.global_step
        if done:
            parts.append(f"left {clock((time.monotonic() - self._begun) / done * left)}")
        return parts

    def _speed(self, args: TrainingArguments, state: TrainerState, logs: Mapping[str, Any]) -> list[str]:
        """Tokens a second over all ranks, and what that is of the cards' peak; rows where nobody counts tokens."""
        seconds, steps = max(self._busy_s, 1e-9), state.global_step - self._last_step
        self._busy_s, self._last_step = 0.0, state.global_step
        rows = steps * rows_a_step(args)
        seen = float(logs.get("num_tokens") or state.num_input_tokens_seen or 0)
        tokens, self._last_tokens = seen - self._last_tokens, seen
        if tokens <= 0 or tokens == seen and self._first:  # a resumed run's count may begin anywhere
            return [f"{rows / seconds:.2f} rows/s"]
        parts = [f"{tokens / seconds:,.0f} tokens/s"]
        peak = card_peak(args)
        if peak:
            share = utilisation(tokens / seconds, self.trained, self.total, peak, world_size())
            parts.append(f"MFU {share:.1%}")
        return parts


def rows_a_step(args: TrainingArguments) -> int:
    """Of all ranks together; those that share a row (`parallelism_config.sp_size`) have it between them."""
    shared = getattr(args.parallelism_config, "sp_size", 1)
    return args.per_device_train_batch_size * args.gradient_accumulation_steps * world_size() // shared


def card_peak(args: TrainingArguments) -> float | None:
    """The peak of the card in use for 16-bit arithmetic; None on a CPU, in fp32, or for a card not in the table."""
    import torch

    if args.device.type != "cuda" or half_precision(args) is None:
        return None
    return peak_of(torch.cuda.get_device_name(args.device))


def memory_gib(args: TrainingArguments) -> float:
    """The most this rank has taken: of its card's memory, or of the machine's on a CPU."""
    import resource

    import torch

    if args.device.type == "cuda":
        return torch.cuda.max_memory_reserved(args.device) / GIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB


def clock(seconds: float) -> str:
    """Hours, minutes, seconds: `1:02:03`."""
    minutes, second = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{second:02d}"

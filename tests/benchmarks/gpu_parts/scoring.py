"""Items of MMLU's size through our scorer, timed."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from eval_hooks.encode import Encoded
from eval_hooks.scoring.options import score
from tests.benchmarks.gpu_parts.mmlu_lengths import Subject, subjects
from tests.benchmarks.gpu_parts.row import Numbers
from tests.benchmarks.gpu_parts.shapes import TOKENIZER_SIZE, Scale
from tests.benchmarks.gpu_parts.training import peak_gib, reset_peak, synchronize
from trainers.logline import peak_of


def scored(
    model: Any,
    scale: Scale,
    batch_tokens: int | None = None,
    inside: Callable[[Any], AbstractContextManager[None]] = nullcontext,
) -> Numbers:
    """Subjects one by one until the time is up; without `batch_tokens` passes are as large as they are by default there.

    Seconds for all are in proportion to tokens: subjects share nothing, so each costs what it costs among all.
    """
    words = {} if batch_tokens is None else {"batch_tokens": batch_tokens}
    todo = [(one, one.drawn(TOKENIZER_SIZE, scale.items)) for one in subjects()[: scale.subjects]]
    done, passes = Done(), list[int]()
    with inside(model):
        _, longest = max(todo, key=lambda one: max(item.tokens for item in one[1]))
        score(model, sorted(longest, key=lambda item: item.tokens)[-4:], **words)  # the model is tried at that length
        reset_peak()
        with counted(model, passes):
            begin = time.perf_counter()
            for subject, items in todo:
                score(model, items, **words)
                synchronize()
                done.add(subject, items, time.perf_counter() - begin)
                if done.seconds > scale.seconds:
                    break
    return numbers_of(done, passes, model)


@dataclass(kw_only=True)
class Done:
    """What was scored so far."""

    items: int = 0
    tokens: int = 0
    """That had to be run, whatever is shared."""
    seconds: float = 0.0

    def add(self, subject: Subject, items: Sequence[Encoded], seconds: float) -> None:
        """A subject's items; it was so late when they were."""
        self.items += len(items)
        self.tokens += subject.beginning + sum(len(item.shared) - subject.beginning for item in items)
        self.seconds = seconds


def numbers_of(done: Done, passes: Sequence[int], model: Any) -> Numbers:
    """Speed, and what all items take at it."""
    every = subjects()
    of, whole = sum(subject.items for subject in every), sum(subject.tokens for subject in every)
    flops = 2 * sum(parameter.numel() for parameter in model.parameters()) * done.tokens / done.seconds
    peak = card_peak(model)
    return {
        "items": done.items,
        "s": done.seconds,
        "items/s": done.items / done.seconds,
        f"s for {of:,}": done.seconds * whole / done.tokens,
        "of all tokens": "measured whole" if done.items == of else f"extrapolated from {done.tokens / whole:.1%}",
        "tokens run / needed": sum(passes) / done.tokens,
        "largest pass": max(passes),
        "model TFLOP/s": flops / 1e12,
        "MFU": peak and flops / peak,
        "peak GiB": peak_gib(model.device),
    }


def card_peak(model: Any) -> float | None:
    """The peak of the card that a 16-bit model is on."""
    import torch

    if model.device.type != "cuda" or model.dtype not in (torch.bfloat16, torch.float16):
        return None
    return peak_of(torch.cuda.get_device_name(model.device))


@contextmanager
def counted(model: Any, passes: list[int]) -> Iterator[None]:
    """Inside, the tokens of each call of the model are noted."""
    hook = model.register_forward_pre_hook(
        lambda module, args, kwargs: passes.append((args[0] if args else kwargs["input_ids"]).numel()),
        with_kwargs=True,
    )
    try:
        yield
    finally:
        hook.remove()

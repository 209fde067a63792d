"""A learning rate that is lowered stays so: every scheduler of torch, transformers and DeepSpeed against its twin."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from deepspeed.runtime import lr_schedules as deepspeed
from torch.optim import lr_scheduler as ours
from transformers import get_scheduler

from eval_hooks.control.rate import slow, slow_again

STEPS, AT, FACTOR = 24, 9, 0.5
Make = Callable[[torch.optim.Optimizer], Any]


def sequential(optimizer: torch.optim.Optimizer) -> Any:
    parts = [ours.LinearLR(optimizer, 0.1, total_iters=5), ours.CosineAnnealingLR(optimizer, 30, eta_min=0.01)]
    return ours.SequentialLR(optimizer, parts, milestones=[5])


def chained(optimizer: torch.optim.Optimizer) -> Any:
    return ours.ChainedScheduler([ours.ConstantLR(optimizer, 0.5, total_iters=4), ours.ExponentialLR(optimizer, 0.9)])


SCHEDULERS: dict[str, Make] = {
    "linear": lambda o: get_scheduler("linear", o, num_warmup_steps=4, num_training_steps=30),
    "cosine": lambda o: get_scheduler("cosine", o, num_warmup_steps=4, num_training_steps=30),
    "cosine_with_min_lr": lambda o: get_scheduler(
        "cosine_with_min_lr", o, num_warmup_steps=4, num_training_steps=30, scheduler_specific_kwargs={"min_lr": 0.01}
    ),
    "step": lambda o: ours.StepLR(o, 4),
    "exponential": lambda o: ours.ExponentialLR(o, 0.9),
    "multiplicative": lambda o: ours.MultiplicativeLR(o, lambda step: 0.95),
    "cosine of torch": lambda o: ours.CosineAnnealingLR(o, 30, eta_min=0.01),
    "warm restarts": lambda o: ours.CosineAnnealingWarmRestarts(o, 7, eta_min=0.01),
    "polynomial": lambda o: ours.PolynomialLR(o, 30),
    "cyclic": lambda o: ours.CyclicLR(o, 0.01, 0.2, step_size_up=4, cycle_momentum=False),
    "one cycle": lambda o: ours.OneCycleLR(o, 0.2, total_steps=30, cycle_momentum=False),
    "sequential": sequential,
    "chained": chained,
    "WarmupLR": lambda o: deepspeed.WarmupLR(o, 0.01, 0.1, 12),
    "WarmupDecayLR": lambda o: deepspeed.WarmupDecayLR(o, 30, 0.01, 0.1, 4),
    "WarmupCosineLR": lambda o: deepspeed.WarmupCosineLR(o, 30, warmup_num_steps=4),
    "OneCycle": lambda o: deepspeed.OneCycle(o, 0.01, 0.2, cycle_first_step_size=6, cycle_momentum=False),
    "LRRangeTest": lambda o: deepspeed.LRRangeTest(o, 0.01, 5, 2.0),
}


def made(make: Make) -> tuple[torch.optim.Optimizer, Any]:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([{"params": [weight]}, {"params": [torch.nn.Parameter(torch.zeros(2))]}], lr=0.1)
    return optimizer, make(optimizer)


def walk(optimizer: torch.optim.Optimizer, scheduler: Any, steps: int) -> list[list[float]]:
    """Rates that the steps are taken with."""
    found = []
    for _ in range(steps):
        found.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_rate_after_it_is_that_of_the_twin_times_the_factor(name: str) -> None:
    twin = walk(*made(SCHEDULERS[name]), STEPS)
    optimizer, scheduler = made(SCHEDULERS[name])
    before = walk(optimizer, scheduler, AT)
    slow(optimizer, scheduler, FACTOR)
    shown = scheduler.get_last_lr() if hasattr(scheduler, "_last_lr") else []
    assert shown in ([], pytest.approx([group["lr"] for group in optimizer.param_groups]))
    after = walk(optimizer, scheduler, STEPS - AT)
    assert before == [pytest.approx(rates) for rates in twin[:AT]]
    assert after == [pytest.approx([FACTOR * rate for rate in rates], rel=1e-9) for rates in twin[AT:]]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_run_that_goes_on_from_a_checkpoint_is_as_slow(name: str) -> None:
    """Slowed twice, saved, loaded into a fresh pair, and gone on."""
    optimizer, scheduler = made(SCHEDULERS[name])
    walk(optimizer, scheduler, 3)
    slow(optimizer, scheduler, FACTOR)
    walk(optimizer, scheduler, AT - 3)
    slow(optimizer, scheduler, FACTOR)
    saved = optimizer.state_dict(), scheduler.state_dict()
    unbroken = walk(optimizer, scheduler, STEPS - AT)
    fresh, again = made(SCHEDULERS[name])
    fresh.load_state_dict(saved[0])
    again.load_state_dict(saved[1])
    slow_again(again, FACTOR**2)
    assert walk(fresh, again, STEPS - AT) == [pytest.approx(rates, rel=1e-9) for rates in unbroken]


@pytest.mark.filterwarnings("ignore")
def test_a_plateau_goes_down_from_the_lower_rate() -> None:
    optimizer, scheduler = made(lambda o: ours.ReduceLROnPlateau(o, factor=0.1, patience=0, min_lr=0.02))
    slow(optimizer, scheduler, FACTOR)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.05)
    for metric in (1.0, 1.0, 1.0):
        scheduler.step(metric)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01), "its floor is half as high too"

"""Small recipes and small tables for the tests of loading."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Literal

import pytest

from data_mix.catalog import Source
from data_mix.forms import FORMS
from eval_hooks.catalog import Task
from launch.recipes import deepspeed_configs
from launch.tables import Tables
from trainers.catalog import Stage
from trainers.method import Method, NoOptions
from trainers.rlvr.verdict import Verifier, right

WHOLE = """\
stage: sft
model: {path: some/model}
method: {name: margin, gamma: 0.5}
data:
  train:
    - {source: numbers, n: 10}
train: {max_steps: 60}
eval:
  every: 30
  target: [{task: sums, n: 5}]
  retain: [{task: quiz, shots: 0}]
"""


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """A source's settings."""

    n: int = 5
    """Rows."""
    seed: int = 0
    split: Literal["train", "test"] = "train"
    path: str | None = None

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"n must be above 0, got {self.n}")


@dataclass(frozen=True, kw_only=True)
class Margin:
    """A method's hyperparameters."""

    beta: float = 2.0
    """Scale of the margin."""
    gamma: float = 0.5
    """Margin the chosen answer must win by."""

    def __post_init__(self) -> None:
        if self.beta <= 0:
            raise ValueError(f"beta must be above 0, got {self.beta}")


@dataclass(kw_only=True)
class Arguments:
    """A stage's arguments, in miniature; not frozen, as TRL's are not."""

    output_dir: str | None = None
    max_steps: int = -1
    learning_rate: float = 2e-5
    gradient_accumulation_steps: int = 1
    per_device_train_batch_size: int = 8
    packing: bool = False
    max_length: int | None = 1024
    eval_strategy: str = "no"
    report_to: str = "none"
    run_name: str | None = None
    deepspeed: str | None = None


def rows(cfg: Numbers, rng: Random) -> Iterator[dict[str, Any]]:
    """N rows."""
    return ({"text": str(rng.random())} for _ in range(cfg.n))


@pytest.fixture
def tables() -> Tables:
    """Two stages, three methods, one source, two tasks."""

    def stage() -> Stage:
        return Stage(about="", arguments=lambda: Arguments, trainer=object, form=FORMS["text"], default_method="plain")

    return Tables(
        stages={"sft": stage(), "dpo": stage()},
        methods={
            "plain": Method(stage="sft", config=NoOptions, about="plain"),
            "margin": Method(stage="sft", config=Margin, about="a margin"),
            "pairs": Method(stage="dpo", config=NoOptions, about="pairs"),
        },
        sources={"numbers": Source(config=Numbers, rows=rows, about="numbers")},
        tasks={
            "quiz": Task(kind="choice", about="a quiz"),
            "sums": Task(kind="generate", about="sums", source="numbers"),
        },
        verifiers={"number": Verifier(verify=lambda row, text: right(), about="a number")},
        deepspeed=deepspeed_configs(),
    )


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., str]:
    """Write a recipe file and return its path: `recipe(text)`, `recipe(text, "base.yaml")`."""

    def write(text: str = WHOLE, name: str = "run.yaml") -> str:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
        return str(file)

    return write

"""Seconds a step of a recipe against a plain TRL script on the same rows; start-up by part; saving and resuming.

Run alone:
    python -m tests.benchmarks.training_overhead [steps, default 40]
Each kind is a process of its own, and they take turns: while one makes a step, the other waits. Both train on the same
batches in the same order, so step n of one is paired with step n of the other, and what the machine does meanwhile
reaches both. The ratio is the pairs' median, with the bootstrap's 95 % interval.
"""

import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Semaphore
from typing import Any

import numpy as np
from scipy.stats import bootstrap
from transformers import TrainerCallback

from launch.load import load
from tests.benchmarks.machine import machine
from trainers.fetch import fetch
from trainers.recipe import Recipe

WORDS = ("eval.target=[]", "eval.retain=[]", "eval.every=null", "data.validation=[]", "track=null", "train.bf16=true",
         "train.logging_steps=1", "train.save_strategy=no")  # fmt: skip

Trained = tuple[list[float], list[float], dict[str, float]]
"""Seconds of each step, losses, and the parts of the start."""


@dataclass
class Turns(TrainerCallback):
    """Steps in turn with another process: a step's seconds are from the turn's beginning to where the next step begins."""

    mine: Semaphore
    theirs: Semaphore
    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    began: float | None = None

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The step before is over: note it, let the other make one, wait."""
        if self.began is not None:
            self.seconds.append(time.perf_counter() - self.began)
        self.theirs.release()
        self.mine.acquire()
        self.began = time.perf_counter()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """What shows that both had the same batches."""
        self.losses += [logs["loss"]] if logs and "loss" in logs else []


class Parts:
    """Seconds of the parts of a start."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Around one."""
        begin = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - begin, 2)


def recipe(steps: int) -> Recipe:
    """The quickstart's training, nothing measured."""
    return load("quickstart", [*WORDS, f"train.max_steps={steps}"])


def temper(steps: int, turns: Turns) -> dict[str, float]:
    """As `temper train` does it."""
    from trainers.run import carry_out, prepare
    from trainers.rundir import Place

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "checkpoints").mkdir()
        run = replace(prepare(recipe(steps)), also=[turns])
        assert carry_out(run, Place(folder=Path(folder), root=Path(folder)), resume=False) == 0
    return {}


def plain(steps: int, turns: Turns) -> dict[str, float]:
    """As a script of one's own: trl.SFTTrainer with the same rows, arguments and LoRA; what the parts of its start take."""
    parts = Parts()
    with parts.part("imports"):
        from peft import LoraConfig
        from trl import SFTTrainer

        from trainers.run import prepare
    with parts.part("rows, tokenizer, arguments"):
        ready = prepare(recipe(steps))
    with parts.part("weights"):
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(fetch(ready.recipe.model.path), dtype="float32")
    with tempfile.TemporaryDirectory() as folder, parts.part("trainer"):
        ready.arguments.output_dir = folder
        trainer = SFTTrainer(
            model=model, args=ready.arguments, train_dataset=ready.mix.train, processing_class=ready.tokenizer,
            peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
            callbacks=[turns],
        )  # fmt: skip
    trainer.train()
    return {**parts.seconds, "first step": round(turns.seconds[0], 2)}


def checkpoints() -> dict[str, Any]:
    """Of a LoRA, and of all weights: a checkpoint's size, seconds to write it, and from its load to the end of the next step."""
    from trainers.run import train

    words = [*WORDS[:-1], "train.save_strategy=steps", "train.save_steps=1"]
    found = {}
    for name, more in (("lora", ()), ("full", ("adapter=null",))):
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder) / "run"
            assert train(load("quickstart", [*words, *more, "train.max_steps=3"]), run_dir=run) == 0
            newest = run / "checkpoints" / "checkpoint-3"
            size = sum(file.stat().st_size for file in newest.rglob("*") if file.is_file())
            written = (newest / "complete.json").stat().st_mtime - ended(run)[2]
            begin = time.time()
            assert train(load("quickstart", [*words, *more, "train.max_steps=4"]), run_dir=run, resume=True) == 0
            resumed = ended(run)[3] - begin
            found[name] = {"GB": round(size / 1e9, 3), "save_s": round(written, 2), "resume_s": round(resumed, 2)}
    return found


def ended(run: Path) -> list[float]:
    """When each step was logged, in seconds since 1970."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [line["time"] for line in lines if "train/loss" in line]


def process(kind: str, steps: int, mine: Semaphore, theirs: Semaphore) -> Trained:
    """One kind, which starts when it is its turn and leaves the turn to the other when it has ended."""
    turns = Turns(mine, theirs)
    mine.acquire()
    try:
        with redirect_stdout(sys.stderr):
            parts = {"plain": plain, "temper": temper}[kind](steps, turns)
    finally:
        theirs.release()
    return turns.seconds, turns.losses, parts


def main() -> None:
    """Both kinds step by step, then the table."""
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    print(f"quickstart, {steps} steps, {machine()}")
    (theirs, their_losses, parts), (ours, our_losses, _) = side_by_side(steps)
    np.testing.assert_allclose(our_losses, their_losses, rtol=0.01, err_msg="not the same batches")
    with redirect_stdout(sys.stderr):
        saved = checkpoints()
    seconds = {"plain": theirs[1:], "temper": ours[1:]}
    ratios = np.divide(seconds["temper"], seconds["plain"])
    interval = bootstrap((ratios,), np.median, rng=0).confidence_interval
    for kind in ("plain", "temper"):
        print(f"  {kind:7} {np.median(seconds[kind]):.3f} s a step")
    print(f"  ratio   {np.median(ratios):.4f}x a plain TRL script's step, {interval.low:.4f} to {interval.high:.4f}")
    print(f"  pairs   {len(ratios)}, middle half {np.quantile(ratios, 0.25):.3f} to {np.quantile(ratios, 0.75):.3f}")
    print(f"  start   {parts}")
    print(f"  checkpoints {saved}")


def side_by_side(steps: int) -> list[Trained]:
    """Plain, then temper."""
    spawn = multiprocessing.get_context("spawn")
    with spawn.Manager() as manager, ProcessPoolExecutor(2, mp_context=spawn) as pool:
        a, b = manager.Semaphore(1), manager.Semaphore(0)
        runs = pool.submit(process, "plain", steps, a, b), pool.submit(process, "temper", steps, b, a)
        return [run.result() for run in runs]


if __name__ == "__main__":
    main()

"""Steps a second of a recipe against a plain TRL script on the same rows; start-up by part; saving and resuming.

Run alone:
    python -m tests.benchmarks.training_overhead [steps, default 12] [rounds, default 2]
Each run is a process of its own, both kinds in turn; a step's time is the median over the steps after the first two.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from transformers import TrainerCallback

from launch.load import load
from tests.benchmarks.machine import machine
from trainers.fetch import fetch
from trainers.recipe import Recipe

WORDS = ("eval.target=[]", "eval.retain=[]", "eval.every=null", "data.validation=[]", "track=null", "train.bf16=true",
         "train.logging_steps=1", "train.save_strategy=no")  # fmt: skip


class Stopwatch(TrainerCallback):
    """When each step ended, in seconds."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note it."""
        self.ends.append(time.perf_counter())

    def step_s(self) -> float:
        """Seconds a step, the median."""
        return median(b - a for a, b in zip(self.ends[1:], self.ends[2:], strict=False))


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


def temper(steps: int) -> dict[str, Any]:
    """As `temper train` does it."""
    from trainers.run import carry_out, prepare
    from trainers.rundir import Place

    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "checkpoints").mkdir()
        run = replace(prepare(recipe(steps)), also=[watch])
        assert carry_out(run, Place(folder=Path(folder), root=Path(folder)), resume=False) == 0
    return {"step_s": watch.step_s()}


def plain(steps: int) -> dict[str, Any]:
    """As a script of one's own: trl.SFTTrainer with the same rows, arguments and LoRA; and what its parts take."""
    parts, watch = Parts(), Stopwatch()
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
            callbacks=[watch],
        )  # fmt: skip
    begin = time.perf_counter()
    trainer.train()
    parts.seconds["first step"] = round(watch.ends[0] - begin, 2)
    return {"step_s": watch.step_s(), "parts": parts.seconds}


def checkpoints(steps: int) -> dict[str, Any]:
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


def main() -> None:
    """Both kinds in turn, then the table."""
    if len(sys.argv) > 1 and sys.argv[1] in KINDS:
        result = KINDS[sys.argv[1]](int(sys.argv[2]))
        print("RESULT " + json.dumps(result), flush=True)
        return
    steps, rounds = [*map(int, sys.argv[1:]), *(12, 2)[len(sys.argv) - 1 :]]
    print(f"quickstart, {steps} steps, {machine()}")
    found: dict[str, list[dict[str, Any]]] = {"plain": [], "temper": []}
    for _ in range(rounds):
        for kind, results in found.items():
            results.append(once(kind, steps))
            print(f"  {kind:7} {results[-1]['step_s']:.3f} s a step", flush=True)
    a, b = (median(one["step_s"] for one in found[kind]) for kind in ("plain", "temper"))
    print(f"  ratio   {b / a:.3f}x the time of a plain TRL script")
    print(f"  start   {found['plain'][0]['parts']}")
    print(f"  checkpoints {once('checkpoints', steps)}")


def once(kind: str, steps: int) -> dict[str, Any]:
    """One run in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.training_overhead", kind, str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        raise RuntimeError(done.stderr[-2000:])
    return dict(json.loads(lines[-1].removeprefix("RESULT ")))


KINDS = {"plain": plain, "temper": temper, "checkpoints": checkpoints}

if __name__ == "__main__":
    main()

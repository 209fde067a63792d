"""A packed training step as `temper train` makes it, timed."""

import json
import random
import sys
import time
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from transformers import TrainerCallback

from launch.load import load
from tests.benchmarks.gpu_parts.row import Numbers
from tests.benchmarks.gpu_parts.shapes import Shape
from trainers.adapters import trainable_share
from trainers.logline import GIB, card_peak, utilisation

WARM_UP = 2
"""Steps that are not counted: memory is taken, kernels are chosen."""
LETTERS = "aeioubdgklmnprst"


@dataclass(kw_only=True)
class Clock(TrainerCallback):
    """Seconds of each step, until the GPU is done with it; tokens after it; what was trained, and how."""

    seconds: list[float] = field(default_factory=list)
    tokens: list[float] = field(default_factory=list)
    """Since the run's beginning."""
    sizes: tuple[int, int] = (0, 0)
    """Parameters that are trained, and all."""
    checkpointing: bool = False
    peak: float | None = None
    """The card's, in operations a second."""
    memory: float | None = None
    """GiB at the most."""
    _began: float = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """What the run has settled on."""
        self.sizes, self.peak = trainable_share(model), card_peak(args)
        self.checkpointing = bool(args.activation_checkpointing or args.gradient_checkpointing)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A step begins."""
        synchronize()
        self._began = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """It is done."""
        synchronize()
        self.seconds.append(time.perf_counter() - self._began)
        self.memory = peak_gib(args.device)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """TRL counts tokens."""
        if logs and "loss" in logs:
            self.tokens.append(float(logs.get("num_tokens") or state.num_input_tokens_seen))

    @property
    def numbers(self) -> Numbers:
        """Of the steps after the first ones."""
        seconds = sum(self.seconds[WARM_UP:])
        tokens = self.tokens[-1] - self.tokens[WARM_UP - 1]
        return numbers_of(tokens, seconds, len(self.seconds) - WARM_UP, self)


def numbers_of(tokens: float, seconds: float, steps: int, clock: Clock) -> Numbers:
    """Speed, and what it is in operations: those of `trainers.logline.utilisation`, as a run prints them."""
    trained, total = clock.sizes
    return {
        "checkpointing": "on" if clock.checkpointing else "off",
        "tokens a step": round(tokens / steps),
        "s a step": seconds / steps,
        "tokens/s": tokens / seconds,
        "model TFLOP/s": utilisation(tokens / seconds, trained, total, 1e12, 1),
        "MFU": clock.peak and utilisation(tokens / seconds, trained, total, clock.peak, 1),
        "peak GiB": clock.memory,
        "steps": steps,
    }


def synchronize() -> None:
    """Wait until the GPU has done what it was asked."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def reset_peak() -> None:
    """Forget what the GPU's memory held before."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak_gib(device: Any) -> float | None:
    """The most that tensors took of the GPU since the last reset; on a CPU there is no such number."""
    import torch

    return torch.cuda.max_memory_allocated(device) / GIB if device.type == "cuda" else None


def trained(shape: Shape, model: Path, *words: str) -> Numbers:
    """Some steps of a recipe on a model folder; `words` are key=value of it."""
    from trainers.run import carry_out, prepare
    from trainers.rundir import Place

    clock = Clock()
    reset_peak()
    with TemporaryDirectory() as name, redirect_stdout(sys.stderr):
        folder = Path(name)
        (folder / "recipe.yaml").write_text(recipe(shape, model, texts(shape, folder)), "utf-8")
        place = Place(folder=folder / "run", root=folder)  # apart, as in a pipeline: no report is drawn
        (place.folder / "checkpoints").mkdir(parents=True)
        run = replace(prepare(load(str(folder / "recipe.yaml"), words)), also=[clock])
        code = carry_out(run, place, resume=False)
        if code:
            raise RuntimeError(json.loads((place.folder / "status.json").read_text("utf-8"))["error"])
    return clock.numbers


def recipe(shape: Shape, model: Path, texts: Path) -> str:
    """Stage cpt with packing, nothing measured or kept meanwhile. JSON is YAML."""
    import torch

    on_gpu = torch.cuda.is_available()
    made: dict[str, Any] = {
        "stage": "cpt",
        "model": {"path": str(model), "dtype": "float32" if shape.trained == "all" or not on_gpu else "bfloat16"},
        "data": {"train": [{"source": "jsonl", "path": str(texts)}]},
        "train": {
            "max_steps": shape.steps,
            "max_length": shape.length,
            "packing": True,
            "per_device_train_batch_size": shape.rows,
            "learning_rate": 1e-6,
            "bf16": on_gpu,
            "logging_steps": 1,
            "save_strategy": "no",
        },
        "eval": {"every": None},
    }
    if shape.trained == "lora":
        made["adapter"] = {"kind": "lora", "r": 16, "lora_alpha": 32, "target_modules": "all-linear"}
    return json.dumps(made)


def texts(shape: Shape, folder: Path) -> Path:
    """Documents of a tenth of a row up to a whole one, enough for all steps: packed rows are full but for the last few."""
    draw, file = random.Random(0), folder / "texts.jsonl"
    wanted = shape.steps * shape.rows * shape.length
    with file.open("w", encoding="utf-8") as out:
        while wanted > 0:
            words = draw.randint(shape.length // 20, shape.length // 3)  # two or three tokens each
            text = " ".join("".join(draw.choices(LETTERS, k=5)) for _ in range(words))
            out.write(json.dumps({"text": text}) + "\n")
            wanted -= 2 * words
    return file

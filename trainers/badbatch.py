"""A batch whose loss is no number: its rows are kept to be read, and the run stops, or goes on without it."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from eval_hooks import ranks
from eval_hooks.files import step_in, write_atomic
from eval_hooks.json_text import json_text
from eval_hooks.masking import masked_text
from trainers import announce
from trainers.recipe import Recipe

FOLDER = "bad-batches"


class LossCheck:
    """Looks at each loss that a trainer computes in training.

    One that is no number ends the run with a FloatingPointError that names step, method and the file of the batch's
    rows. Of up to `skip_bad_batches` batches the rest of the step is used instead: the bad micro-batch counts as one
    without gradient, so all ranks call the model equally often whatever the engine.
    """

    def __init__(self, tokenizer: Any, recipe: Recipe, folder: Path) -> None:
        self.tokenizer, self.folder = tokenizer, folder
        self.method, self.skip = recipe.method.name, recipe.skip_bad_batches
        files = (folder / FOLDER).glob("step-*.jsonl")
        self.left_out = {step for file in files if (step := step_of(file)) is not None}
        self.good: Any = None
        """The last micro-batch of this rank whose loss was a number on all ranks."""

    def __call__(self, trainer: Any, compute: Callable[[Any, Any], Any], model: Any, inputs: Any) -> Any:
        """What `compute(model, inputs)` gives, or what takes its place."""
        out = compute(model, inputs)
        bad = not bool(loss_of(out).isfinite().all())
        if not self.skip and not bad:
            return out
        device = trainer.args.device
        if self.skip and not ranks.highest(bad, device):
            self.good = inputs
            return out
        step = trainer.state.global_step + 1
        file = self.folder / FOLDER / f"step-{step}.rank-{ranks.place()[0]}.jsonl"
        if bad:
            write_rows(file, inputs, self.tokenizer)
        self.left_out.add(step)
        if len(self.left_out) > self.skip or ranks.highest(bad and self.good is None, device):
            raise FloatingPointError(
                f"step {step}, method {self.method}: the loss of a batch is {float(loss_of(out).detach())}; its "
                f"rows are in {file.parent}"
            )
        announce(f"warning   step {step}: a batch whose loss is no number is left out, see {file.parent}")
        trainer.measured.forget_last()
        again = compute(model, self.good if bad else inputs)
        return without_gradient(again) if bad else again

    def norm(self, trainer: Any, norm: Any) -> None:
        """Raise FloatingPointError for a gradient whose norm is no number: before such weights are saved."""
        if norm is not None and not math.isfinite(norm):
            raise FloatingPointError(
                f"step {trainer.state.global_step + 1}, method {self.method}: the norm of the gradient is "
                f"{float(norm)}, though every loss is a number"
            )


def loss_of(out: Any) -> Any:
    """The loss that compute_loss gave, with its outputs or without."""
    return out[0] if isinstance(out, tuple) else out


def without_gradient(out: Any) -> Any:
    """The same loss at weight 0."""
    return (out[0] * 0.0, *out[1:]) if isinstance(out, tuple) else out * 0.0


def write_rows(file: Path, inputs: Any, tokenizer: Any) -> None:
    """A line a row: every tensor's row, and the text of what are token ids."""
    columns = dict(tensors(inputs))
    n = max((len(value) for value in columns.values() if value.dim()), default=0)
    lines = []
    for i in range(n):
        row = {name: value[i].tolist() for name, value in columns.items() if value.dim() and len(value) > i}
        texts = {f"{name}.text": masked_text(tokenizer.decode(ids)) for name, ids in row.items()
                 if name.endswith("_ids") and name != "position_ids" and isinstance(ids, list)}  # fmt: skip
        lines.append(json_text({**texts, **row}) + "\n")
    write_atomic(file, "".join(lines).encode())


def tensors(inputs: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, tensor of at most two dimensions) of nested maps."""
    if isinstance(inputs, Mapping):
        for key, value in inputs.items():
            yield from tensors(value, f"{name}.{key}" if name else str(key))
    elif is_dataclass(inputs):
        yield from tensors(vars(inputs), name)
    elif hasattr(inputs, "dim") and inputs.dim() <= 2:
        yield name, inputs


def step_of(file: Path) -> int | None:
    """The step in the name of a file of rows; None for a file of another name."""
    return step_in(file.name.partition(".")[0], "step")

"""A batch whose loss is no number: its rows are kept to be read, and the run stops, or goes on without it."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from eval_hooks import ranks
from eval_hooks.files import write_atomic
from eval_hooks.json_text import json_text
from eval_hooks.masking import masked_text
from trainers import announce
from trainers.recipe import Recipe

FOLDER = "bad-batches"


def check_losses(trainer: Any, tokenizer: Any, recipe: Recipe, folder: Path) -> None:
    """Look at each loss that a trainer computes in training.

    One that is no number ends the run with a FloatingPointError that names step, method and the file of the batch's
    rows. Of up to `skip_bad_batches` batches the rest of the step is used instead: the bad micro-batch counts as one
    without gradient, so all ranks call the model equally often whatever the engine.
    """
    compute, skip = trainer.compute_loss, recipe.skip_bad_batches
    left_out = {step_of(file) for file in (folder / FOLDER).glob("step-*.jsonl")}
    good: list[Any] = []

    def checked(model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        out = compute(model, inputs, *args, **kwargs)
        if not model.training:
            return out
        bad = not bool(loss_of(out).isfinite().all())
        if not skip and not bad:
            return out
        device = trainer.args.device
        if skip and not ranks.highest(bad, device):
            good[:] = [inputs]
            return out
        step = trainer.state.global_step + 1
        file = folder / FOLDER / f"step-{step}.rank-{ranks.place()[0]}.jsonl"
        if bad:
            write_rows(file, inputs, tokenizer)
        left_out.add(step)
        if len(left_out) > skip or ranks.highest(bad and not good, device):
            raise FloatingPointError(
                f"step {step}, method {recipe.method.name}: the loss of a batch is {float(loss_of(out).detach())}; its "
                f"rows are in {file.parent}"
            )
        announce(f"warning   step {step}: a batch whose loss is no number is left out, see {file.parent}")
        again = compute(model, good[0] if bad else inputs, *args, **kwargs)
        return without_gradient(again) if bad else again

    trainer.compute_loss = checked
    if not trainer.args.fp16:  # whose scaler meets infinite gradients, and leaves those steps out
        trainer._get_grad_norm = finite_norms(trainer, recipe.method.name)


def finite_norms(trainer: Any, method: str) -> Any:
    """The trainer's gradient norm, which ends the run where it is no number: before such weights are saved."""
    measure = trainer._get_grad_norm

    def checked(*args: Any, **kwargs: Any) -> Any:
        norm = measure(*args, **kwargs)
        if norm is not None and not math.isfinite(norm):
            raise FloatingPointError(
                f"step {trainer.state.global_step + 1}, method {method}: the norm of the gradient is {float(norm)}, "
                "though every loss is a number"
            )
        return norm

    return checked


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
    elif hasattr(inputs, "dim") and inputs.dim() <= 2:
        yield name, inputs


def step_of(file: Path) -> int:
    """The step in the name of a file of rows."""
    return int(file.name.removeprefix("step-").partition(".")[0])

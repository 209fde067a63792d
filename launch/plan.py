"""What a recipe would do, in a few lines, before anything is loaded."""

from collections.abc import Iterator, Mapping
from typing import Any

from data_mix.config import SourceSpec
from eval_hooks.config import EvalConfig, TaskSpec
from eval_hooks.masking import masked_text
from launch.nodes import short
from launch.tables import Tables, shipped
from trainers.recipe import Pipeline, Recipe


def plan(recipe: Recipe | Pipeline, tables: Tables | None = None) -> str:
    """The plan, one subject a line; of a pipeline, that of each run.

    Steps are known only where `train.max_steps` says them: no rows are read.
    """
    tables = tables or shipped()
    if isinstance(recipe, Pipeline):
        return "\n\n".join(f"run {stage.name}\n{plan(stage.recipe, tables)}" for stage in recipe.stages)
    steps = recipe.train.get("max_steps", -1)
    lines: list[tuple[str, str]] = [
        ("recipe", f"{short(recipe.file)}, stage {recipe.stage}"),
        ("model", recipe.model.path + (f", {recipe.model.dtype}" if recipe.model.dtype != "auto" else "")),
        ("adapter", ", ".join([recipe.adapter.kind, *_pairs(recipe.adapter.options)])),
        ("method", f"{recipe.method.name}: {tables.methods[recipe.method.name].about}"),
        *(("data", line) for line in _data(recipe)),
        ("train", ", ".join(_length(recipe, steps))),
        *(("eval", line) for line in _eval(recipe.eval, steps)),
        ("track", ", ".join(_tracked(recipe))),
    ]
    return masked_text("\n".join(f"{subject:<8}  {line}" for subject, line in lines))


def _tracked(recipe: Recipe) -> Iterator[str]:
    yield "metrics.jsonl"
    if recipe.wandb:
        yield f"W&B {recipe.wandb.mode} in project {recipe.wandb.project}"
    if recipe.tensorboard:
        yield "TensorBoard"


def _pairs(values: Mapping[str, Any]) -> list[str]:
    return [f"{key} {value}" for key, value in values.items()]


def _data(recipe: Recipe) -> Iterator[str]:
    for side, specs in (("train", recipe.data.train), ("validation", recipe.data.validation)):
        for spec in specs:
            yield f"{side} {spec.name}: {_origin(spec)}"


def _origin(spec: SourceSpec) -> str:
    if spec.split_from:
        return f"{spec.fraction:.1%} of the {spec.split_from} rows, held out"
    settings = {key: getattr(spec.config, key) for key in ("path", "split", "n", "seed") if hasattr(spec.config, key)}
    said = {key: value for key, value in settings.items() if value is not None}
    weight = [f"weight {spec.weight:g}"] if spec.weight is not None else []
    return ", ".join([f"source {spec.source}", *_pairs(said), *weight, *(["repeated"] if spec.repeat else [])])


def _length(recipe: Recipe, steps: int) -> list[str]:
    train = recipe.train
    length = f"{steps} steps" if steps > 0 else f"{train.get('num_train_epochs', 3):g} epochs"
    batch = recipe.global_batch_size
    rows = f"{batch} rows a step over all ranks" if batch else ""
    rate = f"learning rate {train['learning_rate']:g}" if "learning_rate" in train else ""
    zero = f"DeepSpeed {recipe.deepspeed.stem}" if recipe.deepspeed else ""
    return [part for part in (length, rows, rate, zero) if part]


def _eval(config: EvalConfig, steps: int) -> Iterator[str]:
    yield f"at {evaluation_times(config.every, steps)}" if config.live else "left to temper watch"
    for role, specs in (("target", config.target), ("retain", config.retain)):
        for spec in specs:
            yield f"{role} {spec.name}: {_task(spec)}"
    if config.budget.action != "report" or config.budget.accuracy_drop or config.budget.ece_rise:
        limits = {"accuracy_drop": config.budget.accuracy_drop, "ece_rise": config.budget.ece_rise}
        yield f"budget {', '.join(_pairs({k: v for k, v in limits.items() if v is not None}))}: {config.budget.action}"


def _task(spec: TaskSpec) -> str:
    if spec.rows:
        return f"task {spec.task}, split {spec.split}, at most {spec.max_new_tokens} new tokens"
    if spec.named:
        return f"task {spec.task}, {'its own' if spec.shots is None else spec.shots} shots"
    return f"task {spec.task}, {spec.variant}, {spec.n_shots} shots, split {spec.split}"


def evaluation_times(every: int | float | str | None, steps: int) -> str:
    """When the model is measured, in words; with the step numbers where the number of steps is known."""
    if every == "epoch":
        return "step 0, after each epoch and the end"
    if every is None:
        return "step 0 and the end"
    assert not isinstance(every, str)
    if steps <= 0:
        return "step 0, " + (f"every {every} steps" if every >= 1 else f"every {every:.0%} of the run") + " and the end"
    period = int(every) if every >= 1 else max(1, round(every * steps))
    times = sorted({0, *range(period, steps + 1, period), steps})
    return (
        "steps " + ", ".join(map(str, times))
        if len(times) < 10
        else f"step 0, every {period} of {steps} steps and the end"
    )

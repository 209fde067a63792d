"""A DeepSpeed configuration against its recipe: what both say must be the same, and `auto` in the file always is."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from eval_hooks import EvalError
from eval_hooks.json_text import json_text, parse_json
from eval_hooks.masking import masked
from launch.fields import fields_of
from launch.nodes import Node, plain
from launch.problems import nearest, shown
from launch.tables import Tables
from launch.typed import INVALID, Report

BATCH = {
    "train_batch_size": "global_batch_size",
    "train_micro_batch_size_per_gpu": "per_device_train_batch_size",
    "gradient_accumulation_steps": "gradient_accumulation_steps",
}
"""JSON key -> key of `train:`, of numbers that follow from each other and from the ranks where the recipe is silent."""
SAME = {
    "gradient_clipping": ("max_grad_norm",),
    "bf16.enabled": ("bf16",),
    "fp16.enabled": ("fp16",),
    "optimizer.params.lr": ("learning_rate",),
    "optimizer.params.betas": ("adam_beta1", "adam_beta2"),
    "optimizer.params.eps": ("adam_epsilon",),
    "optimizer.params.weight_decay": ("weight_decay",),
    "scheduler.params.warmup_max_lr": ("learning_rate",),
    "scheduler.params.warmup_num_steps": ("warmup_steps",),
    "scheduler.params.total_num_steps": ("max_steps",),
}
"""JSON key -> keys of `train:` whose values it repeats."""
BY_MACHINE = ("bf16", "fp16")
"""Filled by the run where the recipe is silent: bf16 on a machine that has it."""


def deepspeed(node: Node | None, tables: Tables, report: Report) -> Path | None:
    """The DeepSpeed JSON of a shipped name or a path."""
    if node is None or node.value is None:
        return None
    if isinstance(node.value, str) and node.value in tables.deepspeed:
        return tables.deepspeed[node.value]
    if not isinstance(node.value, str) or not Path(node.value).is_file():
        advice = nearest(str(node.value), tables.deepspeed, few=99)
        report.add("deepspeed", node, f"{shown(plain(node))}: no such file, nor a name in recipes/deepspeed{advice}")
        return None
    if not isinstance(read(Path(node.value), node, report), dict):
        return None
    return Path(node.value)


def read(file: Path, node: Node, report: Report) -> Any:
    """The file's content; None after reporting what it is not."""
    try:
        content = parse_json(file.read_bytes(), str(file))
    except (OSError, EvalError) as error:
        report.add("deepspeed", node, str(error))
        return None
    if not isinstance(content, dict):
        report.add("deepspeed", node, f'{file}: a map is due, as {{"zero_optimization": {{"stage": 2}}}}')
        return None
    if masked(content) != content:
        report.add("deepspeed", node, f"{file}: holds a secret, which every checkpoint would; remove it there")
    return content


def check(
    file: Path | None,
    node: Node | None,
    train: Any,
    global_batch_size: Any,
    stage_class: type | None,
    report: Report,
    method: Mapping[str, Any],
) -> None:
    """Report every value of the file that the recipe contradicts, with both keys and both values.

    `method` are the values of the method's row, which stand where the recipe is silent.
    """
    if file is None or node is None or stage_class is None or not isinstance(train, Mapping):
        return
    config = parse_json(file.read_bytes(), str(file))
    written = {**train, **({} if global_batch_size in (None, INVALID) else {"global_batch_size": global_batch_size})}
    where = {name: (field.default, stage_class.__name__) for name, field in fields_of(stage_class).items()}
    where |= {name: (value, "the method's row") for name, value in method.items()}
    for text in (*_batch(config, {**method, **written}), *_others(config, written, where)):
        report.add("deepspeed", node, f"{file.name}: {text}")


def said(config: Mapping[str, Any], key: str) -> Any:
    """The file's value of a dotted key; None where it leaves it out or writes auto."""
    value: Any = config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return None if value == "auto" else value


def _batch(config: Mapping[str, Any], written: Mapping[str, Any]) -> Iterator[str]:
    for key, name in BATCH.items():
        theirs, mine = said(config, key), written.get(name)
        if theirs is None or theirs == mine:
            continue
        has = f"train.{name} is {mine}" if mine is not None else f"the recipe has no train.{name}"
        yield f'{key} is {theirs}, {has}; write "auto" there, or train.{name}: {theirs} in the recipe'


def _others(
    config: Mapping[str, Any], written: Mapping[str, Any], defaults: Mapping[str, tuple[Any, str]]
) -> Iterator[str]:
    """`defaults`: key of `train:` -> its value where the recipe is silent, and whose it is."""
    for key, names in SAME.items():
        theirs = said(config, key)
        values = [written.get(name, defaults.get(name, (None, ""))[0]) for name in names]
        mine = values if len(names) > 1 else values[0]
        silent = [name for name in names if name not in written]
        if theirs is None or (theirs == mine and not (silent and names[0] in BY_MACHINE)):
            continue
        if names[0] in BY_MACHINE and silent:
            if theirs is False:
                continue
            has = f"the recipe leaves train.{names[0]} to the machine"
        else:
            whose = defaults[silent[0]][1] if silent else ""
            has = f"train.{', train.'.join(names)} is {mine}" + (f" (the default of {whose})" if silent else "")
        yield f'{key} is {_json(theirs)}, {has}; write "auto" there, or the same in the recipe'


def _json(value: Any) -> str:
    return json_text(value)

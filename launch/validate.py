"""From a tree to a Recipe: every section checked, all problems at once."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_mix.config import DataConfig
from eval_hooks.config import Budget, EvalConfig
from eval_hooks.masking import masked_words
from eval_hooks.names import as_name
from launch import deepspeed, entries, secrets, sections, unread
from launch.bounds import BOUNDS
from launch.fields import Field, fields_of
from launch.habits import HABITS, OWNED_TRAIN
from launch.nodes import Node, plain
from launch.problems import Problem, RecipeError, nearest, shown
from launch.resolved import resolve
from launch.tables import Tables, shipped
from launch.typed import INVALID, Report, build
from trainers.method import Method
from trainers.recipe import MethodSection, ModelSection, Recipe, WandbSection

SECTIONS = ("stage", "model", "adapter", "method", "data", "train", "deepspeed", "eval", "track", "launch")
NOT_MAPS = ("stage", "method", "deepspeed")
"""Sections that are a name, or may be left to a default."""


def validate(tree: Node, file: Path, text: str, overrides: Sequence[str] = (), tables: Tables | None = None) -> Recipe:
    """The typed recipe of a composed tree.

    Raises RecipeError with every problem: unknown sections and keys, wrong types, values out of range, names that do
    not exist.
    """
    tables = tables or shipped()
    report = Report(bounds=BOUNDS, explain=lambda block, key: explain(block, key, stage_class))
    stage = _stage(tree, tables, report)
    row = _method_row(tree, stage, tables)
    stage_class = (row and row.arguments or tables.stages[stage].arguments)() if stage else None
    _unknown_sections(tree, report)

    maps = {name: sections.section(tree, name, report) for name in SECTIONS if name not in NOT_MAPS}

    def section(name: str, make: Callable[[Node], Any]) -> Any:
        node = maps[name]
        return make(node) if node is not None else INVALID

    method = entries.method(tree.value.get("method"), stage, tables, report)
    made: dict[str, Any] = {
        "name": as_name(file.stem, "run"),
        "file": file,
        "overrides": tuple(masked_words(overrides)),
        "stage": stage,
        "model": section("model", lambda node: build(ModelSection, node, "model", report)),
        "adapter": section("adapter", lambda node: sections.adapter(node, report)),
        "method": MethodSection(name=method[0], config=method[1]) if method else INVALID,
        "data": section("data", lambda node: sections.data(node, tables, report)),
        "train": section("train", lambda node: sections.train(node, stage_class, report, row.trl if row else {})),
        "global_batch_size": section("train", lambda node: sections.global_batch_size(node, report)),
        "skip_bad_batches": section("train", lambda node: sections.skip_bad_batches(node, report)),
        "deepspeed": deepspeed.deepspeed(tree.value.get("deepspeed"), tables, report),
        "eval": section("eval", lambda node: sections.evaluation(node, tables, report)),
        "wandb": section("track", lambda node: sections.wandb(node, report)),
        "tensorboard": section("track", lambda node: sections.tensorboard(node, report)),
        "launch": section("launch", lambda node: sections.launch(node, report)),
    }
    deepspeed.check(
        made["deepspeed"], tree.value.get("deepspeed"), made["train"], made["global_batch_size"], stage_class, report,
        row.defaults if row else {},
    )  # fmt: skip
    if maps["train"] is not None and stage is not None:
        unread.check(maps["train"], made["train"], stage, row, stage_class, report)
    secrets.check(tree, report)
    if report.problems:
        raise RecipeError(sorted(report.problems, key=_by_place))
    return Recipe(**made, text=text, resolved=resolve(made))


def _by_place(problem: Problem) -> tuple[str, int]:
    """In the order of the files, so that one pass through them mends all."""
    file, _, line = problem.place.rpartition(":")
    return (file, int(line)) if line.isdecimal() else (problem.place, 0)


def _stage(tree: Node, tables: Tables, report: Report) -> str | None:
    node = tree.value.get("stage")
    if node is None or node.value is None:
        report.add("stage", tree, f"missing; there is: {', '.join(tables.stages)}")
    elif isinstance(node.value, str) and node.value in tables.stages:
        return node.value
    else:
        report.add(
            "stage", node, f"{shown(plain(node))}: no such stage{nearest(str(node.value), tables.stages, few=99)}"
        )
    return None


def _method_row(tree: Node, stage: str | None, tables: Tables) -> Method[Any, Any] | None:
    """The method's row, by default the stage's own method; None where there is none, or none of this stage."""
    section = tree.value.get("method")
    name = section.value.get("name") if section is not None and isinstance(section.value, dict) else None
    written = name.value if name is not None else None
    default = tables.stages[stage].default_method if stage else None
    found = tables.methods.get(written if isinstance(written, str) else default or "")
    return found if found and stage in found.stages else None


def _unknown_sections(tree: Node, report: Report) -> None:
    for name, node in tree.value.items():
        if name not in (*SECTIONS, "plugins"):
            report.unknown("", name, node, SECTIONS)


def explain(block: str, key: str, stage_class: type | None) -> str | None:
    """What to write instead of an unknown key: ours for a neighbour's name, or the section that has it.

    None where nothing is known. `stage_class` is the config class of `train:`, where the stage is known.
    """
    if key in HABITS:
        return HABITS[key]
    if any(part.isdecimal() for part in block.split(".")):  # an entry of a list: its keys are its source's or task's
        return None
    homes: dict[str, Mapping[str, Field]] = {
        "model": fields_of(ModelSection),
        "adapter": sections.adapter_fields(),
        "eval": fields_of(EvalConfig),
        "eval.budget": fields_of(Budget),
        "data": fields_of(DataConfig),
        "track.wandb": fields_of(WandbSection),
        "train": fields_of(stage_class) if stage_class else {},
    }
    home = next((name for name, keys in homes.items() if key in keys and name != block), None)
    if home == "train" and key in OWNED_TRAIN:
        return OWNED_TRAIN[key]
    return f"write {home}.{key}" if home else None

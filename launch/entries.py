"""Entries whose keys depend on a name in them: a source, a task, a method; the other keys are that row's own."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from data_mix.config import SourceSpec
from eval_hooks.catalog import find, names
from eval_hooks.config import TaskSpec
from eval_hooks.names import as_name, is_name
from launch.fields import fields_of
from launch.nodes import Node, Place, plain
from launch.problems import nearest, shown
from launch.tables import Tables
from launch.typed import INVALID, Report, build, join

GENERATIVE_KEYS = ("task", "name", "goal", "split", "limit", "max_new_tokens", "chat_template")
"""Keys of TaskSpec in an entry whose items are rows of a data source; all others are the source's."""
SOURCE_READING = ("columns", "role_key", "content_key", "roles", "system", "tools", "side", "verifier")
"""Keys of SourceSpec in such an entry: how rows are read."""
UNWEIGHED = ("weight", "repeat")
"""Keys of SourceSpec that only a mix reads."""
HARNESS_KEYS = ("task", "name", "goal", "shots", "limit", "chat_template", "fewshot_as_multiturn", "include_path",
                "metric", "batch_tokens", "gold_base")  # fmt: skip
"""Keys of TaskSpec in an entry that names one of many tasks, lm-eval's."""
CHOICE_UNREAD = ("rows", "max_new_tokens", "include_path", "metric")
"""Fields of TaskSpec that a multiple-choice task does not read."""


def named(
    node: Node, key: str, table: Mapping[str, Any], path: str, report: Report, default: str | None = None
) -> str | None:
    """The row of a table that an entry names, or None after reporting that it names none."""
    if not isinstance(node.value, dict):
        report.add(
            path,
            node,
            f"{shown(plain(node))}: a map is due; write {{{key}: NAME}}, with NAME one of {', '.join(table)}",
        )
        return None
    child = node.value.get(key)
    if child is None or child.value is None:
        if default is None:
            report.add(join(path, key), node, f"missing; there is: {', '.join(table)}")
        return default
    if isinstance(child.value, str) and child.value in table:
        return child.value
    word = str(plain(child))
    report.add(join(path, key), child, f"{shown(plain(child))}: no such {key}{nearest(word, table, few=99)}", row=word)
    return None


def part(node: Node, keys: Mapping[str, str]) -> Node:
    """The map with only these keys, called as the values say."""
    return replace(node, value={new: node.value[old] for old, new in keys.items() if old in node.value})


def without(node: Node, keys: Any) -> Node:
    """The map without these keys."""
    return replace(node, value={key: child for key, child in node.value.items() if key not in keys})


def source(node: Node, path: str, tables: Tables, report: Report, seed: Node | None = None) -> Any:
    """One entry of data.train or data.validation as a SourceSpec, or INVALID.

    `seed` is the data section's, for a source that takes one where the entry names none.
    """
    own = {name: name for name in fields_of(SourceSpec) if name not in ("config", "split_from")} | {
        "from": "split_from"
    }
    if isinstance(node.value, dict) and "from" in node.value:
        return _held_out(node, path, own, report)
    name = named(node, "source", tables.sources, path, report)
    if name is None:
        return INVALID
    if (fraction := node.value.get("fraction")) is not None:
        report.add(
            join(path, "fraction"),
            fraction,
            "only read with from: train; write {from: train, fraction: ...}, or leave it out",
        )
    config_class = tables.sources[name].config
    rest = without(node, own)
    if seed is not None and "seed" in fields_of(config_class) and "seed" not in rest.value:
        rest = replace(rest, value={**rest.value, "seed": seed})
    config = build(config_class, rest, path, report, known=list(own))
    keys = part(node, own)
    keys.value.setdefault("name", Node(value=name, place=node.place, raw=name))
    spec = build(SourceSpec, keys, path, report, known=list(fields_of(config_class)))
    if spec is INVALID or config is INVALID:
        return INVALID
    _known_verifiers(spec.verifier, keys.value.get("verifier"), path, tables, report)
    return replace(spec, config=config)


def _known_verifiers(verifier: Any, node: Node | None, path: str, tables: Tables, report: Report) -> None:
    """Report every verifier that does not exist, also where the source's rows name their own."""
    for name in [verifier] if isinstance(verifier, str) else list(verifier or ()):
        if name not in tables.verifiers and node is not None:
            advice = nearest(name, tables.verifiers, few=99)
            report.add(join(path, "verifier"), node, f"{shown(name)}: no such verifier{advice}", row=str(name))


def _held_out(node: Node, path: str, own: Mapping[str, str], report: Report) -> Any:
    origin = node.value["from"]
    if origin.value != "train":
        report.add(
            join(path, "from"), origin, f"{shown(plain(origin))}: only the train rows can be split; write from: train"
        )
    allowed = ("from", "fraction", "name")
    for key, child in node.value.items():
        if key not in allowed:
            report.add(
                join(path, key),
                child,
                "not read with from: train, which takes fraction and name; remove it, or name a source",
            )
    if "fraction" not in node.value:
        report.add(
            join(path, "fraction"), node, "missing; write the share of the train rows to hold out, as fraction: 0.02"
        )
    keys = part(node, {key: own[key] for key in allowed})
    keys.value.setdefault("name", Node(value="held_out", place=node.place, raw="held_out"))
    return build(SourceSpec, keys, path, report)


def task(node: Node, path: str, tables: Tables, report: Report) -> Any:
    """One entry of eval.target or eval.retain as a TaskSpec, or INVALID."""
    name = named(node, "task", tasks(node, tables), path, report)
    if name is None:
        return INVALID
    own = name.rpartition(":")[2]
    called = as_name(own, "task") if ":" in name else own
    node = replace(node, value={"name": Node(value=called, place=node.place, raw=called), **node.value})
    row = tasks(node, tables)[name]
    if row.source is None:
        fields = fields_of(TaskSpec)
        unread = [key for key in node.value if key in (*fields, "source") and key not in own_keys(row.named)]
        why = "is lm-eval's" if row.named else "scores options"
        for key in unread:
            report.add(join(path, key), node.value[key], f"task {name} {why} and does not read it; remove it")
        return build(TaskSpec, without(node, unread), path, report)
    written = node.value["name"].value
    kept = ("name",) if is_name(written) else ()  # else it is refused once, as the task's
    rest = without(node, [key for key in GENERATIVE_KEYS if key not in kept])
    rest.value.setdefault("source", Node(value=row.source, place=node.place, raw=row.source))
    named_source = named(rest, "source", tables.sources, path, report)
    if named_source is None:
        return INVALID
    if "split" in fields_of(tables.sources[named_source].config):
        rest.value["split"] = node.value.get("split", Node(value="test", place=node.place, raw="test"))
    for key in UNWEIGHED:
        if key in rest.value:
            report.add(join(path, key), rest.value[key], "only read in data.train; remove it")
    rows = source(without(rest, UNWEIGHED), path, tables, report)
    spec = build(TaskSpec, part(node, {key: key for key in GENERATIVE_KEYS}), path, report)
    return INVALID if spec is INVALID or rows is INVALID else replace(spec, rows=rows)


def tasks(node: Node, tables: Tables) -> Mapping[str, Any]:
    """What an entry may name as its task, and what this one names where that is one of many."""
    written = node.value.get("task") if isinstance(node.value, dict) else None
    word = written.value if written is not None and isinstance(written.value, str) else ""
    row = find(word, tables.tasks)
    return dict(zip(names(tables.tasks), tables.tasks.values(), strict=True)) | ({word: row} if row else {})


def own_keys(named: bool) -> Sequence[str]:
    """Keys of TaskSpec that a task reads whose items are its own; `named` is one of many."""
    return HARNESS_KEYS if named else [key for key in fields_of(TaskSpec) if key not in CHOICE_UNREAD]


def method(node: Node | None, stage: str | None, tables: Tables, report: Report) -> tuple[str, Any] | None:
    """(name, config instance) of the method section, by default the stage's own method; None after a problem."""
    default = tables.stages[stage].default_method if stage else None
    node = node if node is not None and node.value is not None else Node(value={}, place=Place())
    name = named(node, "name", tables.methods, "method", report, default) if default or node.value else None
    if name is None:
        return None
    row = tables.methods[name]
    if stage is not None and stage not in row.stages:
        mine = [other for other, candidate in tables.methods.items() if stage in candidate.stages]
        where = node.value.get("name", node)
        report.add(
            "method.name",
            where,
            f"{name!r} is a method of stage {' and '.join(row.stages)}, the recipe's stage is {stage}; there is: "
            f"{', '.join(mine)}",
        )
        return None
    config = build(row.config, without(node, ("name",)), "method", report, known=["name"])
    return None if config is INVALID else (name, config)

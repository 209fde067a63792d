"""The JSON schema of a recipe (draft 2020-12), made from the config classes and the catalogs.

For editors: descriptions, choices, completion. It is looser than loading where composition needs it: a recipe that
extends another may leave anything out, and any key may be null (which deletes the base's). Ranges and references
between keys are checked when loading.
"""

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Literal

from data_mix.config import DataConfig, SourceSpec
from eval_hooks.config import EvalConfig, TaskSpec
from eval_hooks.json_text import json_text
from launch.entries import GENERATIVE_KEYS, SOURCE_READING, own_keys
from launch.fields import Field, fields_of
from launch.habits import OWNED_TRAIN
from launch.problems import RecipeError
from launch.sections import OWN_TRAIN, TENSORBOARD, adapter_fields
from launch.tables import Tables, shipped
from launch.typed import pattern, without_idle_text
from trainers.recipe import AdapterSection, LaunchSection, ModelSection, WandbSection

Schema = dict[str, Any]
SCALARS: Mapping[Any, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    Path: "string",
    type(None): "null",
}


def write_schema(file: Path, tables: Tables | None = None) -> None:
    """Write the schema as JSON. Raises RecipeError where the folder cannot be written."""
    text = json_text(recipe_schema(tables), indent=1, ensure_ascii=False) + "\n"
    try:
        file.write_text(text, "utf-8")
    except OSError as error:
        raise RecipeError(
            f"--out {file}: {error.strerror}; name a file in a folder that is there and writable"
        ) from error


def recipe_schema(tables: Tables | None = None) -> Schema:
    """The schema of a whole recipe."""
    tables = tables or shipped()
    batch = {name: field_schema(field) for name, field in OWN_TRAIN.items()}
    stages = {
        name: library_block(fields_of(stage.arguments()), OWNED_TRAIN, batch) for name, stage in tables.stages.items()
    }
    whole = {"model": {"required": ["path"]}, "data": {"required": ["train"]}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tempering recipe",
        **closed({**_head(tables), **{name: nullable(section) for name, section in _sections(tables).items()}}),
        "if": {"not": {"anyOf": [{"required": ["extends"]}, {"required": ["pipeline"]}]}},
        "then": {"required": ["stage", "model", "data"], "properties": whole},
        "allOf": [_of_stage(name, tables) for name in stages],
        "$defs": {f"train_{name}": schema for name, schema in stages.items()},
    }


def _head(tables: Tables) -> dict[str, Schema]:
    stages = "; ".join(f"{name}, {stage.about}" for name, stage in tables.stages.items())
    return {
        "extends": {
            "description": "Recipes this one is laid on, by path or name: maps merge, lists replace, null deletes.",
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        },
        "plugins": {
            "description": "Python files that add rows to the tables: METHODS, SOURCES, TASKS, VERIFIERS.",
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        },
        "pipeline": {
            "description": "Runs on one model, each starting from what the one before recommends.",
            "type": "array",
            "items": {
                **closed(
                    {
                        **dict.fromkeys(("name", "recipe"), {"type": "string"}),
                        "set": {"description": "Sections laid over the run's recipe.", "type": "object"},
                    }
                ),
                "required": ["name", "recipe"],
            },
        },
        "stage": {"description": f"The kind of training: {stages}.", "enum": list(tables.stages)},
    }


def _sections(tables: Tables) -> dict[str, Schema]:
    kind = {"kind": field_schema(fields_of(AdapterSection)["kind"])}
    return {
        "model": block(fields_of(ModelSection), "Which model, and how it is loaded."),
        "adapter": {**library_block(adapter_fields(), {}, kind), "description": "What is trained: all, or a LoRA."},
        "method": _methods(tables),
        "data": _data(tables),
        "train": {
            "description": "Arguments of the stage's TRL config class.",
            "anyOf": [{"$ref": f"#/$defs/train_{name}"} for name in tables.stages],
        },
        "deepspeed": {
            "description": f"A DeepSpeed JSON: {', '.join(tables.deepspeed)}, or a path.",
            "type": "string",
            "examples": list(tables.deepspeed),
        },
        "eval": _eval(tables),
        "track": closed(
            {
                "wandb": nullable(block(fields_of(WandbSection), "Where W&B keeps the run.")),
                TENSORBOARD.name: field_schema(TENSORBOARD),
            }
        ),
        "launch": block(fields_of(LaunchSection), "How the run is started."),
    }


def _of_stage(name: str, tables: Tables) -> Schema:
    """A stage named in the recipe decides which arguments and methods are its own."""
    methods = [method for method, row in tables.methods.items() if name in row.stages]
    own = {
        "train": nullable({"$ref": f"#/$defs/train_{name}"}),
        "method": {"properties": {"name": {"enum": [*methods, None]}}},
    }
    return {"if": {"properties": {"stage": {"const": name}}, "required": ["stage"]}, "then": {"properties": own}}


def _methods(tables: Tables) -> Schema:
    rows = []
    for name, method in tables.methods.items():
        own = {"name": {"const": name, "description": method.about}}
        config: type = method.config
        rows.append(closed({**own, **properties(fields_of(config))}, method.about))
    return {"description": "The loss and its hyperparameters.", "anyOf": rows}


def _data(tables: Tables) -> Schema:
    own = {
        name: field
        for name, field in fields_of(SourceSpec).items()
        if name not in ("source", "config", "split_from", "fraction")
    }
    sources = []
    for name, source in tables.sources.items():
        keys = {**properties(fields_of(source.config)), **properties(own)}
        entry = closed({"source": {"const": name, "description": source.about}, **keys}, source.about)
        required = [field.name for field in fields_of(source.config).values() if field.required]
        sources.append({**entry, "required": ["source", *required]})
    held_out = closed(
        {
            "from": {"const": "train"},
            **properties({name: fields_of(SourceSpec)[name] for name in ("fraction", "name")}),
        },
        "A share of the train rows, held out.",
    )
    held_out["required"] = ["from", "fraction"]
    rest = {name: field for name, field in fields_of(DataConfig).items() if name not in ("train", "validation")}
    lists = {
        "train": {"description": "What is trained on.", "type": "array", "items": {"anyOf": sources}},
        "validation": {
            "description": "Rows whose loss is measured.",
            "type": "array",
            "items": {"anyOf": [*sources, held_out]},
        },
    }
    return closed(
        {**{name: nullable(schema) for name, schema in lists.items()}, **properties(rest)}, "What is trained on."
    )


def _eval(tables: Tables) -> Schema:
    entry = {"anyOf": [_task(name, tables) for name in tables.tasks]}
    own = fields_of(EvalConfig)
    lists = {
        role: nullable({"description": own[role].about, "type": "array", "items": entry})
        for role in ("target", "retain")
    }
    rest = {name: field for name, field in own.items() if name not in lists}
    return closed({**lists, **properties(rest)}, "What is measured at step 0, on the way and at the end.")


def _task(name: str, tables: Tables) -> Schema:
    row = tables.tasks[name]
    fields = fields_of(TaskSpec)
    if row.source is None:
        keys = properties({key: field for key, field in fields.items() if key in own_keys(row.named)})
    else:
        own = {key: fields[key] for key in GENERATIVE_KEYS}
        return _row_task(name, own, tables)
    which = {"pattern": f"^{name}:.+$"} if row.named else {"const": name}
    return {**closed({**keys, "task": {**which, "description": row.about}}, row.about), "required": ["task"]}


def _row_task(name: str, own: Mapping[str, Field], tables: Tables) -> Schema:
    """A task whose items are rows of a source: the source's own keys, and how its rows are read."""
    row = tables.tasks[name]
    how = {key: field for key, field in fields_of(SourceSpec).items() if key in SOURCE_READING}
    entries = []
    for source, kind in tables.sources.items():
        head = {"task": {"const": name, "description": row.about}, "source": {"const": source}}
        keys = {**properties(fields_of(kind.config)), **properties(how), **properties(own)}
        required = ["task"] if source == row.source else ["task", "source"]
        entries.append({**closed({**keys, **head}, row.about), "required": required})
    return {"anyOf": entries}


def closed(keys: Mapping[str, Schema], about: str = "") -> Schema:
    """A map with these keys and no others."""
    head = {"description": about} if about else {}
    return {**head, "type": "object", "additionalProperties": False, "properties": dict(keys)}


def block(fields: Mapping[str, Field], about: str = "") -> Schema:
    """A map with a dataclass's keys."""
    return closed(properties(fields), about)


def library_block(fields: Mapping[str, Field], owned: Mapping[str, str], more: Mapping[str, Schema]) -> Schema:
    """A map with a library's keys but for those that are set elsewhere, and ours."""
    return closed({**more, **properties({name: field for name, field in fields.items() if name not in owned})})


def properties(fields: Mapping[str, Field]) -> dict[str, Schema]:
    """Key -> schema with description and default."""
    return {name: field_schema(field) for name, field in fields.items()}


def field_schema(field: Field) -> Schema:
    """One key: its type, or null."""
    schema = nullable(type_schema(field.hint))
    if field.about:
        schema["description"] = field.about
    if isinstance(field.default, bool | int | float | str) and not isinstance(field.default, Enum):
        schema["default"] = field.default
    return schema


def nullable(schema: Schema) -> Schema:
    """The schema, or null."""
    if schema == {} or "null" in (
        kinds := [schema["type"]] if isinstance(schema.get("type"), str) else schema.get("type", [])
    ):
        return schema
    if set(schema) <= {"type", "items", "additionalProperties"} and kinds:
        return {**schema, "type": [*kinds, "null"]}
    about = {"description": schema["description"]} if "description" in schema else {}
    return {**about, "anyOf": [{key: value for key, value in schema.items() if key != "description"}, {"type": "null"}]}


def type_schema(hint: Any) -> Schema:
    """The JSON schema of a field's type; {} where anything goes."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _any_of([type_schema(member) for member in without_idle_text(arguments)])
    if origin is Literal:
        patterns = [option for option in arguments if isinstance(option, str) and "[" in option]
        options: list[Schema] = [{"type": "string", "pattern": f"^{pattern(option)}$"} for option in patterns]
        return _any_of([{"enum": [option for option in arguments if option not in patterns]}, *options])
    if isinstance(hint, type) and issubclass(hint, Enum):
        return {"enum": [member.value for member in hint]}
    if hint in SCALARS:
        return {"type": SCALARS[hint]}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return block(fields_of(hint))
    container = origin or hint
    if container in (list, tuple, Sequence):
        return {
            "type": "array",
            "items": _any_of([type_schema(member) for member in arguments if member is not Ellipsis]),
        }
    if container in (dict, Mapping):
        return {"type": "object", "additionalProperties": type_schema(arguments[1]) if arguments else {}}
    return {}


def _any_of(members: Sequence[Schema]) -> Schema:
    """One schema for several; plain types as a list of types."""
    unlike = [member for i, member in enumerate(members) if member not in members[:i]]
    if len(unlike) < 2:
        return unlike[0] if unlike else {}
    if all(set(member) == {"type"} for member in unlike):
        return {"type": [member["type"] for member in unlike]}
    return {"anyOf": unlike}

"""From a tree of nodes to typed values: strict, every mismatch reported with its place and a remedy.

Why not pydantic: it takes unknown keys of a plain dataclass without a word, returns an instance of a generated
subclass, and names neither line nor remedy (measured with 2.13); the walk itself is short.
"""

import dataclasses
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Literal

from eval_hooks.bounds import Bound
from eval_hooks.masking import MASK, is_secret
from launch.fields import Field, fields_of
from launch.nodes import Node, plain
from launch.problems import MOST, Problem, nearest, shown

INVALID = object()
"""What a conversion returns after it has reported a problem."""


@dataclass
class Report:
    """The problems found so far, and what is needed to explain them."""

    explain: Callable[[str, str], str | None] = lambda path, key: None
    """(path of the block, unknown key) -> what to write instead, where that is known."""
    bounds: Mapping[type, Mapping[str, Bound]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def add(self, path: str, node: Node, text: str, row: str = "") -> None:
        """Note one problem; `row` is a name that no row of a table has. A secret's value is not said."""
        self.problems.append(Problem(path=path, place=str(node.place), text=unsaid(text, path, node), row=row))

    def unknown(self, block: str, key: str, node: Node, known: Sequence[str]) -> None:
        """Note a key that no block of this kind has."""
        advice = self.explain(block, key)
        close = nearest(key, known) if len(self.problems) < MOST else ""  # it is not shown, and takes a millisecond
        tail = f"; {advice}" if advice else close or "; `temper schema` lists the keys"
        value = f" (value {shown(plain(node), 40)})" if node.value is not None and not is_secret(key) else ""
        self.add(join(block, key), node, f"no such key{value}{tail}")

    def scratch(self) -> "Report":
        """A report of the same kind, for an attempt."""
        return Report(explain=self.explain, bounds=self.bounds)


def unsaid(text: str, path: str, node: Node) -> str:
    """A problem's text without the value, where a key on the way to it is a secret's."""
    if any(is_secret(part) for part in path.split(".")):
        for value in (shown(plain(node), 200), shown(plain(node)), shown(plain(node), 40), node.raw):
            text = text.replace(value, MASK) if len(value) > 3 else text
    return text


def join(block: str, key: str | int) -> str:
    """The path of a key in a block."""
    return f"{block}.{key}" if block else str(key)


def build(
    cls: type, node: Node, path: str, report: Report, known: Sequence[str] = (), given: Mapping[str, Any] | None = None
) -> Any:
    """An instance of a dataclass from a map, or INVALID.

    `known` are further keys of the block, which somebody else reads: named as near, not accepted. `given` are fields
    made elsewhere.
    """
    if not isinstance(node.value, dict):
        report.add(
            path, node, f"{shown(plain(node))}: a map is due; its keys: {', '.join([*fields_of(cls), *known][:12])}"
        )
        return INVALID
    fields = fields_of(cls)
    before = len(report.problems)
    values = dict(given or {})
    for key, child in node.value.items():
        if key in fields:
            values[key] = _field(cls, fields[key], child, join(path, key), report)
        else:
            report.unknown(path, key, child, [*fields, *known])
    for name, missing in fields.items():
        if missing.required and name not in node.value and name not in values:
            report.add(
                join(path, name),
                node,
                f"missing; write {name}: {due(missing.hint)}" + (f" ({missing.about})" if missing.about else ""),
            )
    whole = len(report.problems) == before and all(value is not INVALID for value in values.values())
    return construct(cls, values, node, path, report) if whole else INVALID


def construct(cls: type, values: Mapping[str, Any], node: Node, path: str, report: Report) -> Any:
    """The instance; what its own checks refuse, or a package it lacks, is reported under the block's path."""
    try:
        return cls(**values)
    except (ValueError, ImportError) as error:
        report.add(path, node, str(error))
        return INVALID


def _field(cls: type, wanted: Field, node: Node, path: str, report: Report) -> Any:
    value = convert(wanted.hint, node, path, report)
    bound = report.bounds.get(cls, {}).get(wanted.name)
    if bound and bound.refuses(value):
        report.add(path, node, f"{shown(value) if isinstance(value, str) else value}: must be {bound.words}")
        return INVALID
    return value


def convert(hint: Any, node: Node, path: str, report: Report) -> Any:
    """The node's value as the type asks, or INVALID."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return plain(node)
    if origin in (typing.Union, types.UnionType):
        return _union(arguments, node, path, report)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type) and isinstance(node.value, dict):
        return build(hint, node, path, report)
    container = origin or hint
    if _is(container, (list, tuple, Sequence)) and isinstance(node.value, list):
        return _sequence(container, arguments, node, path, report)
    if _is(container, (dict, Mapping)) and isinstance(node.value, dict):
        of = arguments[1] if arguments else Any
        values = {key: convert(of, child, join(path, key), report) for key, child in node.value.items()}
        return INVALID if any(value is INVALID for value in values.values()) else values
    value = _scalar(hint, node)
    if value is INVALID:
        report.add(path, node, f"{shown(plain(node))}: {due(hint)} is due{_remedy(hint, node)}")
    return value


def _is(kind: Any, kinds: tuple[type, ...]) -> bool:
    return isinstance(kind, type) and kind is not str and kind in kinds


def _sequence(container: Any, arguments: tuple[Any, ...], node: Node, path: str, report: Report) -> Any:
    fixed = container is tuple and arguments and arguments[-1] is not Ellipsis
    if fixed and len(arguments) != len(node.value):
        report.add(path, node, f"{shown(plain(node))}: a list of {len(arguments)} is due")
        return INVALID
    hints = list(arguments) if fixed else [arguments[0] if arguments else Any] * len(node.value)
    values = [
        convert(hint, child, join(path, i), report)
        for i, (hint, child) in enumerate(zip(hints, node.value, strict=True))
    ]
    if any(value is INVALID for value in values):
        return INVALID
    return tuple(values) if container is tuple else values


def _union(members: tuple[Any, ...], node: Node, path: str, report: Report) -> Any:
    """The member whose type is the value's own, else the first that takes it; else the problems of the nearest one."""
    members = without_idle_text(members)
    for member in sorted(members, key=lambda m: m is not type(node.value)):
        attempt = report.scratch()
        value = convert(member, node, path, attempt)
        if not attempt.problems:
            return value
        if isinstance(node.value, dict | list) and any(problem.path != path for problem in attempt.problems):
            report.problems += attempt.problems
            return INVALID
    report.add(path, node, f"{shown(plain(node))}: {due(typing.Union[members])} is due{_remedy(members[0], node)}")  # noqa: UP007
    return INVALID


def without_idle_text(members: tuple[Any, ...]) -> tuple[Any, ...]:
    """Without `str` beside an enum: transformers writes `SchedulerType | str` for the names of the enum's members.

    In an order of their own: equal unions share one cached object, whose order is that of the first one written.
    """
    has_enum = any(isinstance(member, type) and issubclass(member, Enum) for member in members)
    kept = (member for member in members if not (has_enum and member is str))
    return tuple(sorted(kept, key=lambda member: (member is type(None), str(member))))


def _scalar(hint: Any, node: Node) -> Any:
    value = node.value
    if typing.get_origin(hint) is Literal:
        return value if any(_same(option, value) for option in typing.get_args(hint)) else INVALID
    if isinstance(hint, type) and issubclass(hint, Enum):
        return value if value in [member.value for member in hint] else INVALID
    if hint in (None, type(None)):
        return None if value is None else INVALID
    if hint is bool or isinstance(value, bool):
        return value if hint is bool and isinstance(value, bool) else INVALID
    if hint is int and isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        return int(value)
    if hint in (int, float) and isinstance(value, (int, float) if hint is float else int):
        return value
    if hint in (str, Path) and isinstance(value, str):
        return hint(value)
    return INVALID


def _same(option: Any, value: Any) -> bool:
    """Whether a value is an option, of the same type (True is not 1)."""
    if isinstance(option, str) and isinstance(value, str) and "[" in option:
        return re.fullmatch(pattern(option), value) is not None
    return type(option) is type(value) and option == value


def pattern(option: str) -> str:
    """The regular expression of an option; PEFT writes `name_[hint]` for any text in the hint's place."""
    return re.sub(r"\\\[.*?\\\]", ".+", re.escape(option))


def due(hint: Any) -> str:
    """What a type asks for, in words."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        words = [due(member) for member in without_idle_text(arguments)]
        return ", ".join(words[:-1]) + f" or {words[-1]}" if len(words) > 1 else words[0]
    if origin is Literal:
        return (
            " or ".join(str(option) for option in arguments)
            if len(arguments) < 3
            else f"one of {', '.join(map(str, arguments))}"
        )
    if isinstance(hint, type) and issubclass(hint, Enum):
        return f"one of {', '.join(str(member.value) for member in hint)}"
    names = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "text",
        Path: "a path",
        None: "null",
        type(None): "null",
    }
    if hint in names:
        return names[hint]
    if _is(origin or hint, (list, tuple, Sequence)):
        return f"a list of {due(arguments[0])}" if arguments and arguments[0] is not Any else "a list"
    return "a map"


def _remedy(hint: Any, node: Node) -> str:
    """How to write it, where the slip is a common one."""
    value, raw = node.value, node.raw
    if (
        hint is bool
        and isinstance(value, str)
        and value.lower() in ("yes", "no", "on", "off", "y", "n", "true", "false")
    ):
        return f"; write {'true' if value.lower() in ('yes', 'on', 'y', 'true') else 'false'}"
    if hint in (int, float) and isinstance(value, str):
        number = re.fullmatch(
            r"[-+]?[0-9.]+(e[-+]?[0-9]+)?", value.replace("_", "").replace(",", "").strip(), re.IGNORECASE
        )
        return f"; write {number.group()} without quotes" if number else ""
    if hint is str and isinstance(value, bool | int | float):
        return f'; write "{raw}" in quotes'
    if typing.get_origin(hint) is Literal or (isinstance(hint, type) and issubclass(hint, Enum)):
        options = typing.get_args(hint) or [member.value for member in typing.cast(type[Enum], hint)]
        return nearest(str(value), [str(option) for option in options], few=0)
    if _is(typing.get_origin(hint) or hint, (list, tuple, Sequence)):
        return f"; write [{shown(plain(node))}]" if not isinstance(value, dict | list) else ""
    return ""

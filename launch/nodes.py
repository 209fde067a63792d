"""YAML as a tree that remembers where each value was written; the one place that knows what PyYAML does with it.

PyYAML reads by YAML 1.1: `1e-5` is text, `no` is false, `010` is 8, `12:30:45` is 45045, `2024-01-01` a date, and a
repeated key silently wins. Here scalars follow YAML 1.2's core schema (only true and false are booleans; 1e-5 is a
number); a number with a leading zero and a repeated key are refused.
"""

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import isinf
from pathlib import Path
from typing import Any

import yaml
from yaml.reader import ReaderError

from eval_hooks.json_text import encodes
from launch.problems import Problem, RecipeError, shown

INT, FLOAT, BOOL, NULL, STR = (f"tag:yaml.org,2002:{name}" for name in ("int", "float", "bool", "null", "str"))
MERGE = "tag:yaml.org,2002:merge"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a value was written."""

    file: Path | None = None
    """None: on the command line."""
    line: int = 0
    """From 1."""
    column: int = 0
    """From 1."""

    def __str__(self) -> str:
        return f"{short(self.file)}:{self.line}" if self.file else "command line"

    @property
    def exact(self) -> str:
        """With the column, where two places on one line must be told apart."""
        return f"{self}:{self.column}" if self.file else str(self)

    @property
    def folder(self) -> Path:
        """What a relative path written there is relative to."""
        return self.file.parent if self.file else Path.cwd()


@dataclass(frozen=True, kw_only=True)
class Node:
    """A value of a recipe: a dict of nodes, a list of nodes, or a scalar."""

    value: Any
    place: Place
    raw: str = ""
    """A scalar as written: `1.0` where the value is 1.0, `1_000` where it is text."""


def short(file: Path) -> str:
    """A file as messages show it: from the current folder where it lies below."""
    return str(file.relative_to(Path.cwd())) if file.is_absolute() and file.is_relative_to(Path.cwd()) else str(file)


def plain(node: Node) -> Any:
    """The value without its places: dicts, lists, scalars."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    return [plain(child) for child in node.value] if isinstance(node.value, list) else node.value


LONGEST = 1 << 20
"""Characters of a recipe; the longest shipped one has some four thousand."""
DEEPEST = 60
"""Maps and lists within each other; all that walks a recipe recurses, and Python ends at a thousand."""
MOST = 50_000
"""Values of a recipe with every alias written out: aliases of aliases multiply."""
SIXTY_FOUR_BITS = range(-(2**63), 2**63)
"""What torch, numpy and SQLite take as a whole number."""


class _Loader(yaml.SafeLoader):
    """SafeLoader's parser with the scalars of YAML 1.2, and an end to how deep values nest."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Count the levels on the way down: the library would recurse until Python stops it."""
        self.depth += 1
        if self.depth > DEEPEST:
            mark = self.peek_event().start_mark
            text = f"maps and lists nest more than {DEEPEST} deep; a recipe needs six"
            raise yaml.MarkedYAMLError(problem=text, problem_mark=mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


NUMBER_STARTS = list("-+.0123456789")
for _tag, _pattern, _first in (
    (NULL, r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    (BOOL, r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    (INT, r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", NUMBER_STARTS),
    (FLOAT, r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", NUMBER_STARTS),
    (FLOAT, r"^(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$", NUMBER_STARTS),
    (MERGE, r"^<<$", ["<"]),
):
    _Loader.add_implicit_resolver(_tag, re.compile(_pattern), _first)


def _int(text: str) -> int:
    return int(text, 0) if text[:2] in ("0x", "0o") else int(text)


def _float(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


TOO_LARGE = "a whole number of more than 64 bits, which nothing here can count with; write a smaller one"
SCALARS: Mapping[str, Callable[[str], Any]] = {
    INT: _int,
    FLOAT: _float,
    BOOL: lambda text: text.lower() == "true",
    NULL: lambda text: None,
    STR: str,
}


def parse(text: str, file: Path | None = None) -> Node | None:
    """The tree of one YAML document; None where there is nothing in it.

    Raises RecipeError with file:line for what is not YAML, a repeated key, a key that is not text, a number with a
    leading zero, a tag; and for what is too long, too deep, or too much with its aliases written out.
    """
    if len(text) > LONGEST:
        where = str(Place(file=file)) if file is None else short(file)
        raise RecipeError(Problem(place=where, text=f"more than {LONGEST:,} characters; this is no recipe"))
    try:
        loader = _Loader(text)
        try:
            top = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise _syntax(error, file, text) from error
    return _build(top, file, _Walk()) if top is not None else None


@dataclass(frozen=True, kw_only=True)
class _Walk:
    """Where a walk over YAML's nodes is, and what it has come by."""

    above: tuple[int, ...] = ()
    """The nodes around this one."""
    count: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    """Of all values built, the same for the whole walk."""


def _syntax(error: yaml.YAMLError, file: Path | None, text: str) -> RecipeError:
    mark = getattr(error, "problem_mark", None)
    place = Place(file=file, line=mark.line + 1, column=mark.column + 1) if mark else Place(file=file)
    said = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    if isinstance(error, ReaderError):
        before = text[: error.position]
        place = Place(file=file, line=before.count("\n") + 1, column=len(before) - before.rfind("\n"))
        said = f"the character {ascii(chr(int(error.character)))} is not allowed"
    if "'\\t'" in said:
        said = "a tab; YAML is indented with spaces"
    elif "expected a single document" in str(error) or "but found another document" in said:
        said = "a second document (`---`); one recipe is one document"
    elif file is None:
        said = f"{said} in {shown(text)}"
    return RecipeError(Problem(place=place.exact, text=f"not YAML: {said}"))


def _build(node: yaml.Node, file: Path | None, walk: _Walk) -> Node:
    place = Place(file=file, line=node.start_mark.line + 1, column=node.start_mark.column + 1)
    if id(node) in walk.above:
        raise RecipeError(Problem(place=place.exact, text="an anchor that contains itself; write the value out"))
    if next(walk.count) > MOST or len(walk.above) > DEEPEST:
        text = f"with its aliases written out more than {MOST:,} values, or {DEEPEST} deep; write less"
        raise RecipeError(Problem(place=place.exact, text=text))
    walk = replace(walk, above=(*walk.above, id(node)))
    if isinstance(node, yaml.MappingNode):
        return Node(value=_mapping(node, file, walk), place=place)
    if isinstance(node, yaml.SequenceNode):
        return Node(value=[_build(child, file, walk) for child in node.value], place=place)
    return Node(value=_scalar(node, place), place=place, raw=str(node.value))


def _scalar(node: yaml.Node, place: Place) -> Any:
    if node.tag not in SCALARS:
        raise RecipeError(
            Problem(place=place.exact, text=f"tag {node.tag!r}: a recipe has plain values only; leave the tag out")
        )
    text = str(node.value)
    if "\0" in text or not encodes(text):
        said = f"{shown(text)}: a NUL or half of a character (\\ud800 to \\udfff), which no text may have; remove it"
        raise RecipeError(Problem(place=place.exact, text=said))
    if node.tag == INT and len(text) > 60:
        raise RecipeError(Problem(place=place.exact, text=f"{shown(text)}: {TOO_LARGE}"))
    if node.tag == INT and re.match(r"[-+]?0[0-9]", text):
        meant = str(int(text))
        raise RecipeError(
            Problem(
                place=place.exact, text=f'{text}: a number with a leading zero; write {meant}, or "{text}" for text'
            )
        )
    try:
        value = SCALARS[node.tag](text)
    except ValueError as error:  # a tag of one's own, as in `!!int x`
        raise RecipeError(
            Problem(place=place.exact, text=f"{shown(text)} under tag {node.tag!r}: {str(error)[:100]}")
        ) from error
    if node.tag == INT and value not in SIXTY_FOUR_BITS:
        raise RecipeError(Problem(place=place.exact, text=f"{shown(text)}: {TOO_LARGE}"))
    if node.tag == FLOAT and isinf(value) and "inf" not in text.lower():
        raise RecipeError(
            Problem(place=place.exact, text=f"{shown(text)}: larger than any number; write a smaller one")
        )
    return value


def _mapping(node: yaml.MappingNode, file: Path | None, walk: _Walk) -> dict[str, Node]:
    """Own keys over merged ones (`<<`), the first of several merged maps winning, as YAML's merge key says."""
    own: dict[str, Node] = {}
    merged: dict[str, Node] = {}
    first: dict[str, Place] = {}
    for key_node, value_node in node.value:
        place = Place(file=file, line=key_node.start_mark.line + 1, column=key_node.start_mark.column + 1)
        if key_node.tag == MERGE:
            for source in _merge_sources(value_node, file, walk, place):
                merged = {**source, **merged}
            continue
        if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != STR:
            written = shown(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "in { } or [ ]"
            text = f"key {written} is not text; put it in quotes"
            raise RecipeError(Problem(place=place.exact, text=text))
        key = str(_scalar(key_node, place))
        if key in first:
            raise RecipeError(
                Problem(
                    place=place.exact,
                    text=f"key {shown(key)} is there twice, first at {first[key].exact}; remove one of them",
                )
            )
        first[key] = place
        own[key] = _build(value_node, file, walk)
    return {**merged, **own}


def _merge_sources(node: yaml.Node, file: Path | None, walk: _Walk, place: Place) -> list[dict[str, Node]]:
    built = _build(node, file, walk)
    sources = built.value if isinstance(built.value, list) else [built]
    if not all(isinstance(source.value, dict) for source in sources):
        raise RecipeError(
            Problem(place=place.exact, text="`<<` merges a map or a list of maps; name an anchor of a map")
        )
    return [source.value for source in sources]

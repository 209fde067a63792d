"""From files and key=value to one tree: `extends`, overrides, relative paths.

Maps merge, lists replace, null deletes what the base has; where there is nothing to delete, the null stays, as a value.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from eval_hooks.masking import masked_text, masked_words
from launch.nodes import DEEPEST, LONGEST, Node, Place, parse, plain, short
from launch.paths import absolute
from launch.problems import Problem, RecipeError, shown
from launch.recipes import find_recipe

PATH_KEYS = frozenset({"path", "include_path", "recipe", "tables_path", "chat_template", "deepspeed", "plugins"})
"""Keys whose values may be paths."""
FILE_ENDINGS = frozenset([".jsonl", ".json", ".csv", ".parquet", ".txt", ".gz", ".jinja", ".yaml", ".py"])
"""A name that ends so is a file, there or not; anything else may be a hub id or the name of something shipped."""


def read(file: Path, above: tuple[Path, ...] = (), read_before: dict[Path, Node] | None = None) -> Node:
    """A recipe file with all it extends, paths resolved; each file is read once, however often it is extended.

    Raises RecipeError for what cannot be read or parsed, for a circle, which it prints, and for a chain without end.
    """
    known = {} if read_before is None else read_before
    if file in known:
        return known[file]
    if len(above) > DEEPEST:
        raise RecipeError(f"recipe {short(file)}: extends {len(above)} files, one through the other; write it out")
    if file in above:
        circle = " -> ".join(short(f) for f in (*above[above.index(file) :], file))
        raise RecipeError(f"extends goes in a circle: {circle}")
    own = parse(text_of(file), file)
    if own is None or not isinstance(own.value, dict):
        held = "empty" if own is None else f"{shown(plain(own))} instead of sections"
        raise RecipeError(f"recipe {short(file)}: {held}; a recipe starts with `stage:` and `model:`")
    keys = dict(own.value)
    extends = keys.pop("extends", None)
    tree = resolve_paths(Node(value=keys, place=own.place))
    for base in reversed(_bases(extends)):
        tree = merge(read(_base_file(base), (*above, file), known), tree)
    known[file] = tree
    return tree


def text_of(file: Path) -> str:
    """A recipe file's text. Raises RecipeError for a pipe or a device, what is too long, and what is no text."""
    try:
        if not file.is_file():
            raise RecipeError(f"recipe {short(file)}: no regular file")
        with file.open("rb") as handle:
            content = handle.read(4 * LONGEST + 1)
        if len(content) > 4 * LONGEST:
            raise RecipeError(f"recipe {short(file)}: more than {LONGEST:,} characters; this is no recipe")
        return content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"recipe {short(file)}: cannot be read: {error}; a recipe is UTF-8 text") from error


def _bases(extends: Node | None) -> list[Node]:
    if extends is None or extends.value is None:
        return []
    bases = extends.value if isinstance(extends.value, list) else [extends]
    for base in bases:
        if not isinstance(base.value, str):
            text = f"{shown(base.value)}: a recipe's path or bare name is due, or a list of them"
            raise RecipeError(Problem(path="extends", place=str(base.place), text=text))
    return bases


def _base_file(base: Node) -> Path:
    try:
        return find_recipe(base.value, base.place.folder)
    except RecipeError as error:
        raise RecipeError(Problem(path="extends", place=str(base.place), text=str(error))) from error


def merge(base: Node, over: Node) -> Node:
    """`over` laid on `base`: maps merge, lists and scalars replace, null deletes."""
    if not isinstance(base.value, dict) or not isinstance(over.value, dict):
        return over
    merged = dict(base.value)
    for key, node in over.value.items():
        if key not in merged:
            merged[key] = node
        elif node.value is None:
            del merged[key]
        else:
            merged[key] = merge(merged[key], node)
    return Node(value=merged, place=over.place)


def override(tree: Node, word: str) -> Node:
    """The tree with `a.b.0.c=value` set; the value is YAML, null (or nothing) deletes the key.

    Raises RecipeError for a word without `=`, an index out of range, a path through a scalar.
    """
    path, equals, text = word.partition("=")
    if not equals or not path or not all(path.split(".")):
        raise RecipeError(Problem(place="command line", text=f"{shown(masked_text(word))}: write section.key=value"))
    if path.count(".") > DEEPEST:
        raise RecipeError(Problem(place="command line", text=f"{shown(path)}: more than {DEEPEST} keys deep"))
    if path.split(".")[0] == "extends":
        raise RecipeError(
            Problem(path="extends", place="command line", text="only a file can extend; name another recipe")
        )
    try:
        value = parse(text) or Node(value=None, place=Place())
    except RecipeError:
        if masked_words([word]) == [word]:
            raise
        raise RecipeError(Problem(path=path, place="command line", text="not YAML")) from None
    return _set(tree, path.split("."), resolve_paths(value, path.split(".")[-1]), ())


def _set(node: Node, keys: Sequence[str], value: Node, above: tuple[str, ...]) -> Node:
    """A copy of `node` in which `keys` lead to `value`."""
    key, rest = keys[0], keys[1:]
    if isinstance(node.value, list):
        index = _index(node, key, above)
        items = list(node.value)
        items[index] = _set(items[index], rest, value, (*above, key)) if rest else value
        return replace(node, value=items)
    if node.value is not None and not isinstance(node.value, dict):
        text = f"{shown(node.value)} ({node.place}) has no key {key!r} below it"
        raise RecipeError(Problem(path=".".join(above), place="command line", text=text))
    children = dict(node.value or {})
    if rest:
        children[key] = _set(children.get(key, Node(value={}, place=value.place)), rest, value, (*above, key))
    elif value.value is None and key in children:
        del children[key]
    else:
        children[key] = value
    return replace(node, value=children)


def _index(node: Node, key: str, above: tuple[str, ...]) -> int:
    n = len(node.value)
    if not key.isdecimal() or len(key) > 9 or int(key) >= n:
        there = f"0 to {n - 1}" if n else "none: the list is empty"
        text = f"no entry {shown(key)} in the list of {node.place}; entries are {there}"
        raise RecipeError(Problem(path=".".join(above), place="command line", text=text))
    return int(key)


def resolve_paths(node: Node, key: str = "") -> Node:
    """The tree with relative paths made absolute, each from the folder of the file that names it.

    Only text under a path key, and only where it starts with `.` or `~`, ends like a file, or is there: hub ids stay.
    """
    if isinstance(node.value, dict):
        return replace(node, value={name: resolve_paths(child, name) for name, child in node.value.items()})
    if isinstance(node.value, list):
        return replace(node, value=[resolve_paths(child, key) for child in node.value])
    if key in PATH_KEYS and isinstance(node.value, str) and "\n" not in node.value and "{" not in node.value:
        return replace(node, value=_resolved(node.value, node.place.folder))
    return node


def _resolved(value: str, folder: Path) -> str:
    if "://" in value:
        return value
    try:
        path = Path(value).expanduser()
        joined = folder / path
        there = bool(value) and os.path.exists(joined)
    except (RuntimeError, ValueError):  # `~nobody/x`: who reads the file says so
        return value
    looks_like_one = value.startswith(("./", "../", "~")) or value in (".", "..") or path.suffix.lower() in FILE_ENDINGS
    return str(absolute(joined)) if value and (looks_like_one or there) else value


def tree_of(values: Mapping[str, Any]) -> Node:
    """A tree of plain values, as if from the command line."""
    return _node(values)


def _node(value: Any) -> Node:
    if isinstance(value, Mapping):
        value = {key: _node(child) for key, child in value.items()}
    elif isinstance(value, list | tuple):
        value = [_node(child) for child in value]
    return Node(value=value, place=Place(), raw=str(value))

"""Texts to publish: without the folders, the user and the machine that they were written on."""

import getpass
import os
import platform
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from eval_hooks.masking import masked_text, masked_yaml

PART = r"[^\s/\\'\"`,;:|(){}\[\]<>#=*?]"
QUOTED = re.compile(
    r"(?P<quote>[\"'`])(?:file://)?(?:~[\w.\-]*|\.{1,2})?/(?:[^\"'`\n]*/)?(?P<name>[^\"'`/\n]*)/*(?P=quote)"
)
BARE = re.compile(rf"(?<![\w:/.~\\\-])(?:file://)?(?:~[\w.\-]*|\.{{1,2}})?/(?:{PART}+/+)+(?P<name>{PART}*)")
SHORT = re.compile(rf"(?<![\w:/.~\\\-])(?:~[\w.\-]*|\.{{1,2}})/+(?P<name>{PART}+)")
WINDOWS = re.compile(r"(?<!\w)[A-Za-z]:\\(?:[^\\\s\"']+\\)*(?P<name>[^\\\s\"']*)")
HOMES = re.compile(r"(?<![\w:/.])/(?:home|Users)/[\w.\-]+(?![\w.\-])(?=/?(?:[^/\w]|$))")
RELATIVE = re.compile(
    rf"(?<![\w:/.~\\@\-])(?=\S{{0,200}}[A-Za-z])(?:(?:{PART}+/){{2,}}(?P<name>{PART}+)"
    rf"|{PART}+/(?P<file>{PART}+\.(?:jsonl?|csv|parquet|txt|gz|ya?ml|py|jinja|safetensors|bin))(?![\w/]))"
)
COMMON = frozenset(
    "root user users admin ubuntu debian ec2-user home runner data model train test none localhost".split()
)
"""Names of accounts and machines that say nothing of anybody."""


def impersonal(text: str) -> str:
    """The text with a file's name in place of its path, and without the user's and the machine's name."""
    for home in _homes():
        text = re.sub(rf"(?<![\w.\-]){re.escape(home)}(?![\w.\-])", "~", text)
    text = QUOTED.sub(lambda found: f"{found['quote']}{_named(found)}{found['quote']}", HOMES.sub("~", text))
    for path in (BARE, SHORT, WINDOWS, RELATIVE):
        text = path.sub(_named, text)
    for name, word in _people():
        text = re.sub(rf"(?<![\w]){re.escape(name)}(?![\w])", word, text)
    return masked_text(text)


def impersonal_recipe(text: str) -> str:
    """The same of a recipe's text."""
    return impersonal(masked_yaml(text))


def impersonal_tree(value: Any, *, whole: bool = False) -> Any:
    """The same of nested maps and lists; with `whole` only texts that are a path from end to end.

    For files in which a text may be anything, as a chat template.
    """
    walk = partial(impersonal_tree, whole=whole)
    if isinstance(value, Mapping):
        return {walk(key): walk(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [walk(child) for child in value]
    if not isinstance(value, str):
        return value
    return base_name(value) if _is_path(value) else value if whole else impersonal(value)


def base_name(path: str) -> str:
    """A model's or a file's name: a hub id whole, of a path the last part."""
    return impersonal(path) if is_hub_id(path) else impersonal(Path(path).name or path)


def is_hub_id(name: str) -> bool:
    """Whether a model's name could be one of the hub: OWNER/NAME, and nothing here."""
    return bool(re.fullmatch(r"\w[\w.\-]*/\w[\w.\-]*", name)) and not Path(name).exists()


def _is_path(text: str) -> bool:
    return bool(re.fullmatch(r"(?:/|~|\.{1,2}/|[A-Za-z]:\\)[^\n]*[/\\][^\n]*", text))


def _named(found: "re.Match[str]") -> str:
    """The last part of a path; of one that ends in a slash the part before it."""
    groups = found.groupdict()
    return (
        groups["name"]
        or groups.get("file")
        or next((part for part in reversed(re.split(r"[/\\]", found[0].strip("\"'`"))) if part), "")
    )


def _homes() -> list[str]:
    found = {os.environ.get("HOME", ""), str(Path.home())}
    with suppress(KeyError, ImportError, OSError):
        import pwd

        found.add(pwd.getpwuid(os.getuid()).pw_dir)
    return sorted((home for home in found if len(home) > 1), key=len, reverse=True)


def _people() -> list[tuple[str, str]]:
    """(name, what stands in its place) of the user and the machine, where the name is one's own."""
    users = {Path(home).name for home in _homes()} | {os.environ.get("USER", ""), os.environ.get("LOGNAME", "")}
    with suppress(KeyError, OSError, ImportError):
        users.add(getpass.getuser())
    hosts = {platform.node(), platform.node().partition(".")[0]}
    named = [*((name, "user") for name in users), *((name, "host") for name in hosts)]
    return sorted(
        ((name, word) for name, word in named if len(name) > 2 and name.lower() not in COMMON),
        key=lambda pair: len(pair[0]), reverse=True,
    )  # fmt: skip

"""Secrets in a recipe: refused where libraries write what they are given, for nothing of ours masks that."""

import re
from collections.abc import Iterator, Mapping, Sequence

from eval_hooks.masking import hides, is_secret, masked_text, masked_words
from launch.nodes import Node
from launch.problems import Problem, RecipeError
from launch.typed import Report, join

READ_ONLY = ("data", "eval", "plugins", "pipeline")
"""Sections that only say what is read; their secrets are masked where they are written."""
REMEDY = {
    "train": "remove it: it would be in every checkpoint's training_args.bin; a server's login goes to ~/.netrc",
    "launch": "remove it: Slurm shows a job's options to others; export it before, `export: ALL` hands it on",
    "track": "remove it; `wandb login`, or the variable WANDB_API_KEY",
    "adapter": "remove it: it would be in every checkpoint's adapter_config.json",
}
"""Section -> what to do instead."""
ANYWHERE = "remove it, and set a variable of the environment instead; a hub's is `hf auth login`, or HF_TOKEN"


def check(tree: Node, report: Report) -> None:
    """Report each secret that a library would write; one that has a problem already needs no second."""
    known = {problem.path for problem in report.problems}
    for name, node in tree.value.items():
        if name in READ_ONLY:
            continue
        for path, child in _secrets(node, name):
            if path not in known:
                report.add(path, child, f"holds a secret; {REMEDY.get(name, ANYWHERE)}")


def _secrets(node: Node, path: str, key: str = "", within: bool = False) -> Iterator[tuple[str, Node]]:
    """(path, node) of every scalar that is a secret by its key, by one above it, or by what it looks like."""
    if isinstance(node.value, Mapping):
        for name, child in node.value.items():
            held = within or (is_secret(name) and not isinstance(child.value, str | int | float | None))
            yield from _secrets(child, join(path, name), name, held)
    elif isinstance(node.value, list):
        for number, child in enumerate(node.value):
            yield from _secrets(child, join(path, number), key, within)
    elif (
        isinstance(node.value, str)
        and (within or hides(key, node.value) or _shows(node.value))
        or hides(key, node.value)
    ):
        yield path, node


def _shows(text: str) -> bool:
    """Whether a text holds a secret, also as `NAME=value` of a list of variables."""
    variables = [part for part in text.split(",") if re.match(r"\w+=", part)]
    return masked_text(text) != text or masked_words(variables) != variables


def check_words(words: Sequence[str]) -> None:
    """Raise RecipeError where a command that is printed, or handed to Slurm, would show a secret."""
    shown = masked_words(words)
    if hidden := [new for old, new in zip(words, shown, strict=True) if old != new]:
        text = f"{', '.join(hidden)}: a secret, which the printed command would show; write it as a variable's name"
        raise RecipeError(Problem(place="command line", text=f"{text}, or leave it to the environment"))

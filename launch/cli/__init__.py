"""The command `temper`. Nothing heavy is imported here at the top: `temper --help` costs what importing typer costs."""

import io
import logging
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from launch.cli import runs, measures, catalogs  # isort: skip - each registers its commands, in the order of --help
from launch.cli.app import app, people_errors

__all__ = ["app", "arrange", "catalogs", "main", "measures", "people_errors", "runs"]
CHATTY = ("torch.utils._pytree", "torchao")
"""Loggers that warn, when torchao is installed, at every import of transformers' models."""


def arrange(words: Sequence[str]) -> list[str]:
    """The command line as typer can take it.

    Without the `--local_rank` that launchers inject anywhere, with a value after a bare `--resume`, with an option for
    each of the runs that follow compare's `--seeds` and `--against`; help where there is nothing.
    """
    kept: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if re.fullmatch(r"--local[-_]rank(=.*)?", word):
            if "=" not in word and rest:
                rest.pop(0)
        elif word == "--resume":
            named = rest and re.fullmatch(r"[^=\-][^=]*:[\w.+-]+", rest[0])
            kept.append(f"--resume={rest.pop(0) if named else 'newest'}")
        elif word in ("--seeds", "--against") and kept[:1] == ["compare"] and rest and not rest[0].startswith("-"):
            while rest and not rest[0].startswith("-"):
                kept.append(f"{word}={rest.pop(0)}")
        else:
            kept.append(word)
    return kept or ["--help"]


def main() -> None:
    """Run the command; of a run with several ranks only the first one is seen."""
    from eval_hooks.masking import masked_stream

    sys.stdout, sys.stderr = masked_stream(sys.stdout), masked_stream(sys.stderr)
    words = arrange(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # where the terminal's encoding is ASCII, say
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
    if words[0] == "train":
        from trainers.ranklog import as_rank

        with as_rank():
            app(words, prog_name="temper")
    else:
        if os.environ.get("RANK", "0") != "0":
            sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - as long as the process
        app(words, prog_name="temper")

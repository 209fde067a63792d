"""Run folders of strangers."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.hostile.seed import STEP, Seed

Make = Callable[[Path, Seed], None]
"""Spoils a run folder that was right."""

PLUGIN = "import os, pathlib\npathlib.Path(os.environ['CANARY']).write_text('run')\nTASKS = {'theirs': None}\n"
DEEP = "[" * 100_000
ESCAPES = "\x1b]52;c;cHduZWQ=\x07\x1b[2J[/b]$^$ <script>alert(1)</script> | `"


def edited(name: str, change: Callable[[Any], Any]) -> Make:
    """A JSON file of the folder with something else in it."""

    def make(run: Path, seed: Seed) -> None:
        for file in run.glob(name):
            file.write_text(json.dumps(change(json.loads(file.read_text()))))

    return make


def written(name: str, content: str | bytes) -> Make:
    """A file of the folder with other content."""

    def make(run: Path, seed: Seed) -> None:
        for file in list(run.glob(name)) or [run / name]:
            file.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)

    return make


def linked(name: str, to: str) -> Make:
    """A link in the place of a file or folder, to something in the user's home."""

    def make(run: Path, seed: Seed) -> None:
        path = run / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.symlink_to(seed.stage.home / to)

    return make


def piped(name: str) -> Make:
    """A pipe in the place of a file."""

    def make(run: Path, seed: Seed) -> None:
        (run / name).unlink(missing_ok=True)
        os.mkfifo(run / name)

    return make


def gone(name: str) -> Make:
    """A file or folder that is not there."""

    def make(run: Path, seed: Seed) -> None:
        path = run / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    return make


def with_plugin(run: Path, seed: Seed) -> None:
    """The recipe names a Python file that lies in the folder."""
    (run / "theirs.py").write_text(PLUGIN)
    edited("recipe.resolved.json", lambda whole: {**whole, "plugins": [str(run / "theirs.py")]})(run, seed)


def with_model_code(run: Path, seed: Seed) -> None:
    """Weights, tokenizer and evaluation's tokenizer with Python files, and a recipe that trusts them."""
    trusting = edited("recipe.resolved.json", lambda w: {**w, "model": {**w["model"], "trust_remote_code": True}})
    trusting(run, seed)
    for folder in (run / "checkpoints" / f"checkpoint-{STEP}", run / "eval_tokenizer"):
        (folder / "tokenization_theirs.py").write_text(PLUGIN + "class Theirs: pass\n")
        file = folder / "tokenizer_config.json"
        whole = json.loads(file.read_text())
        whole["auto_map"] = {"AutoTokenizer": ["tokenization_theirs.Theirs", "tokenization_theirs.Theirs"]}
        file.write_text(json.dumps(whole))


def in_words(summary: dict[str, Any]) -> dict[str, Any]:
    """A summary whose task, subjects and samples are called what breaks screens and pictures."""
    text = json.dumps(summary).replace("pocket", json.dumps(ESCAPES)[1:-1])
    found = json.loads(text)
    for task in found["tasks"].values():
        for group in ("by_subject", "by_category"):
            task[group] = {ESCAPES + name: one for name, one in (task.get(group) or {}).items()}
    return found


def renamed(summary: dict[str, Any]) -> dict[str, Any]:
    """A summary whose task is a path."""
    return {**summary, "tasks": {f"../../../../home/precious/{name}": one for name, one in summary["tasks"].items()}}


def odd_checkpoints(run: Path, seed: Seed) -> None:
    """Folders whose names have no number."""
    for name in (
        "checkpoints/checkpoint-x",
        "evals/step-x",
        "checkpoints/checkpoint--1",
        "evals/step-99999999999999999999",
    ):
        (run / name).mkdir()
        (run / name / "summary.json").write_text("{}")


CHECKPOINT = f"checkpoints/checkpoint-{STEP}"
FOLDERS: dict[str, Make] = {
    "recipe.yaml is a link to a secret": linked("recipe.yaml", ".ssh_key"),
    "recipe.resolved.json is a link to a secret": linked("recipe.resolved.json", "precious/checkpoint-1/config.json"),
    "metrics.jsonl is a link to .bashrc": linked("metrics.jsonl", ".bashrc"),
    "status.json is a link": linked("status.json", ".bashrc"),
    "checkpoints is a link": linked("checkpoints", "precious"),
    "evals is a link": linked("evals", "precious"),
    "best is a link elsewhere": linked("best", "precious/checkpoint-1"),
    "logs is a link": linked("logs", "precious"),
    "wandb is a link": linked("wandb", "precious"),
    "aside is a link": linked("aside", "precious"),
    "report.html is a link": linked("report.html", ".bashrc"),
    "the checkpoint is a link": linked(CHECKPOINT, "precious/checkpoint-1"),
    "eval_tokenizer is a link": linked("eval_tokenizer", "precious"),
    "status.json is a pipe": piped("status.json"),
    "recipe.yaml is a pipe": piped("recipe.yaml"),
    "the summary is a pipe": piped(f"evals/step-{STEP}/summary.json"),
    "a plugin": with_plugin,
    "code beside the model": with_model_code,
    "deep JSON in status.json": written("status.json", DEEP),
    "deep JSON in summary.json": written("evals/step-*/summary.json", DEEP),
    "deep JSON in recipe.resolved.json": written("recipe.resolved.json", DEEP),
    "deep JSON in metrics.jsonl": written("metrics.jsonl", DEEP + "\n"),
    "deep JSON in data.manifest.json": written("data.manifest.json", DEEP),
    "deep JSON in environment.json": written("environment.json", DEEP),
    "deep JSON in complete.json": written(f"{CHECKPOINT}/complete.json", DEEP),
    "deep JSON in trainer_state.json": written(f"{CHECKPOINT}/trainer_state.json", DEEP),
    "a list for status.json": written("status.json", "[1, 2]"),
    "a list for summary.json": written("evals/step-*/summary.json", "[1, 2]"),
    "a number for recipe.resolved.json": written("recipe.resolved.json", "7"),
    "lists in metrics.jsonl": written("metrics.jsonl", '[1]\n"x"\n{"step": "x"}\n{"step": 1e999}\n'),
    "summaries without what they need": edited("evals/step-*/summary.json", lambda s: {"step": s["step"], "tasks": {"a": {}}}),
    "summaries of other types": edited("evals/step-*/summary.json", lambda s: {"step": "x", "tasks": []}),
    "numbers that are words": edited("evals/step-*/summary.json", lambda s: json.loads(
        json.dumps(s).replace('"value": ', '"value": "x", "was": '))),
    "a task that is a path": edited("evals/step-*/summary.json", renamed),
    "names that break screens": edited("evals/step-*/summary.json", in_words),
    "names that break screens, in the recipe": edited("recipe.resolved.json", lambda w: {**w, "name": ESCAPES}),
    "a status with a secret place": edited("status.json", lambda s: {**s, "state": ESCAPES, "pid": "x", "error": ESCAPES}),
    "checkpoints without numbers": odd_checkpoints,
    "broken tables": written("evals/step-*/*.parquet", b"PAR1 no table PAR1"),
    "empty tables": written("evals/step-*/*.parquet", b""),
    "a certificate of other types": written(f"{CHECKPOINT}/certificate.json", '{"step": "x", "rows": 3, "hashes": []}'),
    "files outside in complete.json": edited(f"{CHECKPOINT}/complete.json", lambda c: {
        **c, "files": {"../../../../home/.bashrc": 1, "/etc/passwd": 2, **c["files"]}}),
    "no recipe.resolved.json": gone("recipe.resolved.json"),
    "no environment.json": gone("environment.json"),
    "no data.manifest.json": gone("data.manifest.json"),
    "no evals": gone("evals"),
    "weights cut short": written(f"{CHECKPOINT}/adapter_model.safetensors", b"\x00" * 40),
    "an optimizer that is no tensor file": written(f"{CHECKPOINT}/optimizer.pt", b"no tensors"),
}  # fmt: skip

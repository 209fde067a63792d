"""A run folder as the report reads it; a half-written last line or a missing piece is no error."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval_hooks.errors import EvalError

Summary = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class RunView:
    """What is on disk of a run."""

    folder: Path
    summaries: tuple[Summary, ...]
    """In order of step."""
    metrics: tuple[Mapping[str, Any], ...]
    status: Mapping[str, Any]
    environment: Mapping[str, Any]
    recipe: str

    @property
    def first(self) -> Summary:
        """The base."""
        return self.summaries[0]

    @property
    def last(self) -> Summary:
        """The newest evaluation."""
        return self.summaries[-1]

    def curve(self, key: str) -> list[tuple[int, float]]:
        """(step, value) of one logged key."""
        return [(line["step"], line[key]) for line in self.metrics if line.get(key) is not None]


def read_run(folder: Path) -> RunView:
    """Read a run folder. Raises EvalError for a folder without any evaluation."""
    summaries = [json.loads(file.read_text("utf-8")) for file in Path(folder).glob("evals/step-*/summary.json")]
    if not summaries:
        raise EvalError(
            f"{folder}: no run folder, or no evaluation in it yet (evals/step-*/summary.json); name the folder that "
            "`temper train` printed"
        )
    return RunView(
        folder=Path(folder),
        summaries=tuple(sorted(summaries, key=lambda summary: summary["step"])),
        metrics=tuple(_lines(Path(folder) / "metrics.jsonl")),
        status=_json(Path(folder) / "status.json"),
        environment=_json(Path(folder) / "environment.json"),
        recipe=_text(Path(folder) / "recipe.yaml"),
    )


def samples(run: RunView) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """(before, after) of the same prompts."""
    pairs = []
    for name, task in run.last["tasks"].items():
        before = {s["item_id"]: s for s in run.first["tasks"].get(name, {}).get("samples") or []}
        pairs += [(before[s["item_id"]], s) for s in task.get("samples") or [] if s["item_id"] in before]
    return pairs


def flips(task: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Subjects with flips, those that lost most on balance first."""
    changed = [(name, entry) for name, entry in task["by_subject"].items() if entry["lost"] or entry["gained"]]
    return sorted(changed, key=lambda item: (item[1]["gained"] - item[1]["lost"], item[0]))


def _text(file: Path) -> str:
    return file.read_text("utf-8") if file.is_file() else ""


def _json(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text("utf-8")) if file.is_file() else {}


def _lines(file: Path) -> list[dict[str, Any]]:
    rows = []
    for line in _text(file).splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break  # the line being written
    return rows

"""A run folder as the report reads it; a half-written last line or a missing piece is no error."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eval_hooks.certificate import certificates
from eval_hooks.errors import EvalError
from eval_hooks.estimate import Estimate
from eval_hooks.files import evaluations, json_lines, read_json, summary_of
from eval_hooks.masking import masked_yaml
from eval_hooks.retention.interval import Clusters, paired_change
from eval_hooks.storage.inside import check_folder

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
    certificates: tuple[Mapping[str, Any], ...] = ()
    """Of its checkpoints, in order of step."""
    stages: tuple[Mapping[str, Any], ...] = ()
    """Of a pipeline: name, stage, method, begin and end of each run, in steps."""
    data: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Source -> its entry in the data manifest; in a pipeline the run's name stands before it."""

    @property
    def first(self) -> Summary:
        """The base."""
        return self.summaries[0]

    @property
    def last(self) -> Summary:
        """The newest evaluation."""
        return self.summaries[-1]

    def at(self, step: int) -> Summary | None:
        """The evaluation at a step, if there is one."""
        return next((summary for summary in self.summaries if summary["step"] == step), None)

    def before(self, name: str) -> Mapping[str, Any]:
        """A task's entry in the evaluation that the last one is paired with; {} where there is none."""
        paired = self.last["tasks"].get(name, {}).get("retention")
        summary = self.at(paired["baseline_step"]) if paired else self.first
        return (summary or self.first)["tasks"].get(name, {})

    def held_out_before(self, name: str) -> Mapping[str, Any] | None:
        """A validation set's first entry, where that is not the last one."""
        entries = [s["validation"][name] for s in self.summaries if name in s.get("validation", {})]
        return entries[0] if len(entries) > 1 else None

    @property
    def budget(self) -> list[Mapping[str, Any]]:
        """What was logged where a limit was crossed: step, evidence, and the action that was due."""
        return [{"budget/action": None, **line} for line in self.metrics if "budget/reason" in line]

    def curve(self, key: str) -> list[tuple[int, float]]:
        """(step, value) of one logged key, in order of step: a watcher may measure an earlier one later."""
        points = [(line["step"], line[key]) for line in self.metrics if line.get(key) is not None]
        return sorted(points, key=lambda point: point[0])


def read_run(folder: Path) -> RunView:
    """Read a run folder. Raises EvalError for a folder without any evaluation, and for one that leads elsewhere."""
    there = evaluations(Path(folder))
    if not there:
        raise EvalError(
            f"{folder}: no run folder, or no evaluation in it yet (evals/step-*/summary.json); name the folder that "
            "`temper train` printed"
        )
    check_folder(Path(folder))
    return RunView(
        folder=Path(folder),
        summaries=tuple(summary_of(evaluation) for evaluation in there.values()),
        metrics=tuple(json_lines(Path(folder) / "metrics.jsonl")),
        status=read_json(Path(folder) / "status.json"),
        environment=read_json(Path(folder) / "environment.json"),
        recipe=_text(Path(folder) / "recipe.yaml"),
        certificates=tuple(certificates(Path(folder))),
        stages=tuple(read_json(Path(folder) / "pipeline.json").get("stages", ())),
        data=dict(_sources(Path(folder))),
    )


def _sources(folder: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(source, entry) of the data manifests of a run, or of the runs of a pipeline."""
    for file in (folder / "data.manifest.json", *sorted(folder.glob("stages/*/data.manifest.json"))):
        whole, run = read_json(file), "" if file.parent == folder else f"{file.parent.name}: "
        for side in ("train", "validation"):
            for name, entry in whole.get(side, {}).items():
                yield f"{run}{side} {name}", entry


def left_out(run: RunView) -> list[tuple[str, str, int, list[str]]]:
    """(source, reason, rows, places of the first ones) of rows that were not trained on."""
    return [
        (name, reason, n, entry.get("bad_rows", {}).get(reason, []))
        for name, entry in run.data.items()
        for reason, n in entry.get("dropped", {}).items()
    ]


def samples(run: RunView) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """(before, after) of the same prompts."""
    pairs = []
    for name, task in run.last["tasks"].items():
        before = {s["item_id"]: s for s in run.before(name).get("samples") or []}
        pairs += [(before[s["item_id"]], s) for s in task.get("samples") or [] if s["item_id"] in before]
    return pairs


def paired_changes(run: RunView, name: str) -> list[tuple[int, Mapping[str, Any]]]:
    """(step, retention) of a task, of the evaluations that are paired with the base of the last one."""
    found = [(s["step"], s["tasks"].get(name, {}).get("retention")) for s in run.summaries]
    return [(step, paired) for step, paired in found
            if paired and paired["baseline_step"] == found[-1][1]["baseline_step"]] if found[-1][1] else []  # fmt: skip


def retained(run: RunView) -> int:
    """Tasks to retain that share the run's claims."""
    return sum(task["role"] == "retain" and bool(task.get("retention")) for task in run.last["tasks"].values())


@dataclass(frozen=True, kw_only=True)
class StageTable:
    """A pipeline's tasks at the seams of its runs."""

    columns: tuple[str, ...]
    """`base`, then `after NAME` for each run."""
    rows: tuple[tuple[str, tuple[Any, ...]], ...]
    """(task, its entry at each seam, None where it was not asked)."""


def stage_table(run: RunView) -> StageTable | None:
    """What each run of a pipeline did to every task; None for a single run."""
    if not run.stages:
        return None
    steps = [0, *(stage["end"] for stage in run.stages)]
    seams = [run.at(step) for step in steps]
    names = dict.fromkeys(name for summary in seams if summary for name in summary["tasks"])
    rows = tuple((name, tuple((summary or {"tasks": {}})["tasks"].get(name) for summary in seams)) for name in names)
    return StageTable(columns=("base", *(f"after {stage['name']}" for stage in run.stages)), rows=rows)


def flips(task: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Subjects with flips, those that lost most on balance first."""
    changed = [(name, entry) for name, entry in task["by_subject"].items() if entry["lost"] or entry["gained"]]
    return sorted(changed, key=lambda item: (item[1]["gained"] - item[1]["lost"], item[0]))


@dataclass(frozen=True, kw_only=True)
class GroupChange:
    """A category of subjects before and after."""

    name: str
    entry: Mapping[str, Any]
    """n, accuracy, lost, gained, p_holm over the categories."""
    change: Mapping[str, Any]
    left: float
    """Where the interval begins on an axis from 0 to 100 with no change at 50, shared by the categories."""
    right: float
    middle: float


def categories(task: Mapping[str, Any]) -> list[GroupChange]:
    """How each category of subjects changed, with its paired interval; empty for a task without a base."""
    if not task.get("by_category") or not task.get("retention"):
        return []
    found = [(name, entry, _change(entry)) for name, entry in task["by_category"].items()]
    changes = [(name, entry, change.as_dict()) for name, entry, change in found]
    widest = max(abs(change[end]) for _, _, change in changes for end in ("low", "high"))
    return [
        GroupChange(name=name, entry=entry, change=change, left=50 + 50 * change["low"] / widest,
                    right=50 + 50 * change["high"] / widest, middle=50 + 50 * change["value"] / widest)
        for name, entry, change in changes
    ]  # fmt: skip


def _change(entry: Mapping[str, Any]) -> Estimate:
    """Of a group of subjects, copies of an item counted once."""
    once = Clusters(**entry["once"]) if "once" in entry else None
    return paired_change(entry["lost"], entry["gained"], entry["n"], clusters=once)


def _text(file: Path) -> str:
    return masked_yaml(file.read_text("utf-8")) if file.is_file() else ""

"""A saved view in W&B for the keys of a run: target, retention, calibration, training, budget, in that order.

What is shown is decided here, from the keys alone; wandb-workspaces puts it into W&B's form.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from eval_hooks.errors import EvalError
from eval_hooks.files import read_json
from eval_hooks.report.view import RunView, read_run
from eval_hooks.results.metrics import RECALL
from eval_hooks.sinks import AXIS
from eval_hooks.track import TABLES

CALIBRATION = {
    "calibration error": ("ece", "ece_debiased", "smooth_ece"),
    "Brier score": ("brier", "brier_top_label"),
    "negative log-likelihood": ("nll",),
    "AUROC of right against wrong": ("auroc",),
    "after temperature": ("temperature", "ece_after_temperature"),
}
"""Panel -> the numbers in it, of `eval/<task>/calibration/`."""
WORDS = {"budget/reason"}
"""Keys that are no numbers."""
UNSEEN = re.compile(r"train/(global_step|epoch|total_flos|train_.*)")
"""Keys that say nothing as a curve."""
RUNS_ASKED = 50
"""Newest runs of a project whose keys are taken."""


@dataclass(frozen=True, kw_only=True)
class Logged:
    """What was logged, and where."""

    name: str
    """Of the view."""
    project: str
    entity: str | None = None
    """Whose project; None: the account's own."""
    keys: frozenset[str]
    roles: Mapping[str, str] = field(default_factory=dict)
    """Task -> target or retain."""


@dataclass(frozen=True, kw_only=True)
class Plot:
    """One panel."""

    kind: Literal["lines", "pictures", "table"] = "lines"
    title: str
    keys: tuple[str, ...]


def of_folder(folder: Path) -> Logged:
    """What a run folder says was logged. Raises EvalError for a folder that is no run."""
    run = read_run(folder)
    there = read_json(folder / "wandb.json")
    return Logged(
        name=f"Tempering: {folder.resolve().name}",
        project=there.get("project") or "tempering",
        entity=there.get("entity"),
        keys=frozenset({key for line in run.metrics for key in line} - {"step", "time"} | _shown(run)),
        roles={name: task["role"] for name, task in run.last["tasks"].items()},
    )


def _shown(run: RunView) -> set[str]:
    """Keys of tables and pictures."""
    return {
        f"eval/{name}/{kind}"
        for summary in run.summaries
        for name, task in summary["tasks"].items()
        for kind in (*TABLES, "reliability")
        if task.get(kind)
    }


def of_project(entity: str, project: str) -> Logged:
    """What the newest runs of a project logged, from W&B. Raises EvalError where W&B does not answer."""
    with asked_of_wandb() as api:
        runs = api.runs(f"{entity}/{project}", per_page=RUNS_ASKED)
        summaries = [dict(run.summary) for run, _ in zip(runs, range(RUNS_ASKED), strict=False)]
    return of_summaries(entity, project, summaries)


def of_summaries(entity: str, project: str, summaries: Sequence[Mapping[str, Any]]) -> Logged:
    """The same from the summaries of runs: a number's last value, or the file of a table or picture."""
    keys = {
        key
        for summary in summaries
        for key, value in summary.items()
        if not key.startswith("_") and (isinstance(value, int | float) or hasattr(value, "keys"))
    }
    named = [(re.fullmatch(r"eval/(.+)/role", key), value) for summary in summaries for key, value in summary.items()]
    roles = {found[1]: value for found, value in named if found}
    return Logged(name="Tempering", entity=entity, project=project, keys=frozenset(keys), roles=roles)


def sections(logged: Logged) -> dict[str, list[Plot]]:
    """Section -> its panels; a key that was not logged is in none, and what is empty is left out."""
    roles = {role: [name for name, its in logged.roles.items() if its == role] for role in ("target", "retain")}
    wanted = {
        "Target": [plot for name in roles["target"] for plot in (*_accuracy(name), *_change(name))],
        "Retention": [plot for name in roles["retain"] for plot in (*_change(name), *_accuracy(name))],
        "Calibration": [plot for name in logged.roles for plot in _calibration(name)],
        "Training": list(_training(logged.keys)),
        "Budget": list(_budget(logged)),
    }
    found = {
        title: [replace(plot, keys=keys) for plot in plots if (keys := tuple(k for k in plot.keys if k in logged.keys))]
        for title, plots in wanted.items()
    }
    return {title: plots for title, plots in found.items() if plots}


def _accuracy(name: str) -> Iterator[Plot]:
    yield Plot(title=f"{name}: accuracy", keys=(f"eval/{name}/accuracy",))
    yield Plot(title=f"{name}: score", keys=(f"eval/{name}/score",))
    yield Plot(title=f"{name}: how well it is known", keys=tuple(f"eval/{name}/{key}" for key in RECALL))
    yield Plot(title=f"{name}: answers", keys=(f"eval/{name}/samples",), kind="table")


def _change(name: str) -> Iterator[Plot]:
    of = f"eval/{name}/retention"
    yield Plot(title=f"{name}: change against its base", keys=(f"{of}/delta", f"{of}/delta_low", f"{of}/delta_high"))
    yield Plot(
        title=f"{name}: the same, over all looks of the run",
        keys=(f"{of}/delta", f"{of}/delta_run_low", f"{of}/delta_run_high"),
    )
    beyond = (f"{of}/forgetting", f"{of}/backward_transfer", f"{of}/churn")
    yield Plot(title=f"{name}: forgotten and newly known beyond guessing, otherwise wrong", keys=beyond)
    yield Plot(title=f"{name}: items lost and gained", keys=(f"{of}/lost", f"{of}/gained"))
    yield Plot(title=f"{name}: which items flipped", keys=(f"eval/{name}/flips",), kind="table")


def _calibration(name: str) -> Iterator[Plot]:
    yield Plot(title=f"{name}: reliability", keys=(f"eval/{name}/reliability",), kind="pictures")
    for title, numbers in CALIBRATION.items():
        yield Plot(title=f"{name}: {title}", keys=tuple(f"eval/{name}/calibration/{number}" for number in numbers))


def _training(keys: Iterable[str]) -> Iterator[Plot]:
    losses = ("train/loss", *sorted(key for key in keys if re.fullmatch(r"val/.+/loss", key)))
    yield Plot(title="loss", keys=losses)
    for key in sorted(key for key in keys if key.startswith(("train/", "val/"))):
        if key not in losses and not UNSEEN.fullmatch(key):
            yield Plot(title=key, keys=(key,))


def _budget(logged: Logged) -> Iterator[Plot]:
    for key in sorted(key for key in logged.keys if key.startswith("budget/") and key not in WORDS):
        yield Plot(title=key, keys=(key,))
    yield Plot(title="seconds of an evaluation", keys=tuple(f"eval/{name}/seconds" for name in logged.roles))
    yield Plot(title="evaluations that failed", keys=tuple(f"eval/{name}/failed" for name in logged.roles))


def workspace(logged: Logged) -> Any:
    """The view as wandb-workspaces has it; nothing is sent. Raises EvalError where that package is missing."""
    if find_spec("wandb_workspaces") is None:
        raise EvalError("wandb-workspaces is not installed; pip install 'tempering[dashboard]'")
    import wandb_workspaces.reports.v2 as panels
    import wandb_workspaces.workspaces as views

    made: dict[str, Callable[[Plot], Any]] = {
        "lines": lambda plot: panels.LinePlot(title=plot.title, x=AXIS, y=list(plot.keys)),
        "pictures": lambda plot: panels.MediaBrowser(title=plot.title, media_keys=list(plot.keys)),
        "table": lambda plot: panels.WeavePanelSummaryTable(table_name=plot.keys[0]),
    }
    columns = [f"summary:eval/{name}/{key}" for name in logged.roles for key in ("accuracy", "retention/verdict")]
    return views.Workspace(
        name=logged.name,
        entity=logged.entity or "",
        project=logged.project,
        sections=[
            views.Section(name=title, panels=[made[plot.kind](plot) for plot in plots], is_open=True)
            for title, plots in sections(logged).items()
        ],
        settings=views.WorkspaceSettings(x_axis=AXIS),
        runset_settings=views.RunsetSettings(pinned_columns=columns),
    )


def spec(logged: Logged) -> str:
    """The view as JSON, as W&B gets it."""
    return workspace(logged)._to_model().spec.model_dump_json(by_alias=True, exclude_none=True, indent=1)


def save(logged: Logged) -> str:
    """Save the view in W&B and return its address. Raises EvalError where W&B cannot be asked."""
    view = workspace(logged)
    with asked_of_wandb() as api:
        view.entity = logged.entity or api.default_entity
        return view.save().url


@contextmanager
def asked_of_wandb() -> Iterator[Any]:
    """W&B's API; what keeps it from answering becomes an EvalError with the way out."""
    import requests
    import wandb

    try:
        yield wandb.Api()
    except (wandb.errors.Error, requests.RequestException, ValueError) as error:
        raise EvalError(
            f"W&B cannot be asked ({str(error).rstrip('.')}): log in with `wandb login`, or print the view with --print"
        ) from error

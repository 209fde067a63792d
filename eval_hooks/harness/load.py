"""A task of lm-evaluation-harness, found by name and loaded with its data, before a run costs anything."""

import difflib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from eval_hooks.config import TaskSpec
from eval_hooks.errors import EvalError
from eval_hooks.harness.surroundings import cache_where_no_hub, seeds

SHARES = ("acc", "acc_norm", "exact_match")
"""Metrics that say of an item whether it is right; the first of a task's own that is one of these decides."""


@dataclass(frozen=True, kw_only=True)
class Harness:
    """A task, or the tasks of a group, with how much of each is asked."""

    tasks: tuple[Any, ...]
    """lm_eval.api.task.Task, in lm-eval's order."""
    counts: tuple[int, ...]
    """Documents of each, the first ones."""
    metric: str
    """The metric that decides whether an item is right, as `exact_match`."""
    filter: str | None
    """The filter whose results it is taken from; None: the task's first."""


def load(spec: TaskSpec) -> Harness:
    """What `lm_eval:NAME` asks. Raises EvalError for what is not there, or cannot be run here."""
    name = spec.task.partition(":")[2]
    if importlib.util.find_spec("lm_eval") is None:
        raise EvalError(f"task {spec.task}: lm-evaluation-harness is not installed; pip install 'tempering[eval]'")
    manager = _manager_of(spec, name)
    with seeds(), cache_where_no_hub():
        tasks = _loaded(spec, manager, name)
    for task in tasks:
        _check(spec, task)
        _set_shots(spec, task)
    metric, chosen = _deciding(spec, tasks)
    counts = in_turn([len(task.eval_docs) for task in tasks], spec.limit)
    asked = [(task, count) for task, count in zip(tasks, counts, strict=True) if count]
    if not asked:
        raise EvalError(f"task {spec.task}: its data set is empty")
    return Harness(
        tasks=tuple(task for task, _ in asked),
        counts=tuple(count for _, count in asked),
        metric=metric,
        filter=chosen,
    )


def in_turn(sizes: Sequence[int], limit: int | None) -> list[int]:
    """How many of each, where at most `limit` are taken, one of each in turn."""
    if limit is None or limit >= sum(sizes):
        return list(sizes)
    counts = [0] * len(sizes)
    while sum(counts) < limit:
        for i, size in enumerate(sizes):
            counts[i] += int(counts[i] < size and sum(counts) < limit)
    return counts


@cache
def _manager(include_path: str | None, defaults: bool) -> Any:
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=include_path, include_defaults=defaults)


def _manager_of(spec: TaskSpec, name: str) -> Any:
    """lm-eval's index that has the name: the user's own folder before all that it ships (14,683 names, some 15 s)."""
    if spec.include_path is not None:
        if not Path(spec.include_path).is_dir():
            raise EvalError(f"task {spec.task}: include_path {spec.include_path}: no such folder")
        own = _manager(spec.include_path, defaults=False)
        if name in own.task_index:
            return own
    manager = _manager(spec.include_path, defaults=True)
    if name not in manager.task_index:
        near = difflib.get_close_matches(name, manager.all_tasks, n=5)
        raise EvalError(
            f"task {spec.task}: lm-eval knows no task {name!r}"
            + (f"; near are {', '.join(near)}" if near else "")
            + "; a YAML file of your own is found in the folder that `include_path` names"
        )
    return manager


def _loaded(spec: TaskSpec, manager: Any, name: str) -> list[Any]:
    try:
        return list(manager.load([name])["tasks"].values())
    except OSError as error:  # what datasets and the hub raise for data that cannot be had
        data = (manager.task_index[name].cfg or {}).get("dataset_path")
        raise EvalError(
            f"task {spec.task}: its data set{f' {data}' if data else ''} cannot be had ({_first_line(error)}); with a "
            "network it is fetched once into the Hugging Face cache (`hf download --repo-type dataset NAME`, and `hf "
            "auth login` where it is gated); without one write a YAML file with `dataset_path: json` and local "
            "`data_files`, and name its folder in `include_path`"
        ) from error
    except Exception as error:  # a task is code of its own
        raise EvalError(f"task {spec.task}: lm-eval cannot load it ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:160]}"


def _check(spec: TaskSpec, task: Any) -> None:
    """Raise EvalError for a task that needs more than text in and text out."""
    if getattr(task, "UNSAFE_CODE", False):
        raise EvalError(f"task {spec.task}: {task.task_name} runs code that the model wrote, which is not done here")
    if getattr(task, "MULTIMODAL", False):
        raise EvalError(f"task {spec.task}: {task.task_name} has pictures or sound; only text is asked here")
    how = task.get_config("generation_kwargs") or {}
    if task.OUTPUT_TYPE == "generate_until" and how.get("do_sample", float(how.get("temperature") or 0) > 0):
        raise EvalError(
            f"task {spec.task}: {task.task_name} draws its answers (generation_kwargs {how}), and a drawn answer can't "
            "be paired; write a YAML file that includes it, with do_sample: false, and name its folder in include_path"
        )


def _set_shots(spec: TaskSpec, task: Any) -> None:
    """The entry's number of solved examples, else the task's own, else none."""
    own = task.get_config("num_fewshot")
    if spec.shots is None or spec.shots == own:
        task.set_config("num_fewshot", own or 0)
        return
    if own == 0:  # lm-eval leaves such a task alone, too
        raise EvalError(f"task {spec.task}: {task.task_name} is fixed at 0 shots, shots is {spec.shots}; leave it out")
    task.set_config("num_fewshot", spec.shots)


def _deciding(spec: TaskSpec, tasks: Sequence[Any]) -> tuple[str, str | None]:
    """(metric, filter) that say whether an item is right. Raises EvalError for one that a task has not."""
    first = list(tasks[0].aggregation())
    metric, _, chosen = (spec.metric or next((name for name in first if name in SHARES), first[0])).partition(",")
    for task in tasks:
        known = list(task.aggregation())
        filters = [one["name"] for one in task.get_config("filter_list") or [{"name": "none"}]]
        if metric not in known or (chosen and chosen not in filters):
            raise EvalError(
                f"task {spec.task}: metric {spec.metric or metric!r} is none of {task.task_name}; it has "
                f"{', '.join(known)}, with the filters {', '.join(filters)}{members(tasks)}"
            )
    return metric, chosen or None


def members(tasks: Sequence[Any]) -> str:
    """What to name instead of a group that can't be asked as one."""
    return f"; name its tasks one by one: {', '.join(task.task_name for task in tasks)}" if len(tasks) > 1 else ""

"""spending.json of a run folder: what each of its evaluations has spent of the run's chance of a wrong word.

An evaluation that is broken off and made again is the same look and spends nothing more; one after a roll-back, of
other weights, is a new one.
"""

import time
from pathlib import Path
from typing import Any

from eval_hooks.claims import claimed
from eval_hooks.errors import EvalError
from eval_hooks.files import read_json, write_json
from eval_hooks.retention.spending import Plan, Spent, next_alpha

FILE = "spending.json"
WAIT_S = 0.1


def spend(folder: Path, run: int, plan: Plan, step: int, final: bool) -> dict[str, Any]:
    """What a summary says of it: {here: what it may spend over all its tasks, spent: its run by then, looks: planned}.

    `run` is the step at which the run begins, in a pipeline, and `step` one on the folder's axis. Raises EvalError for
    a file that cannot be read, or is none of ours.
    """
    while True:  # a watcher and the run that it watches both write here
        with claimed(folder, "spending") as mine:
            if mine:
                return _spend(folder, run, plan, step, final)
        time.sleep(WAIT_S)


def _spend(folder: Path, run: int, plan: Plan, step: int, final: bool) -> dict[str, Any]:
    rows = _rows(folder)
    own = [row for row in rows if row["run"] == run]
    same = [i for i, row in enumerate(own)
            if row["step"] == step and row["final"] == final and not row.get("rolled_back")]  # fmt: skip
    if not same:
        same = [len(own)]
        alpha = next_alpha(plan, [_spent(row) for row in own], final)
        own.append({"run": run, "step": step, "alpha": alpha, "final": final, "looks": plan.looks})
        write_json(folder / FILE, {"looks": [*rows, own[-1]]})
    look, upto = own[same[-1]], own[: same[-1] + 1]
    return {"here": look["alpha"], "spent": sum(row["alpha"] for row in upto), "looks": look.get("looks")}


def roll_back(folder: Path, run: int, after: int) -> None:
    """What a run spent on evaluations after a step stays spent; the same steps will be other looks."""
    rows = _rows(folder)
    if rows:
        back = [{**row, "rolled_back": True} if row["run"] == run and row["step"] > after else row for row in rows]
        write_json(folder / FILE, {"looks": back})


def begin_anew(folder: Path, begin: int) -> None:
    """Forget the runs of a pipeline that begin at a step or later: they are started anew, as new ones."""
    if rows := _rows(folder):
        write_json(folder / FILE, {"looks": [row for row in rows if row["run"] < begin]})


def copy_upto(origin: Path, folder: Path, step: int) -> None:
    """A run that goes on from another's checkpoint has spent what that one had."""
    if rows := _rows(origin):
        write_json(folder / FILE, {"looks": [row for row in rows if row["step"] <= step]})


def _rows(folder: Path) -> list[dict[str, Any]]:
    rows = read_json(folder / FILE).get("looks", [])
    try:
        sound = all(0 <= _spent(row).alpha <= 1 and isinstance(row["run"], int) for row in rows)
    except (TypeError, KeyError, ValueError):
        sound = False
    if not sound:
        raise EvalError(
            f"{folder / FILE}: no list of what evaluations spent ({{run, step, alpha, final}} each); put it back as it "
            "was, or start a new run from the weights"
        )
    return list(rows)


def _spent(row: dict[str, Any]) -> Spent:
    return Spent(step=int(row["step"]), alpha=float(row["alpha"]), final=bool(row["final"]))

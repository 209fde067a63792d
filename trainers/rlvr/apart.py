"""What the worker process makes of a verifier's name: the functions that `eval_hooks.bounded` calls there.

A verifier is found by the table it stands in, the package's own or that of the plugin's file, which the worker runs
once more; so it may be any callable there, and none travels.
"""

import json
from collections.abc import Callable
from math import isfinite
from typing import Any

from eval_hooks.bounded import Call
from eval_hooks.bounded.plugins import row_of
from eval_hooks.items import GenerateItem
from eval_hooks.json_text import json_text
from trainers import TrainError
from trainers.rlvr.judge import VERIFIERS, judge
from trainers.rlvr.verdict import Row, Verdict, Verifier

REASON = 500
"""Characters of a reason that are kept."""


def verify_call(name: str) -> Call:
    """(row, completion) -> [reward, ok, reason] of one verifier."""
    return Call(module=__name__, factory="verifying", setup=_place(name), cpu_s=VERIFIERS[name].timeout_s)


def check_call(name: str) -> Call:
    """(row) -> None, or what is wrong with it for one verifier."""
    return Call(module=__name__, factory="checking", setup=_place(name), cpu_s=VERIFIERS[name].timeout_s)


def judge_call() -> Call:
    """(output, item) -> [right, reason] of all verifiers that the item's row names, as a task's judge."""
    places = json_text([_place(name) for name, verifier in VERIFIERS.items() if verifier.home])
    limit = max(verifier.timeout_s for verifier in VERIFIERS.values())
    return Call(module=__name__, factory="judging", setup=(places,), cpu_s=limit)


def verifying(name: str, home: str) -> Callable[[Row, str], list[Any]]:
    """In the worker."""
    verifier = _verifier(name, home)
    return lambda row, completion: _plain(verifier.verify(row, completion))


def checking(name: str, home: str) -> Callable[[Row], str | None]:
    """In the worker. A verifier without a check is loaded all the same, so that one that cannot be is known early."""
    check = _verifier(name, home).check

    def checked(row: Row) -> str | None:
        try:
            if check:
                check(row)
        except ValueError as error:
            return str(error)[:REASON]
        return None

    return checked


def judging(places: str) -> Callable[[str, dict[str, Any]], list[Any]]:
    """In the worker."""
    VERIFIERS.update({name: _verifier(name, home) for name, home in json.loads(places)})
    for verifier in VERIFIERS.values():
        _warm_up(verifier)

    def call(output: str, item: dict[str, Any]) -> list[Any]:
        try:
            return _plain(judge(GenerateItem(**item).row, output))[1:]
        except (MemoryError, RecursionError, TrainError):
            raise
        except Exception as error:  # the verifier's failure is seen in the table
            return [False, f"verifier broke: {type(error).__name__}: {error}"[:REASON]]

    return call


def _place(name: str) -> tuple[str, str]:
    return name, VERIFIERS[name].home


def _verifier(name: str, home: str) -> Verifier:
    verifier: Verifier = row_of(VERIFIERS, "VERIFIERS", name, home)
    _warm_up(verifier)
    return verifier


def _warm_up(verifier: Verifier) -> None:
    if verifier.warm_up:
        verifier.warm_up()


def _plain(verdict: Verdict) -> list[Any]:
    """Raises TypeError for what is no Verdict, ValueError for a reward that is no number: the verifier has broken."""
    if not isinstance(verdict, Verdict):
        raise TypeError(f"returned {verdict!r:.60}; a Verdict(reward, ok, reason) is due")
    if not isfinite(verdict.reward):
        raise ValueError(f"gave the reward {verdict.reward}; a number between 0 and 1 is due")
    return [float(verdict.reward), bool(verdict.ok), str(verdict.reason)[:REASON]]

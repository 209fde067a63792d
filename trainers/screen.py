"""What a run says of itself: on the screen, and in status.json while it measures."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Any

from eval_hooks.files import evaluations
from trainers import announce
from trainers.recipe import Recipe
from trainers.rundir import set_status
from trainers.tracking import end_wandb


def announce_model(model: Any, recipe: Recipe) -> None:
    """Say what is trained: adapted modules, and the share of all parameters."""
    from trainers.adapters import adapted_modules, missed_experts, trainable_share

    trained, total = trainable_share(model)
    counts = f"{trained / 1e6:.2f}M of {total / 1e6:.1f}M parameters trained ({trained / total:.2%})"
    announce(f"model     {recipe.resolved['model']['path']}: {counts}")
    if recipe.adapter.kind != "none":
        announce(f"adapter   {recipe.adapter.kind} on {', '.join(adapted_modules(model))}")
        missed, share = missed_experts(model)
        if missed:
            announce(
                f"warning   {share:.0%} of the weights are fused experts, which adapter.target_modules does not reach; "
                f"to train them too: adapter.target_parameters=[{', '.join(missed)}]"
            )


def note_doing(folder: Path, step: int) -> None:
    """status.json says what a run is at that seems to stand still."""
    set_status(folder, "running", doing=f"measuring step {step}")


def note_measured(folder: Path, summary: Mapping[str, Any]) -> None:
    """It is at training again; with what has been spent of the run's chance of a wrong word."""
    set_status(folder, "running", doing=None, spending=summary.get("spending"))
    attempt("the evaluation", partial(say_evaluation, summary))


def say_evaluation(summary: Mapping[str, Any]) -> None:
    """One line; before the run has cost anything also what measuring will take, and what could show no loss."""
    from eval_hooks.report.reach import foretold
    from eval_hooks.report.words import doubts, doubts_now, foreseen, line, unshared_words

    announce(line(summary))
    if "foreseen" in summary:
        announce(f"measuring {foreseen(summary['foreseen'])}")
        for name, entry in summary["foreseen"]["kept"].items():
            announce(f"verdicts  {foretold(name, entry)}")
    if summary["step"] == 0 and summary["unshared"]:
        announce(f"measuring {unshared_words(summary)}")
    if summary["step"] == 0 and (elsewhere := [name for name, e in summary["tasks"].items() if e.get("written_by")]):
        announce(f"measuring {', '.join(elsewhere)}: answers are written by vLLM, as those that are learned from")
    for name, task in summary["tasks"].items() if summary["step"] == 0 else ():
        for doubt in doubts(name, task):
            announce(f"beware    {doubt}")
    for name, task in summary["tasks"].items() if summary["step"] else ():
        for doubt in doubts_now(name, {}, task):
            announce(f"beware    {doubt}")


def show_end(folder: Path, wandb_run: Any) -> None:
    """Close W&B, write the report, print the last screen."""
    from eval_hooks.report import print_screen, write_report

    if wandb_run is not None:
        end_wandb()
    if not evaluations(folder):
        announce(f"eval      left to a watcher: temper watch {quote(str(folder))}")
        return
    again = f"`temper report {quote(str(folder))}` tries again"
    attempt("the report", partial(write_report, folder), again)
    attempt("the last screen", partial(print_screen, folder), again)


def attempt(what: str, show: Callable[[], object], advice: str = "every number is in the run folder") -> None:
    """Show something; what keeps it from being shown is a line, and changes nothing of the run."""
    try:
        show()
    except Exception as error:
        announce(f"warning   {what} cannot be shown: {type(error).__name__}: {error}; {advice}")

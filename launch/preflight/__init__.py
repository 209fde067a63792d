"""Preflight: what would ruin a run, found in minutes. Every check is looked at, whatever the others found."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from eval_hooks.json_text import json_text
from eval_hooks.masking import masked
from launch.findings import Finding, bad, warn
from launch.problems import Problem, RecipeError
from trainers import announce
from trainers.recipe import Pipeline, Recipe
from trainers.rundir import RUNS

if TYPE_CHECKING:
    from launch.preflight.catalog import Check
    from launch.preflight.subject import Subject


def preflight(
    recipe: Recipe | Pipeline,
    *,
    run_dir: Path | None = None,
    runs: Path = RUNS,
    checks: "Mapping[str, Check] | None" = None,
) -> list[Finding]:
    """All findings of all checks, in the table's order; of a pipeline those of each run. Says which check runs."""
    from launch.preflight.catalog import CHECKS
    from launch.preflight.subject import Subject
    from launch.start import ranks_of
    from trainers.arguments import take_one_gpu
    from trainers.pipeline import judged

    checks, found = checks or CHECKS, []
    share = judged(recipe) if isinstance(recipe, Pipeline) else 1
    ranks = ranks_of(recipe)  # before one GPU of several is taken
    for prefix, run in runs_from(recipe):
        take_one_gpu(run)
        subject = Subject(run, run_dir=run_dir, runs=runs, share=share, ranks=ranks)
        try:
            for number, (name, row) in enumerate(checks.items(), 1):
                announce(f"check     {number}/{len(checks)} {prefix}{name}")
                found += [dataclasses.replace(one, name=f"{prefix}{name}") for one in looked(row, subject)]
        finally:
            subject.close()
    return found


def runs_from(recipe: Recipe | Pipeline) -> Iterator[tuple[str, Recipe]]:
    """(prefix of its findings, run); a pipeline's runs on the first one's model, the only one that is there."""
    if isinstance(recipe, Recipe):
        yield "", recipe
        return
    base = recipe.stages[0].recipe.model.path
    for stage in recipe.stages:
        model = dataclasses.replace(stage.recipe.model, path=base)
        yield f"{stage.name}: ", dataclasses.replace(stage.recipe, model=model, name=recipe.name)


def looked(row: "Check", subject: "Subject", quick: bool = False) -> list[Finding]:
    """A check's findings; a person's mistake that it meets, and its own fault, are findings too.

    Before a training (`quick`) the first is left to the training, which says it, and the second is a warning.
    """
    from launch.cli import people_errors
    from launch.preflight.subject import NotThereError

    try:
        return row.look(subject)
    except NotThereError as error:
        remedy = "see what is bad above, or check on a larger machine"
        return [] if quick else [warn(f"not looked at: needs {error}", remedy)]
    except people_errors() as error:
        texts = map(str, error.problems) if isinstance(error, RecipeError) else [str(error)]
        return [] if quick else [said(text) for text in texts]
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0][:300]
        broke = f"the check broke: {type(error).__name__}: {first}"
        if quick:
            return [warn(broke, "`temper check` says more")]
        return [bad(broke, "the run would meet this too, or report it")]


def said(message: str) -> Finding:
    """A message of ours, which is `what, value; remedy`."""
    found, _, remedy = message.partition("; ")
    return bad(found, remedy)


def before_training(recipe: Recipe | Pipeline, checks: "Mapping[str, Check] | None" = None) -> None:
    """The quick checks, silent where all is well: warnings on the first rank's screen, RecipeError with what is bad.

    What a check cannot have (data, a tokenizer) training refuses itself in the same words, so nothing is said of it
    here; a check that breaks is a warning. All ranks look at the same and agree.
    """
    from launch.preflight.catalog import CHECKS
    from launch.preflight.subject import Subject
    from trainers.world import rank, world_size

    found = []
    for prefix, run in runs_from(recipe):
        subject = Subject(run, ranks=world_size())
        for name, row in (checks or CHECKS).items():
            if row.quick:
                found += [dataclasses.replace(one, name=f"{prefix}{name}") for one in looked(row, subject, quick=True)]
        subject.close()
    for one in found:
        if one.state == "warn" and rank() == 0:
            announce(f"warning   {sentence(one)}")
    if problems := [Problem(text=sentence(one)) for one in found if one.state == "bad"]:
        raise RecipeError([*problems, Problem(text="nothing was trained; `temper check` says more")])


def sentence(finding: Finding) -> str:
    """A finding as one line."""
    return f"{finding.name}: {finding.found}" + (f"; {finding.remedy}" if finding.remedy else "")


def as_json(findings: Sequence[Finding]) -> str:
    """A list of {name, state, found, remedy}."""
    return json_text(masked([dataclasses.asdict(finding) for finding in findings]), indent=1, ensure_ascii=False)

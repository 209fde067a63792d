"""Every command that takes a stranger's thing, on every such thing."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.hostile.checkpoints import CHECKPOINTS
from tests.hostile.data import DATA
from tests.hostile.folders import FOLDERS
from tests.hostile.recipes import RECIPES
from tests.hostile.seed import STEP, Seed
from tests.hostile.stage import Outcome

POCKET = ("--task", "pocket", "--variant", "olmes_cf", "--shots", "0", "--limit", "4")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One command on one input."""

    kind: str
    """Of what: a run folder, a recipe, a data file, a model."""
    command: str
    input: str
    words: Callable[[Path, Seed], list[str]]
    """Makes the input in an empty folder, which becomes the current one, and says the command."""

    @property
    def name(self) -> str:
        """Both."""
        return f"{self.command} | {self.input}"

    def run(self, seed: Seed) -> Outcome:
        """In an empty folder."""
        work = seed.stage.work
        shutil.rmtree(work)
        work.mkdir()
        os.environ["CANARY"] = str(seed.stage.canary)
        return seed.stage.run(*self.words(work, seed))


ON_FOLDERS: dict[str, Callable[[Path, Seed], list[str]]] = {
    "report": lambda run, seed: ["report", str(run)],
    "compare": lambda run, seed: ["compare", str(run), f"{run}:0"],
    "variance": lambda run, seed: ["variance", str(run), str(seed.other)],
    "dashboard --print": lambda run, seed: ["dashboard", str(run), "--print"],
    "watch --once": lambda run, seed: ["watch", str(run), "--once"],
    "certify": lambda run, seed: ["certify", f"{run}:{STEP}", "--merged"],
    "export": lambda run, seed: ["export", f"{run}:{STEP}", "--to", "out", "--force"],
    "train --resume": lambda run, seed: ["train", str(seed.recipe), "train.max_steps=3", "--run-dir", str(run), "--resume"],
    "train --resume RUN:STEP": lambda run, seed: ["train", str(seed.recipe), "train.max_steps=3", "--resume", f"{run}:{STEP}"],
    "eval RUN:STEP": lambda run, seed: ["eval", f"{run}:{STEP}", *POCKET],
}  # fmt: skip
ON_RECIPES: dict[str, Callable[[str], list[str]]] = {
    "train --dry-run": lambda file: ["train", file, "--dry-run"],
    "train": lambda file: ["train", file],
    "check": lambda file: ["check", file],
    "plan": lambda file: ["plan", file],
    "data": lambda file: ["data", file],
    "launch --print": lambda file: ["launch", file, "--nproc", "1", "--print"],
    "launch --with slurm --print": lambda file: ["launch", file, "--nproc", "1", "--with", "slurm", "--print"],
}
ON_DATA = ("data", "check", "train")
ON_CHECKPOINTS: dict[str, Callable[[str, str], list[str]]] = {
    "eval": lambda model, recipe: ["eval", model, *POCKET],
    "train": lambda model, recipe: ["train", recipe, f"model.path={model}"],
    "check": lambda model, recipe: ["check", recipe, f"model.path={model}"],
    "plan": lambda model, recipe: ["plan", recipe, f"model.path={model}"],
    "data": lambda model, recipe: ["data", recipe, f"model.path={model}"],
}


def on_folder(command: str, made: str, work: Path, seed: Seed) -> list[str]:
    """A command on a run folder."""
    run = seed.copy(work / "theirs")
    FOLDERS[made](run, seed)
    return ON_FOLDERS[command](run, seed)


def on_recipe(command: str, made: str, work: Path, seed: Seed) -> list[str]:
    """A command on a recipe."""
    return ON_RECIPES[command](str(RECIPES[made](work, seed)))


def on_data(command: str, made: str, work: Path, seed: Seed) -> list[str]:
    """A command on a recipe that reads a data file."""
    source, file = DATA[made](work)
    return [command, str(seed.recipe), f"data.train=[{{source: {source}, path: {file}}}]"]


def on_checkpoint(command: str, made: str, work: Path, seed: Seed) -> list[str]:
    """A command on a model folder."""
    model = work / "theirs"
    shutil.copytree(seed.model, model)
    CHECKPOINTS[made](model)
    return ON_CHECKPOINTS[command](str(model), str(seed.recipe))


def cases() -> Iterator[Case]:
    """All of them."""
    for kind, commands, inputs, make in (
        ("run folder", ON_FOLDERS, FOLDERS, on_folder), ("recipe", ON_RECIPES, RECIPES, on_recipe),
        ("data file", ON_DATA, DATA, on_data), ("model", ON_CHECKPOINTS, CHECKPOINTS, on_checkpoint),
    ):  # fmt: skip
        for made in inputs:
            for command in commands:
                yield Case(kind=kind, command=command, input=made, words=partial(make, command, made))

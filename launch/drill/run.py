"""The drill itself: the unbroken run, the kills, the last start, the comparison."""

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

from eval_hooks.files import write_json
from launch.commands import Command, Shape, command
from launch.drill.compare import findings
from launch.drill.kills import MOMENTS, Kill, kill_at
from launch.itself import ITSELF
from launch.problems import RecipeError
from trainers import announce
from trainers.rundir import read_status


@dataclass(frozen=True, kw_only=True)
class Drill:
    """What is drilled."""

    recipe: str
    """As on the command line."""
    words: tuple[str, ...]
    steps: int
    nproc: int
    other_ranks: int | None
    """On how many ranks the last part runs; None: as the rest, and then all must be equal to the bit."""
    out: Path
    plugins: bool = True


def words_of(words: Sequence[str], steps: int, every: int) -> tuple[str, ...]:
    """The run made short: so many steps, a checkpoint and an evaluation every few, each step logged."""
    saved = ("train.save_strategy=steps", f"train.save_steps={every}", "train.logging_steps=1")
    return (*words, f"train.max_steps={steps}", f"eval.every={every}", *saved)


def drill(asked: Drill, kills: int, seed: int) -> int:
    """Run it, print the table, write drill.json; returns 0 where nothing was lost, else 1.

    Raises RecipeError where the unbroken run itself fails, or the folder is in use.
    """
    if asked.out.exists() and any(asked.out.iterdir()):
        raise RecipeError(f"--out {asked.out}: not empty; name another folder")
    asked.out.mkdir(parents=True, exist_ok=True)
    rng, begin = Random(seed), time.monotonic()
    unbroken, drilled = asked.out / "unbroken", asked.out / "drilled"
    announce(f"drill     the unbroken run: {asked.steps} steps")
    with started(asked, unbroken, asked.nproc) as process:
        if process.wait():
            raise RecipeError(f"the unbroken run ended with code {process.returncode}; see {log_of(unbroken)}")
    seconds = time.monotonic() - begin
    done = list(killed(asked, drilled, kills, rng))
    announce("drill     the last start, to the end")
    with started(asked, drilled, asked.other_ranks or asked.nproc) as process:
        code = process.wait()
    found = [("exit code", str(code), code == 0), *findings(unbroken, drilled, exact=asked.other_ranks is None)]
    say(done, found, seconds)
    good = all(ok for *_, ok in found) and len(done) == kills
    write_json(
        asked.out / "drill.json",
        {"kills": [asdict(kill) for kill in done], "asked": kills, "found": found, "passed": good, "seed": seed},
    )
    return 0 if good else 1


def killed(asked: Drill, run: Path, kills: int, rng: Random) -> Iterator[Kill]:
    """The kills, one after the other; fewer where the run was done before."""
    for number in range(kills):
        moment = MOMENTS[number % len(MOMENTS)]
        with started(asked, run, asked.nproc) as process:
            kill = kill_at(process, run, moment, asked.steps, kills - number, rng)
        if kill is None:
            state = read_status(run).get("state")
            announce(f"drill     kill {number + 1}: the run ended first ({state}), see {log_of(run)}")
            return
        half = ", a half-written checkpoint" if kill.half else ""
        announce(
            f"drill     kill {number + 1} of {kills}, during a{'n' * (moment == 'evaluation')} {moment}: step "
            f"{kill.reached} was reached, checkpoint-{kill.whole} is whole{half}"
        )
        yield kill


@contextmanager
def started(asked: Drill, run: Path, nproc: int) -> Iterator[subprocess.Popen[bytes]]:
    """A start of the run in a process group of its own, its output in a log beside the run folder."""
    passed = [asked.recipe, *asked.words, "--run-dir", str(run), "--resume"]
    passed += [] if asked.plugins else ["--no-plugins"]
    alone = Command(argv=(*ITSELF, "train", *passed))
    made = command("torchrun", Shape(nproc=nproc), passed) if nproc > 1 else alone
    env = {**os.environ, **made.env, "WANDB_MODE": os.environ.get("WANDB_MODE", "offline")}
    env.pop("WANDB_SERVICE", None)  # a W&B process that this one has would outlive the kill, and hold the run
    with log_of(run).open("ab") as log:
        process = subprocess.Popen(made.argv, stdout=log, stderr=log, env=env, start_new_session=True)
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, 9)
                process.wait()


def log_of(run: Path) -> Path:
    """What the run said, over all its starts."""
    return run.with_suffix(".log")


def say(kills: Sequence[Kill], found: Sequence[tuple[str, str, bool]], seconds: float) -> None:
    """Two tables on standard output."""
    from rich.markup import escape
    from rich.table import Table

    from eval_hooks.visible import terminal

    console = terminal()
    table = Table(box=None, pad_edge=False)
    for heading in ("kill", "during", "step reached", "goes on from", "steps to do again", "half-written checkpoint"):
        table.add_column(heading, justify="left" if heading in ("kill", "during") else "right")
    for number, kill in enumerate(kills, 1):
        again = str(max(0, kill.reached - kill.whole))
        table.add_row(str(number), kill.moment, str(kill.reached), str(kill.whole), again, "yes" if kill.half else "no")
    console.print(table)
    console.print()
    result = Table(box=None, pad_edge=False)
    for heading in ("", "resumed beside unbroken", "found"):
        result.add_column(heading, overflow="fold")
    for name, words, ok in found:
        result.add_row("[green]same[/]" if ok else "[red]differs[/]", escape(name), escape(words))
    console.print(result)
    console.print(f"the unbroken run took {seconds:.0f} s")

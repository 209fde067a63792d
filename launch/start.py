"""`temper launch`: from a recipe and a few options to ranks that run, or to the command that starts them."""

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from launch.commands import LAUNCHERS, Command, Shape, command
from launch.hosts import RULE, host_and_port, hostfile_problems
from launch.load import load_any
from launch.problems import Problem, RecipeError
from launch.secrets import check_words
from launch.slurm import sbatch_file, submit
from trainers.recipe import LaunchSection, Pipeline, Recipe, runs_of
from trainers.world import world_size


@dataclass(frozen=True, kw_only=True)
class Options:
    """The command's own; None: the recipe's."""

    nproc: str | None = None
    nnodes: int | None = None
    node_rank: int | None = None
    master: str | None = None
    launcher: str | None = None
    hostfile: Path | None = None
    run_dir: Path | None = None
    resume: str | None = None
    plugins: bool = True
    trust: bool = False
    unchecked: bool = False


def launch(name: str, words: Sequence[str], options: Options, show: bool = False) -> int | str:
    """Start a recipe's ranks on this machine and return the run's exit code; with `show`, the text of what would start.

    Raises RecipeError for a recipe or options that are wrong, TrainError for a batch that does not divide: here, once,
    rather than in every rank.
    """
    recipe = load_any(name, words, plugins=options.plugins)
    section = runs_of(recipe)[0].launch
    launcher = options.launcher or section.launcher
    shape = shape_of(recipe, section, options, launcher)
    check_batch(recipe, shape)
    asked = {"--no-plugins": not options.plugins, "--trust": options.trust, "--unchecked": options.unchecked}
    switches = [switch for switch, on in asked.items() if on]
    passed = [name, *words, *switches]
    if show or launcher not in LAUNCHERS:
        check_words(passed)
    folder = options.run_dir
    if launcher not in LAUNCHERS:
        text = sbatch_file(
            recipe.name, name, [*words, *switches], shape, section.sbatch, str(folder) if folder else None,
            max(run.train.get("dataloader_num_workers", 0) for run in runs_of(recipe)),
        )  # fmt: skip
        return text if show else submit(text)
    over_ssh = shape.hostfile is not None and shape.node_rank is None
    if over_ssh and folder is None:
        from trainers.rundir import next_folder

        folder = next_folder(recipe)
    passed += ["--run-dir", str(folder)] if folder else []
    passed += [f"--resume={options.resume}"] if options.resume else []
    made = command(launcher, shape, passed)
    if over_ssh:
        check_for_pdsh([sys.executable, str(Path.cwd()), *made.argv[made.argv.index("--no_python") :]])
    if show:
        return str(made)
    if over_ssh:
        assert folder is not None
        return _over_ssh(made, folder)
    from launch.supervise import supervise

    return supervise(made)


def shape_of(recipe: Recipe | Pipeline, section: LaunchSection, options: Options, launcher: str) -> Shape:
    """How many ranks and where. Raises RecipeError with all that does not fit together."""
    problems: list[str] = []
    nproc = options.nproc or str(section.nproc)
    nnodes = options.nnodes or section.nnodes
    on_gpu = wants_gpu(recipe)
    here = launcher in LAUNCHERS
    if nproc == "auto" and not here:
        problems.append("--nproc auto: the machine that submits is not the one that runs; give a number")
    elif nproc == "auto":
        nproc = str(visible_gpus() if on_gpu else 1)
    elif not (nproc.isdecimal() and int(nproc)):
        problems.append(f"--nproc {nproc}: must be a number from 1, or auto")
    if here:
        problems += _places(nnodes, options)
        on_gpu = on_gpu and visible_gpus(or_one=False) > 0
    if problems:
        raise RecipeError([Problem(text=text) for text in problems])
    return Shape(
        nproc=int(nproc),
        nnodes=nnodes,
        node_rank=options.node_rank,
        master=options.master,
        hostfile=options.hostfile,
        on_gpu=on_gpu,
    )


def wants_gpu(recipe: Recipe | Pipeline) -> bool:
    """Whether no run of it asks for the CPU."""
    return not any(run.train.get("use_cpu", False) for run in runs_of(recipe))


def ranks_of(recipe: Recipe | Pipeline) -> int:
    """Ranks on all machines: the launcher's, where one has started this, else what the launch section asks for."""
    if "WORLD_SIZE" in os.environ:
        return world_size()
    section = runs_of(recipe)[0].launch
    nproc = section.nproc if isinstance(section.nproc, int) else visible_gpus() if wants_gpu(recipe) else 1
    return nproc * section.nnodes


def _places(nnodes: int, options: Options) -> list[str]:
    """What is wrong with the options that say where the machines are."""
    problems = []
    master, node_rank = options.master, options.node_rank
    if nnodes > 1 and master is None and options.hostfile is None:
        problems.append(f"--nnodes {nnodes}: add --master HOST:PORT, the first machine, the same on all of them")
    if master is not None and host_and_port(master) is None:
        problems.append(f"--master {ascii(master)[1:-1]}: write HOST:PORT, as node-0:29500 (HOST: {RULE})")
    if node_rank is not None and not node_rank < nnodes:
        problems.append(f"--node-rank {node_rank}: there are {nnodes} machines (--nnodes), counted from 0")
    return [*problems, *(hostfile_problems(options.hostfile) if options.hostfile is not None else ())]


def visible_gpus(or_one: bool = True) -> int:
    """GPUs that CUDA_VISIBLE_DEVICES leaves; where there are none, one rank on the CPU."""
    import torch

    return torch.cuda.device_count() or int(or_one)


def check_batch(recipe: Recipe | Pipeline, shape: Shape) -> None:
    """Raise TrainError where ranks cannot share rows as a run says, or its global batch does not divide over them."""
    from trainers.arguments import batch_on, setting
    from trainers.sequence import check_shared

    for run in runs_of(recipe):
        check_shared(run, shape.ranks, setting(run, "max_length"), shape.on_gpu)
        batch_on(run, shape.ranks)


def check_for_pdsh(words: Sequence[str]) -> None:
    """Raise RecipeError for words that the shells of the other machines would not take as they are.

    deepspeed's launcher puts those with a space in double quotes, without escaping $ or `, and leaves the others bare;
    pdsh fills in % itself.
    """
    in_quotes, bare = r"[$`\\%\x00-\x1f\x7f]", r"[;&|<>()'\"*?#~{}\[\]!]"
    wrong = [word for word in words if re.search(in_quotes, word) or (" " not in word and re.search(bare, word))]
    if wrong:
        raise RecipeError(
            [
                Problem(text=f"{ascii(word)}: over ssh another machine's shell would read it; write it into the recipe")
                for word in wrong
            ]
        )


def _over_ssh(made: Command, folder: Path) -> int:
    """Started on other machines there is no roll: deepspeed's output is shown, status.json has the code."""
    import subprocess

    from trainers.rundir import read_status

    code = subprocess.run(made.argv, env={**os.environ, **made.env}, check=False).returncode
    found = read_status(folder).get("code")
    return code if found is None else int(found)

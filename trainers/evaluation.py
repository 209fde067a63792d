"""The recipe's evaluation, through eval_hooks: rows of data sources are handed in, to keep packages apart."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, get_args

from data_mix.build import read_source
from data_mix.forms import PairRow
from data_mix.render import TokenRow
from eval_hooks.bounded import Call
from eval_hooks.callback import CheckpointEval
from eval_hooks.catalog import Judge
from eval_hooks.config import Action, TaskSpec
from eval_hooks.items import LossItem
from eval_hooks.known import Known
from eval_hooks.preference import PairItem
from trainers.cache import cache_dir
from trainers.models import locate, start_key
from trainers.recipe import Recipe
from trainers.rlvr.apart import judge_call
from trainers.rlvr.rewards import check_rows


def checkpoint_eval(recipe: Recipe, validation: Mapping[str, list[Any]]) -> CheckpointEval:
    """The callback that measures at step 0, every `eval.every` and at the end; its items are loaded and checked."""
    section = recipe.eval
    return CheckpointEval(
        tasks=section.target,
        retain=section.retain,
        every=section.every,
        rows={spec.called: source_rows(spec) for spec in (*section.target, *section.retain) if spec.rows},
        held_out={
            name: [held_out_item(f"{name}/{i}", row) for i, row in enumerate(rows)] for name, rows in validation.items()
        },
        judges=judges(),
        margin=section.margin,
        over=section.over,
        budget=section.budget,
        order=section.order,
        cost_limit=section.cost_limit,
        on_error=section.on_error,
        samples=section.samples,
        template_kwargs=recipe.model.chat_template_kwargs,
        known=known_start(recipe),
        carried_out=get_args(Action),
    )


def known_start(recipe: Recipe) -> Known | None:
    """Where the start's tables are kept; None where the model at step 0 is not just what its files say."""
    changed = recipe.model.add_tokens or recipe.adapter.options.get("init_lora_weights", True) is not True
    pinned = Path(locate(recipe.model.path).base).is_dir() or re.fullmatch("[0-9a-f]{40}", recipe.model.revision or "")
    if changed or not pinned:
        return None
    quantised = recipe.adapter.kind == "qlora"
    weights = cache(lambda: start_key(recipe.model, quantised))  # all weights are read for it: once, not per task
    return Known(folder=cache_dir() / "tables", weights=weights)


def judges() -> dict[str, Judge | Call]:
    """Task -> what judges its answers, where eval_hooks has nothing of its own: the verifiers that rows name."""
    return {"verified": judge_call()}


def source_rows(spec: TaskSpec) -> list[dict[str, Any]]:
    """Rows of the data source that a task scores, seeded by the entry itself."""
    rows: list[dict[str, Any]] = [*read_source(spec.rows, "eval").raw]
    if spec.task in judges():
        check_rows(rows[: spec.limit], f"task {spec.called}")
    return rows


def held_out_item(item_id: str, row: TokenRow | PairRow) -> Any:
    """A tokenised validation row as eval_hooks takes it."""
    if isinstance(row, TokenRow):
        return LossItem(item_id=item_id, input_ids=tuple(row.input_ids), labels=tuple(row.labels))
    prompt, chosen, rejected = (tuple(ids) for ids in (row.prompt_ids, row.chosen_ids, row.rejected_ids))
    return PairItem(item_id=item_id, prompt=prompt, chosen=chosen, rejected=rejected)

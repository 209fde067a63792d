"""The recipe's trainer, put together from what it needs."""

from collections.abc import Mapping
from typing import Any

from trainers.catalog import METHODS, STAGES
from trainers.recipe import Recipe


def trainer_of(
    recipe: Recipe, arguments: Any, rows: Any, tokenizer: Any, model: Any, reference: Mapping[str, Any]
) -> Any:
    """The method's trainer, else the stage's, on these rows; the model gets the recipe's adapter.

    `reference` is what `reference_copy` gives.
    """
    from trainers.adapters import lora_config
    from trainers.moments import Bound

    method = METHODS[recipe.method.name]
    return (method.trainer or STAGES[recipe.stage].trainer)()(
        bound=Bound(method=method, config=recipe.method.config),
        model=model,
        args=arguments,
        rows=rows,
        tokenizer=tokenizer,
        peft_config=lora_config(recipe.adapter, tokenizer, recipe.model, model),
        **reference,
    )

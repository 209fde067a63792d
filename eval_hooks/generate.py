"""Greedy answers, batched and left-padded, with every generation setting ours.

A model folder may carry a repetition penalty, a minimum length or sampling in its generation_config; `generate` fills
whatever is left unset from there. So the model's own configuration is set aside while ours is in force, and put back
afterwards.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from eval_hooks.encode import tokenised
from eval_hooks.errors import EvalError
from eval_hooks.forward import Progress, batches, no_progress, scoring_mode
from eval_hooks.items import GenerateItem, RecallItem
from eval_hooks.ranks import Job, shared_out
from eval_hooks.vllm import engine, written

PLAIN_SAMPLING = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a model wrote."""

    prompt: str
    """The rendered prompt, special tokens included."""
    text: str
    n_tokens: int
    """Generated tokens, the stop token included."""
    hit_limit: bool
    """It wrote max_new_tokens without a stop token."""


def answers(
    model: Any,
    tokenizer: Any,
    items: Sequence[GenerateItem],
    max_new_tokens: int,
    template_kwargs: dict[str, Any] | None = None,
    batch_tokens: int = 4096,
    progress: Progress = no_progress,
) -> list[Answer]:
    """Greedy continuation of every prompt, in order.

    Rows are batched by length, so the layout depends on the items alone.
    """
    prompts = [render(item, tokenizer, template_kwargs or {}) for item in items]
    ids = [
        tokenised([text], tokenizer, plain=isinstance(item.prompt, str))[0].ids
        for text, item in zip(prompts, items, strict=True)
    ]
    stops = stop_ids(model, tokenizer)
    rows = continuations(model, tokenizer, ids, max_new_tokens, batch_tokens=batch_tokens, progress=progress)
    return [
        Answer(
            prompt=prompt,
            text=tokenizer.decode(new, skip_special_tokens=True),
            n_tokens=len(new),
            hit_limit=not new or new[-1] not in stops,
        )
        for prompt, new in zip(prompts, rows, strict=True)
    ]


def continuations(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    *,
    until: Sequence[str] = (),
    sample: bool = False,
    batch_tokens: int = 4096,
    progress: Progress = no_progress,
) -> list[list[int]]:
    """What follows each prompt, in tokens, up to and with the first stop token, or the token that ends an `until` text.

    Greedy, or drawn from the model's own distribution (temperature 1, a fixed seed). Ranks share the batches out. What
    is greedy is the trainer's vLLM engine's, where one writes.
    """
    import torch

    stops = stop_ids(model, tokenizer)
    if engine() is not None and not sample:
        with scoring_mode(model):
            rows = written(engine(), prompts, stops, max_new_tokens, until, progress)
        return [_up_to_a_stop(row, stops) for row in rows]
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
    sizes = [len(prompts[i]) + max_new_tokens for i in order]
    jobs = [
        Job(cost=sum(sizes[k] for k in batch), members=[order[k] for k in batch])
        for batch in batches(sizes, batch_tokens)
    ]

    def work(number: int) -> list[list[int]]:
        if sample:
            torch.manual_seed(number)  # scoring_mode gives the run's own random state back
        return _generate(model, [prompts[i] for i in jobs[number].members], stops, until, tokenizer)

    with scoring_mode(model), own_settings(model, stops, tokenizer, max_new_tokens, sample):
        return shared_out(jobs, work, lambda: _generate(model, [[0]], stops), progress)


def render(item: GenerateItem | RecallItem, tokenizer: Any, template_kwargs: dict[str, Any]) -> str:
    """The prompt as the model reads it, with the row's own tools and template settings.

    Raises EvalError for chat messages without a template.
    """
    if isinstance(item.prompt, str):
        return item.prompt
    if not tokenizer.chat_template:
        raise EvalError(
            f"{item.item_id}: the prompt is a conversation and the tokenizer has no chat template; set "
            "model.chat_template"
        )
    row = item.row if isinstance(item, GenerateItem) else {}
    settings = {**template_kwargs, **(row.get("chat_template_kwargs") or {})}
    return tokenizer.apply_chat_template(
        list(item.prompt), tools=row.get("tools"), tokenize=False, add_generation_prompt=True, **settings
    )


def stop_ids(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """Tokens that end an answer: the tokenizer's end token and those the model's generation configuration names."""
    own = getattr(model.generation_config, "eos_token_id", None)
    own = own if isinstance(own, list) else [own]
    return tuple(sorted({int(i) for i in [*own, tokenizer.eos_token_id] if i is not None}))


def check_writes(model: Any, tasks: Sequence[str]) -> None:
    """Raise EvalError where a model that cannot write is asked these tasks, which need it."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    if tasks and not (hasattr(base, "can_generate") and base.can_generate()):
        raise EvalError(
            f"{', '.join(tasks)}: {type(base).__name__} cannot generate text, which they need; ask tasks with options, "
            "or use a causal language model"
        )


@contextmanager
def own_settings(
    model: Any, stops: tuple[int, ...], tokenizer: Any, max_new_tokens: int, sample: bool = False
) -> Iterator[None]:
    """Greedy decoding, or plain sampling, with a cache and no penalties while inside; the model's own afterwards."""
    from transformers import GenerationConfig

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    before = base.generation_config
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else stops[0] if stops else 0
    base.generation_config = GenerationConfig(
        **(PLAIN_SAMPLING if sample else {"do_sample": False}),
        num_beams=1,
        max_new_tokens=max_new_tokens,
        min_new_tokens=None,
        use_cache=True,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        eos_token_id=list(stops) or None,
        pad_token_id=pad,
    )
    if base is not model:
        outer, model.generation_config = model.generation_config, base.generation_config
    try:
        yield
    finally:
        base.generation_config = before
        if base is not model:
            model.generation_config = outer


def _generate(
    model: Any,
    rows: Sequence[Sequence[int]],
    stops: tuple[int, ...],
    until: Sequence[str] = (),
    tokenizer: Any = None,
) -> list[list[int]]:
    """New tokens per row, up to and with the first stop. Masks come from lengths, never from the pad id."""
    import torch

    from eval_hooks.until import Until

    width = max(map(len, rows))
    pad = model.generation_config.pad_token_id
    ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows], device=model.device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=model.device)
    ends = [Until(until, tokenizer, width)] if until else []
    new = model.generate(input_ids=ids, attention_mask=mask, stopping_criteria=ends)[:, width:].tolist()
    if ends:
        new = [row[: ends[0].length.get(number)] for number, row in enumerate(new)]
    return [_up_to_a_stop(row, stops) for row in new]


def _up_to_a_stop(row: list[int], stops: tuple[int, ...]) -> list[int]:
    return row[: next((i + 1 for i, token in enumerate(row) if token in stops), len(row))]

"""Greedy answers written by vLLM, where it is installed, against transformers' generate as evaluations use it."""

import random
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from eval_hooks.generate import continuations, stop_ids
from tests.benchmarks.gpu_parts.row import NOTE, Numbers, Row, measured
from tests.benchmarks.gpu_parts.shapes import TOKENIZER_SIZE, Models, Scale, loaded
from tests.benchmarks.gpu_parts.training import synchronize

SHARE = 0.6
"""Of the card's memory that vLLM may take."""
BATCHES = (4096, 65_536)
"""Tokens of a batch for transformers: an evaluation's, and all prompts at once."""
Prompts = Sequence[Sequence[int]]


def rows(scale: Scale, models: Models) -> Iterator[Row]:
    """The last shape: transformers first, whose memory is free again when vLLM starts."""
    shape = scale.shapes[-1]
    draw = random.Random(0)
    prompts = [draw.choices(range(3, TOKENIZER_SIZE), k=scale.prompt_tokens) for _ in range(scale.prompts)]
    asked = f"{shape.name}, {scale.prompts} prompts of {scale.prompt_tokens} tokens, {scale.new_tokens} new"
    for size in BATCHES:
        yield measured(
            "vllm", f"transformers, {asked}, batch_tokens {size}",
            lambda size=size: by_transformers(models.folder(shape), prompts, scale.new_tokens, size),
        )  # fmt: skip
    if find_spec("vllm") is None:
        yield Row(part="vllm", case=f"vLLM, {asked}", numbers={NOTE: "not installed: vllm"})
        return
    yield measured("vllm", f"vLLM, {asked}", lambda: by_vllm(models.folder(shape), prompts, scale.new_tokens))


def by_transformers(folder: Path, prompts: Prompts, new: int, batch_tokens: int) -> Numbers:
    """As a generative task is answered."""
    begin = time.perf_counter()
    model, tokenizer = loaded(folder), tokenizer_of(folder)
    continuations(model, tokenizer, prompts[:1], 2)
    synchronize()
    started = time.perf_counter()
    found = continuations(model, tokenizer, prompts, new, batch_tokens=batch_tokens)
    synchronize()
    return numbers_of(sum(map(len, found)), started - begin, time.perf_counter() - started)


def by_vllm(folder: Path, prompts: Prompts, new: int) -> Numbers:
    """The same prompts, stop tokens and length through an engine of its own."""
    from vllm import LLM, SamplingParams

    begin = time.perf_counter()
    longest = max(map(len, prompts)) + new
    engine = LLM(model=str(folder), max_model_len=longest, gpu_memory_utilization=SHARE, seed=0)
    stops = list(stop_ids(Quiet, tokenizer_of(folder)))
    settings = SamplingParams(temperature=0.0, max_tokens=new, stop_token_ids=stops)
    asked = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
    engine.generate(asked[:1], sampling_params=settings, use_tqdm=False)
    started = time.perf_counter()
    answers = engine.generate(asked, sampling_params=settings, use_tqdm=False)
    seconds = time.perf_counter() - started
    return numbers_of(sum(len(answer.outputs[0].token_ids) for answer in answers), started - begin, seconds)


class Quiet:
    """A model whose configuration names no stop token beside the tokenizer's."""

    generation_config = None


def tokenizer_of(folder: Path) -> Any:
    """The folder's tokenizer."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def numbers_of(tokens: int, start: float, seconds: float) -> Numbers:
    """New tokens, the time to have the model ready, and speed."""
    return {"start s": start, "new tokens": tokens, "s": seconds, "new tokens/s": tokens / seconds}

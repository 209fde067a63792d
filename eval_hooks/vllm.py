"""Answers written by the vLLM engine that an RLVR trainer draws its own with, after this step's weights went there.

TRL keeps the engine (its VLLMGeneration), in the ranks' processes or on a server, and gives it token ids.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from eval_hooks.forward import Progress
from eval_hooks.ranks import from_all, place, raise_everywhere

AT_ONCE = 256
"""Prompts a rank hands over at a time; in between the bar moves, and an evaluation can be broken off."""

_ENGINE: ContextVar[Any] = ContextVar("_ENGINE", default=None)


def engine() -> Any:
    """What writes answers here; None: the model itself."""
    return _ENGINE.get()


@contextmanager
def written_by(trainer: Any, model: Any) -> Iterator[None]:
    """Inside, greedy answers come from the trainer's engine. All ranks enter together.

    Weights are sent no more often than without an evaluation: the trainer's next answers are drawn with the same.
    """
    own = trainer.vllm_generation
    if trainer._last_loaded_step != trainer.state.global_step:
        own.sync_weights()
        trainer._last_loaded_step = trainer.state.global_step
    before = _ENGINE.set(own)
    try:
        yield
    finally:
        _ENGINE.reset(before)


def written(
    own: Any,
    prompts: Sequence[Sequence[int]],
    stops: Sequence[int],
    max_new_tokens: int,
    until: Sequence[str],
    progress: Progress,
) -> list[list[int]]:
    """What the engine writes after each prompt, greedily, in tokens, with the stop token or text at its end.

    The ranks take turns; TRL expects as many prompts from each, so a rank with fewer repeats one.
    """
    rank, ranks = place()
    mine = range(rank, len(prompts), ranks)
    most = -(-len(prompts) // ranks)
    found: dict[int, list[int]] = {}
    with _greedily(own, stops, max_new_tokens, until):
        for begin in range(0, most, AT_ONCE):
            members = mine[begin : begin + AT_ONCE]
            asked = [list(prompts[i]) for i in members]
            asked += [list(prompts[0])] * (min(AT_ONCE, most - begin) - len(asked))
            failed: Exception | None = None
            try:
                _, rows, *_ = own.generate(prompts=asked, images=None, num_generations=1)
                found |= zip(members, map(list, rows), strict=False)  # what was repeated is left out
                progress(len(prompts) * (begin + len(asked)) // most - len(prompts) * begin // most)
            except Exception as error:  # the other ranks wait for this one, so they have to hear of it
                failed = error
            raise_everywhere(failed)
    found = from_all(found)
    return [found[i] for i in sorted(found)]


@contextmanager
def _greedily(own: Any, stops: Sequence[int], max_new_tokens: int, until: Sequence[str]) -> Iterator[None]:
    """The engine's settings for drawing set aside, and given back."""
    ours = {
        "temperature": 0.0,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "max_completion_length": max_new_tokens,
        "structured_outputs_regex": None,
        "generation_kwargs": {
            "stop_token_ids": list(stops), "stop": list(until), "include_stop_str_in_output": True,
        },
    }  # fmt: skip
    before = {name: getattr(own, name) for name in ours}
    try:
        for name, value in ours.items():
            setattr(own, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(own, name, value)

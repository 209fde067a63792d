"""What writing the answers costs that a run is trained on: by the model itself, or by vLLM beside it.

Memory: vLLM sets `vllm_gpu_memory_utilization` of a GPU's whole memory aside at its start (its documentation: "the
fraction of GPU memory to be used for the model executor"): a copy of the weights in 16 bits, divided over
`vllm_tensor_parallel_size`, and what is left for keys and values (Kwon et al. 2023, arXiv:2309.06180: 2 x layers x
heads x head size numbers a token). In sleep mode it gives that back while the model trains. A server has GPUs of its
own.

Time: a pass writes one token of each row, and reads all weights and the rows' keys and values once; or computes, where
that takes longer. Reading the prompts is computing. An upper bound: every answer is as long as it may be.
"""

from dataclasses import dataclass

from trainers.arguments import setting
from trainers.memory.outline import Counts
from trainers.memory.pace import Speed, forward_flops
from trainers.memory.text import size
from trainers.recipe import Recipe

PROMPT = 512
"""Tokens that a prompt is taken to have."""
HALF = 2
"""Bytes of vLLM's numbers: of a model in fp32 it takes fp16."""


@dataclass(frozen=True, kw_only=True)
class Rollouts:
    """What a rank writes."""

    rows: int
    """Answers at once."""
    new: int
    """Tokens of the longest answer."""
    a_step: float
    """Times in an optimizer step; below 1 where answers are used in several."""


@dataclass(frozen=True, kw_only=True)
class Vllm:
    """What vLLM sets aside on each GPU, in bytes."""

    share: float
    weights: float
    per_token: float
    """Keys and values of a token."""
    sleeps: bool
    """Whether it gives its share back while the model trains."""

    @property
    def tokens(self) -> int:
        """What keys and values have room for; below 0 where not even the weights fit."""
        return int((self.share - self.weights) // self.per_token)


def rollouts(recipe: Recipe, micro: int, parts: int) -> Rollouts | None:
    """Of a step of `parts` micro-batches of `micro` answers; None where the model is trained on given ones."""
    new = setting(recipe, "max_completion_length")
    if not new:
        return None
    together = setting(recipe, "steps_per_generation") or parts
    times = setting(recipe, "num_iterations") or 1
    return Rollouts(rows=micro * together, new=new, a_step=parts / together / times)


def vllm(recipe: Recipe, counts: Counts, room: float | None) -> Vllm | None:
    """Beside the model on GPUs of `room` bytes; None where there is none, or it is a server."""
    if room is None or not setting(recipe, "use_vllm") or setting(recipe, "vllm_mode") != "colocate":
        return None
    divided = setting(recipe, "vllm_tensor_parallel_size") or 1
    return Vllm(
        share=room * setting(recipe, "vllm_gpu_memory_utilization"),
        weights=counts.total * HALF / divided,
        per_token=counts.cached * HALF / divided,
        sleeps=bool(setting(recipe, "vllm_enable_sleep_mode")),
    )


def writing_seconds(asked: Rollouts, counts: Counts, each: int, speed: Speed) -> float:
    """Of the answers of an optimizer step, `each` bytes a number."""
    flops = speed.tflops * 1e12 * speed.mfu
    cached = asked.rows * (PROMPT + asked.new / 2) * counts.cached * each  # on average over the answer
    read = (counts.total * each + cached) / speed.memory
    computed = asked.rows * forward_flops(counts, PROMPT + asked.new) / flops
    prompts = asked.rows * PROMPT * forward_flops(counts, PROMPT) / flops
    return asked.a_step * (prompts + asked.new * max(read, computed))


def words(asked: Rollouts, beside: Vllm | None, recipe: Recipe, speed: Speed) -> list[str]:
    """Lines of the plan."""
    often = "" if asked.a_step == 1 else f", {asked.a_step:g} times"
    lines = [
        f"{asked.rows} answers a step{often} on each, of {asked.new} tokens at most after {PROMPT} of a prompt "
        f"(assumed: {speed.memory / 1e12:g} TB/s of memory)"
    ]
    if beside is not None:
        left = size(max(0.0, beside.share - beside.weights))
        kept = f"{left} of keys and values, {beside.tokens:,} tokens" if beside.tokens > 0 else "no room for more"
        lines.append(
            f"vLLM sets {size(beside.share)} of each GPU aside: {size(beside.weights)} of weights, {kept}"
            + ("; given back while the model trains" if beside.sleeps else "")
        )
        if beside.tokens < PROMPT + asked.new:
            lines.append("vLLM would not start: raise train.vllm_gpu_memory_utilization or vllm_tensor_parallel_size")
    elif setting(recipe, "use_vllm"):
        lines.append("vLLM is a server: it has GPUs of its own, which are not counted here")
    return lines

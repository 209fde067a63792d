"""One forward pass over several items without padding, and the state a model must be in for it."""

import copy
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eval_hooks.scoring.pass_size import current

if TYPE_CHECKING:
    import torch

Progress = Callable[[int], None]


def no_progress(done: int) -> None:
    """Where nobody watches."""


class Row:
    """Texts in one row of tokens, as the paths of a tree: what texts begin with alike is there once.

    The tree lies depth first, so the tokens that have one on their way are the ones up to where its subtree ends.
    """

    def __init__(self, texts: Sequence[Sequence[int]]) -> None:
        self.ids: list[int] = []
        self.depth: list[int] = []
        """How many tokens of its text are before each."""
        self.end: list[int] = []
        """Where the subtree of each token ends."""
        self.paths: list[list[int]] = [[] for _ in texts]
        """Where the tokens of each text lie."""
        path: list[int] = []
        before: tuple[int, ...] = ()
        for text, number in sorted((tuple(text), number) for number, text in enumerate(texts)):
            kept = alike(before, text)
            self._leave(path, kept)
            path = [*path[:kept], *range(len(self.ids), len(self.ids) + len(text) - kept)]
            self.ids += text[kept:]
            self.depth += range(kept, len(text))
            self.end += [0] * (len(text) - kept)
            self.paths[number], before = path, text
        self._leave(path, 0)

    def _leave(self, path: Sequence[int], kept: int) -> None:
        for place in path[kept:]:
            self.end[place] = len(self.ids)

    def logits(
        self, model: Any, places: Sequence[Sequence[int]], prefix: "Prefix | None" = None
    ) -> list["torch.Tensor"]:  # (len(places[i]), V)
        """Logits at several lists of places, from one pass in which the head meets each place once.

        With a prefix every text comes after it, as if each were alone with it.
        """
        keep = sorted({place for some in places for place in some})
        number = {place: i for i, place in enumerate(keep)}
        logits = kept_logits(model, keep, **self.inputs(model, prefix))[0]
        return [logits[[number[place] for place in some]] for some in places]

    def inputs(self, model: Any, prefix: "Prefix | None" = None) -> dict[str, Any]:
        """What the model is called with; one text alone needs no mask, which would grow by T x T."""
        import torch

        device, length = model.device, prefix.length if prefix else 0
        inputs: dict[str, Any] = {"input_ids": torch.tensor([self.ids], device=device)}
        if prefix is not None:
            inputs["past_key_values"] = prefix.lent()
        elif self.depth == list(range(len(self.ids))):
            return inputs
        inputs["position_ids"] = torch.tensor([self.depth], device=device) + length
        inputs["attention_mask"] = path_mask(self.end, mask_dtype(model), length).to(device)
        return inputs


def alike(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two texts begin with alike."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


@dataclass(frozen=True)
class Prefix:
    """Tokens that many texts begin with, run once: their keys and values."""

    length: int
    cache: Any

    @classmethod
    def of(cls, model: Any, ids: Sequence[int]) -> "Prefix":
        """Run the tokens."""
        import torch

        inputs = {"input_ids": torch.tensor([list(ids)], device=model.device), "use_cache": True, **quiet(model)}
        if keeps_logits(model):
            inputs["logits_to_keep"] = 1
        return cls(length=len(ids), cache=model(**inputs).past_key_values)

    @property
    def bytes(self) -> int:
        """Size of the keys and values."""
        return sum(part.nbytes for layer in self.cache.layers for part in (layer.keys, layer.values))

    def lent(self) -> Any:
        """A cache to lengthen: other layers that begin with the same tensors, so that this one stays as it is."""
        cache = copy.copy(self.cache)
        cache.layers = [copy.copy(layer) for layer in self.cache.layers]
        return cache


class Prefixes:
    """Prefixes that were run, as long as there is room for them; the last one is always there.

    They hold for one state of the weights.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        """Bytes for keys and values that are kept."""
        self._kept: dict[tuple[int, ...], Prefix] = {}
        self._last: tuple[Sequence[int], Prefix | None] = ((), None)

    def of(self, model: Any, ids: Sequence[int]) -> Prefix | None:
        """The prefix of these tokens, run now if it has to be; None for no tokens."""
        if ids is not self._last[0]:
            self._last = ids, (self._kept.get(tuple(ids)) or self._run(model, ids)) if ids else None
        return self._last[1]

    def ready(self, ids: Sequence[int]) -> bool:
        """Whether it need not be run."""
        return tuple(ids) in self._kept

    def _run(self, model: Any, ids: Sequence[int]) -> Prefix:
        prefix = Prefix.of(model, ids)
        if prefix.bytes <= self.room:
            self.room -= prefix.bytes
            self._kept[tuple(ids)] = prefix
        return prefix


def free_memory(model: Any) -> int:
    """Bytes that are free where the model is."""
    import psutil
    import torch

    on_gpu = model.device.type == "cuda"
    return int(torch.cuda.mem_get_info(model.device)[0]) if on_gpu else int(psutil.virtual_memory().available)


def path_mask(end: Sequence[int], dtype: "torch.dtype", prefix: int = 0) -> "torch.Tensor":
    """Additive mask (1, 1, T, prefix + T): 0 where a token may look, the type's minimum elsewhere.

    A token looks at the prefix, at itself, and at what lies before it with a subtree (up to `end`) that holds it.
    """
    import torch

    place, ends = torch.arange(len(end)), torch.tensor(end)
    mask = torch.zeros((len(end), prefix + len(end)), dtype=dtype)
    hidden = (place[None, :] > place[:, None]).logical_or_(place[:, None] >= ends[None, :])
    mask[:, prefix:].masked_fill_(hidden, torch.finfo(dtype).min)
    return mask[None, None]


def kept_logits(model: Any, keep: list[int], **inputs: Any) -> "torch.Tensor":
    """Logits (rows, len(keep), V) at the kept positions only, where the model can say so."""
    import torch

    inputs = {"use_cache": False, **quiet(model), **inputs}
    if keeps_logits(model):
        return model(**inputs, logits_to_keep=torch.tensor(keep, device=model.device)).logits
    return model(**inputs).logits[:, keep]


def idle(model: Any) -> None:
    """A forward pass over one token, for a rank that has nothing to score while another one has."""
    import torch

    kept_logits(model, [0], input_ids=torch.tensor([[0]], device=model.device))


def keeps_logits(model: Any) -> bool:
    """Whether the model's forward can leave its head out where nobody looks."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return "logits_to_keep" in inspect.signature(base.forward).parameters


def quiet(model: Any) -> dict[str, Any]:
    """Arguments that keep a mixture of experts from balancing its load over the mask, which it takes to be 2-D."""
    balances = getattr(model.config.get_text_config(), "output_router_logits", False)
    return {"output_router_logits": False} if balances else {}


def _is_flash(config: Any) -> bool:
    return "flash" in str(config._attn_implementation)


@contextmanager
def block_attention(model: Any) -> Iterator[None]:
    """Attention that takes a block mask while inside: the same function of the same weights, another kernel."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    own = base.config.get_text_config()._attn_implementation
    if not _is_flash(base.config.get_text_config()):
        yield
        return
    base.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        base.set_attn_implementation(own)


def mask_dtype(model: Any) -> "torch.dtype":
    """Type of an attention mask: that of autocast where it is on, else of the weights."""
    import torch

    device = model.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else model.dtype


def batches(
    sizes: Sequence[int],
    budget: int,
    places: Sequence[int] | None = None,
    most: int = 0,
    firsts: Sequence[int] | None = None,
) -> Iterator[list[int]]:
    """Consecutive indices up to a token budget; an item larger than the budget is a batch of its own.

    `places` are the scored places of each item, of which a batch has at most so many, likewise; `firsts` the sizes of
    items that begin a batch.
    """
    batch: list[int] = []
    used = scored = 0
    for index, size in enumerate(sizes):
        more = places[index] if places else 0
        if batch and (used + size > budget or scored + more > most):
            yield batch
            batch, used, scored = [], 0, 0
        used += size if batch or firsts is None else firsts[index]
        scored += more
        batch.append(index)
    if batch:
        yield batch


def most_places(model: Any) -> int:
    """Scored places of one pass."""
    return current().places(model.config.get_text_config().vocab_size)


@contextmanager
def scoring_mode(model: Any) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards every module's mode and the random states are as before."""
    import torch

    training = {module for module in model.modules() if module.training}
    state = torch.get_rng_state()
    on_gpu = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in model.modules():
            module.training = module in training
        torch.set_rng_state(state)
        if on_gpu:
            torch.cuda.set_rng_state_all(on_gpu)

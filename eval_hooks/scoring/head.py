"""Log-probabilities of many tokens, with the logits of a few places held at a time.

What a model does between its body and its logits (a cap, a scale) is left to it: the body runs once, what its head is
given is kept, and then the head is given that again, piece by piece, on calls that read one token.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from eval_hooks.forward import idle, keeps_logits, kept_logits, quiet

if TYPE_CHECKING:
    import torch


def calls(places: int, most: int) -> int:
    """How often the model is called for so many places, of which `most` are held at a time."""
    return min(places, 1) if places <= most else 1 + -(-places // most)


def logps(model: Any, places: Sequence[int], targets: Sequence[int], most: int, **inputs: Any) -> "torch.Tensor":
    """Log-probability (n,) of each target at its place of the one row, fp32; a place may be there several times."""
    import torch

    wanted = torch.tensor(list(targets), device=model.device)
    if len(places) <= most:
        return _of(kept_logits(model, list(places), **inputs)[0], wanted)
    hidden = _before_head(model, places, **inputs)
    found = []
    for part, target in zip(hidden.split(most, 1) if hidden is not None else (), wanted.split(most), strict=False):
        logits = _through_head(model, part)
        if logits.shape[:2] != part.shape[:2]:
            break
        found.append(_of(logits[0], target))
    if sum(map(len, found)) == len(places):
        return torch.cat(found)
    return _whole(model, places, wanted, most, 1 + len(found) + (hidden is not None), **inputs)


def _of(logits: "torch.Tensor", targets: "torch.Tensor") -> "torch.Tensor":  # (n, V), (n,) -> (n,)
    import torch

    return -torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none")


def _whole(
    model: Any, places: Sequence[int], targets: "torch.Tensor", most: int, made: int, **inputs: Any
) -> "torch.Tensor":
    """The same from all logits at once, for a model whose head is no module that is called once a pass."""
    import torch

    logits = kept_logits(model, list(places), **inputs)[0]
    for _ in range(calls(len(places), most) - made - 1):  # all ranks call as often as was planned
        idle(model)
    return torch.cat([_of(part, target) for part, target in zip(logits.split(most), targets.split(most), strict=True)])


def _before_head(model: Any, places: Sequence[int], **inputs: Any) -> "torch.Tensor | None":  # (1, n, H)
    """What the head is given at the places; None where that cannot be seen."""
    import torch

    keep = torch.tensor(list(places), device=model.device)
    asked = {"logits_to_keep": keep} if keeps_logits(model) else {}
    with _head_given(model, None) as seen:
        model(**{"use_cache": False, **quiet(model), **inputs}, **asked)
    if len(seen) != 1 or seen[0].ndim != 3:
        return None
    if not asked:
        return seen[0][:, keep]
    return seen[0] if seen[0].shape[1] == len(keep) else None


def _through_head(model: Any, hidden: "torch.Tensor") -> "torch.Tensor":  # (1, n, H) -> (1, n, V)
    """The model's logits of what its head is given."""
    import torch

    with _head_given(model, hidden):
        return model(input_ids=torch.tensor([[0]], device=model.device), use_cache=False, **quiet(model)).logits


@contextmanager
def _head_given(model: Any, hidden: "torch.Tensor | None") -> Iterator[list["torch.Tensor"]]:
    """Inside, the head is given `hidden`, or its first place only; what it would have been given is noted."""
    seen: list[torch.Tensor] = []

    def give(module: Any, args: Any) -> Any:
        if not args:
            return None
        seen.append(args[0])
        return (args[0][:, :1] if hidden is None else hidden, *args[1:])

    head = model.get_output_embeddings()
    handle = head.register_forward_pre_hook(give) if head is not None else None
    try:
        yield seen
    finally:
        if handle:
            handle.remove()

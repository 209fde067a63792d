"""One forward pass over several items without padding, and the state a model must be in for it."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch

Progress = Callable[[int], None]


def no_progress(done: int) -> None:
    """Where nobody watches."""


@dataclass
class Row:
    """Items laid side by side in one row of tokens, each a tree.

    A stem, and branches that see the stem and themselves.
    """

    ids: list[int] = field(default_factory=list)
    position: list[int] = field(default_factory=list)
    item_of: list[int] = field(default_factory=list)
    branch_of: list[int] = field(default_factory=list)
    """-1 for the stem."""

    def add(self, stem: Sequence[int], branches: Sequence[Sequence[int]] = ()) -> tuple[int, list[int]]:
        """Lay one more item; return where its stem begins and where each branch begins."""
        start, number = len(self.ids), self.item_of[-1] + 1 if self.item_of else 0
        starts = []
        self._lay(stem, 0, number, -1)
        for branch_number, branch in enumerate(branches):
            starts.append(len(self.ids))
            self._lay(branch, len(stem), number, branch_number)
        return start, starts

    def _lay(self, tokens: Sequence[int], depth: int, number: int, branch: int) -> None:
        self.ids += tokens
        self.position += range(depth, depth + len(tokens))
        self.item_of += [number] * len(tokens)
        self.branch_of += [branch] * len(tokens)

    def logits(self, model: Any, keep: list[int]) -> "torch.Tensor":
        """Logits (len(keep), V) at the kept places; `keep` is sorted and without repeats."""
        import torch

        device = model.device
        return kept_logits(
            model,
            keep,
            input_ids=torch.tensor([self.ids], device=device),
            position_ids=torch.tensor([self.position], device=device),
            attention_mask=block_mask(self.item_of, self.branch_of, mask_dtype(model)).to(device),
        )[0]


class Tree(Protocol):
    """Texts with a common beginning, of each of which the last tokens are scored."""

    @property
    def shared(self) -> Sequence[int]:
        """The tokens that all texts begin with; at least one."""

    @property
    def branches(self) -> Sequence[Sequence[int]]:
        """What follows, per text."""

    @property
    def scored(self) -> Sequence[int]:
        """How many of a text's last tokens are scored."""

    @property
    def tokens(self) -> int:
        """Tokens run through the model for it."""


Scored = list[list[tuple["torch.Tensor", Sequence[int]]]]
"""Per tree, per text: logits (n, V) that predict its n scored tokens, and those tokens."""


def together(model: Any, trees: Sequence[Tree]) -> Scored:
    """All trees in one row: a beginning runs once, its texts ride on it; the head meets the scored places only."""
    row, wanted = Row(), []
    for tree in trees:
        fed = [branch[:-1] for branch in tree.branches]  # the last token is predicted, never fed
        start, starts = row.add(tree.shared, fed)
        last = start + len(tree.shared) - 1
        places = [[last, *range(first, first + len(tokens))] for first, tokens in zip(starts, fed, strict=True)]
        wanted.append([(p[-n:], b[-n:]) for p, b, n in zip(places, tree.branches, tree.scored, strict=True)])
    keep = sorted({place for texts in wanted for places, _ in texts for place in places})
    logits = row.logits(model, keep)
    row_of = {place: number for number, place in enumerate(keep)}
    return [[(logits[[row_of[p] for p in places]], tokens) for places, tokens in texts] for texts in wanted]


def one_by_one(model: Any, trees: Sequence[Tree]) -> Scored:
    """The same with each text as a row of its own, for a model that takes no block mask."""
    import torch

    out: Scored = []
    for tree in trees:
        texts = []
        for branch, n in zip(tree.branches, tree.scored, strict=True):
            ids = torch.tensor([[*tree.shared, *branch[:-1]]], device=model.device)
            texts.append(
                (kept_logits(model, list(range(ids.shape[1] - n, ids.shape[1])), input_ids=ids)[0], branch[-n:])
            )
        out.append(texts)
    return out


def in_batches(
    model: Any, trees: Sequence[Tree], batch_tokens: int, progress: Progress
) -> Iterator[list[tuple["torch.Tensor", Sequence[int]]]]:
    """Each tree's texts, in order: run in batches to a token budget, together where the model takes the mask for it.

    Only a batch's logits are held at a time, so use them as they come. The model is left as it was, when all are taken.
    """
    run = together if takes_block_mask(model) else one_by_one
    with scoring_mode(model):
        for batch in batches([tree.tokens for tree in trees], batch_tokens):
            yield from run(model, [trees[i] for i in batch])
            progress(len(batch))


def block_mask(item_of: Sequence[int], branch_of: Sequence[int], dtype: "torch.dtype") -> "torch.Tensor":
    """Additive mask (1, 1, T, T): 0 where a token may look, the type's minimum elsewhere.

    A token looks back only, within its own item, at the stem (branch -1) and at its own branch.
    """
    import torch

    item, branch = torch.tensor(item_of), torch.tensor(branch_of)
    same_item = item[:, None] == item[None, :]
    same_branch = (branch[:, None] == branch[None, :]) | (branch[None, :] == -1)
    allowed = (same_item & same_branch).tril()
    return torch.zeros(allowed.shape, dtype=dtype).masked_fill(~allowed, torch.finfo(dtype).min)[None, None]


def kept_logits(model: Any, keep: list[int], **inputs: Any) -> "torch.Tensor":
    """Logits (rows, len(keep), V) at the kept positions only, where the model can say so."""
    import torch

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    if getattr(model.config.get_text_config(), "output_router_logits", False):
        inputs["output_router_logits"] = (
            False  # a mixture of experts would balance its load over the mask, which is 2-D
        )
    if "logits_to_keep" in inspect.signature(base.forward).parameters:
        return model(**inputs, use_cache=False, logits_to_keep=torch.tensor(keep, device=model.device)).logits
    return model(**inputs, use_cache=False).logits[:, keep]


def takes_block_mask(model: Any) -> bool:
    """Whether attention takes a free (1, 1, T, T) mask: sdpa or eager, every layer attends, none through a window."""
    config = model.config.get_text_config()
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        windowed = getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)
        recurrent = any(hasattr(config, name) for name in ("state_size", "conv_kernel", "linear_conv_kernel_dim"))
        kinds = ["other"] if windowed or recurrent else ["full_attention"]
    return config._attn_implementation in ("sdpa", "eager") and set(kinds) == {"full_attention"}


def mask_dtype(model: Any) -> "torch.dtype":
    """Type of an attention mask: that of autocast where it is on, else of the weights."""
    import torch

    device = model.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else model.dtype


def batches(sizes: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Consecutive indices up to a token budget; an item larger than the budget is a batch of its own."""
    batch: list[int] = []
    used = 0
    for index, size in enumerate(sizes):
        if batch and used + size > budget:
            yield batch
            batch, used = [], 0
        batch.append(index)
        used += size
    if batch:
        yield batch


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

"""Whether a model scores texts that lie in one row as it scores each by itself: tried on it, never inferred.

A configuration does not tell: layers may look through a window, add a bias by distance, keep a state, or take no mask
over several texts. So before anything else texts as long as the longest one planned are scored both ways. Where the two
differ by more than rounding, or the row raises, every text runs by itself.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from eval_hooks.forward import Prefix, Row, idle, kept_logits
from eval_hooks.ranks import anywhere, from_all, place, raise_everywhere

if TYPE_CHECKING:
    import torch

ROUNDINGS = 8
"""Units of rounding that the two may lie apart, in proportion to how far logits spread: SmolLM2 in bf16 has 2.6."""
LEAST = 1e-4
"""That proportion which is rounding in any case: sums in another order drift apart over many layers."""
TIMES = 3
"""How many times as far as the row's first text, whose tokens lie as they do alone, another one may be."""
FEWEST = 4
"""Units that it may be in any case: where the first text happens to be equal, others have up to 2.9 (SmolLM2, bf16)."""
TF32_EPS = 2**-10
"""Unit of rounding of TF32, which CUDA may multiply fp32 in."""


@dataclass
class Found:
    """What trying has shown of one model for one kind of row."""

    good: int = 0
    """Texts of up to so many tokens are scored alike."""
    bad: int | None = None
    """Texts of so many tokens are not."""
    reason: str | None = None

    def known(self, length: int) -> bool:
        """Whether it need not be tried."""
        return length <= self.good or (self.bad is not None and length >= self.bad)


@dataclass
class Tried:
    """What trying has shown of one model."""

    rows: Found = field(default_factory=Found)
    riding: Found = field(default_factory=Found)
    """Rows after keys and values that were run before."""


_TRIED: "WeakKeyDictionary[Any, Tried]" = WeakKeyDictionary()


def unshared(model: Any) -> str | None:
    """Why texts run by themselves on this model, in words; None where none had to so far."""
    tried = _TRIED.get(model, Tried())
    return tried.rows.reason or tried.riding.reason


def packs(model: Any, length: int, room: int, ids: Sequence[int], *, riding: bool = False) -> bool:
    """Whether texts of up to `length` tokens may lie in one row of `room` tokens; `riding`: after a kept prefix.

    Where that is not known yet it is tried, with texts made of `ids`, on all ranks together. To be called in
    `scoring_mode`.
    """
    tried = _TRIED.setdefault(model, Tried())
    found = tried.riding if riding else tried.rows
    if not anywhere(not found.known(length)):
        return length <= found.good
    texts, what = Texts.of(length, room, ids), "a row of several" + (" after a kept beginning" if riding else "")
    with _rounding(model) as units:
        alone = _passes(model, [partial(texts.alone, model, ending) for ending in texts.compared])
        try:
            rows = _passes(model, texts.riding(model) if riding else [partial(texts.row, model)])
        except Exception as error:  # whatever it is, the model takes no such row
            first, _, _ = str(error).partition("\n")
            here = f"{what} raises {type(error).__name__}: {first[:120]}"
        else:
            nats = apart(alone, rows[-1], max(units, default=0.0))
            here = "" if nats is None else f"{what} is {nats:.2g} nats from each text by itself"
    reason = next(filter(None, from_all({place()[0]: here}).values()), "")
    if reason:
        found.bad, found.reason = length, reason
    elif anywhere(_tells(alone)):
        found.good = length
    return not reason


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Two trees of two texts each, all with one beginning."""

    stem: list[int]
    endings: list[list[int]]
    places: list[int]
    """In an ending, where both ways are compared: close by where a branch begins, since a window shows there."""

    @classmethod
    def of(cls, length: int, room: int, ids: Sequence[int]) -> "Texts":
        """Texts of `length` tokens whose endings fill a row of `room`, so that they lie as far apart as any do there.

        All end in the same token.
        """
        draw, pool = random.Random(0), sorted(set(ids))
        part = max(1, min(length // 4, room // 6))
        stem, last = draw.choices(pool, k=max(1, length - 2 * part)), draw.choice(pool)
        endings = []
        for _ in range(2):
            tree = draw.choices(pool, k=part)
            endings += [[*tree, *draw.choices(pool, k=part - 1), last] for _ in range(2)]
        near = [0, *(2**k for k in range(part.bit_length()) if 2**k < part)]
        places = sorted({*near, *(part + n for n in near), 2 * part - 1})
        return cls(stem=stem, endings=sorted(endings), places=places)

    @property
    def compared(self) -> list[list[int]]:
        """The first text of the row, which lies as it does alone, and the last one."""
        return [self.endings[0], self.endings[-1]]

    def alone(self, model: Any, ending: Sequence[int]) -> "torch.Tensor":  # (places, V)
        """Logits of a text by itself."""
        import torch

        ids = torch.tensor([[*self.stem, *ending]], device=model.device)
        return kept_logits(model, [len(self.stem) + n for n in self.places], input_ids=ids)[0].float()

    def row(self, model: Any) -> list["torch.Tensor"]:
        """The same of the texts compared, from a row of all."""
        return self._of(Row([[*self.stem, *ending] for ending in self.endings]), model, len(self.stem))

    def riding(self, model: Any) -> list[Callable[[], Any]]:
        """The passes for a row that rides on the beginning; twice, since it is lent more than once."""
        kept: list[Prefix] = []
        row = Row(self.endings)

        def begin() -> int:
            kept.append(Prefix.of(model, self.stem))
            return kept[0].bytes  # AttributeError where a layer keeps anything but keys and values

        return [begin, *[lambda: self._of(row, model, 0, kept[0])] * 2]

    def _of(self, row: Row, model: Any, start: int, prefix: Prefix | None = None) -> list["torch.Tensor"]:
        places = [[row.paths[k][start + n] for n in self.places] for k in (0, -1)]
        return [logits.float() for logits in row.logits(model, places, prefix)]


def apart(alone: Sequence["torch.Tensor"], rows: Sequence["torch.Tensor"], unit: float) -> float | None:
    """How far the texts of a row are from themselves alone, in nats at the worst; None within rounding.

    The first text shows what rounding does here, as long as that is no more than ROUNDINGS allow.
    """
    first, last = (_distance(one, row, unit) for one, row in zip(alone, rows, strict=True))
    most = max(LEAST, ROUNDINGS * unit)
    if first <= most and last <= min(most, max(LEAST, FEWEST * unit, TIMES * first)):  # nan is above
        return None
    return max(float((one - row).abs().max()) for one, row in zip(alone, rows, strict=True))


def _distance(one: "torch.Tensor", other: "torch.Tensor", unit: float) -> float:  # (places, V) twice
    """Of log-probabilities, in proportion to how far they spread at a place.

    In 16 bits the typical place counts, since rounding alone may send a token to another expert; else the worst.
    """
    import torch

    one, other = one.log_softmax(-1), other.log_softmax(-1)
    off = torch.where(one == other, 0.0, one - other)
    spread = torch.where(one.isfinite(), one, one[one.isfinite()].mean()).std(-1)
    far = off.square().mean(-1).sqrt() / spread.clamp(min=1e-6)
    return float(far.median() if unit > TF32_EPS else far.max())


def _tells(alone: Sequence["torch.Tensor"]) -> bool:
    """Whether the model's last logits show what came before; one that does not (a head of zeros) is tried again."""
    return not bool((alone[0][-1] - alone[1][-1]).abs().max() < LEAST)


def _passes(model: Any, runs: Sequence[Callable[[], Any]]) -> list[Any]:
    """What each gives, one call of the model each. A rank that fails goes on calling, and all hear of it."""
    found, failed = [], None
    for run in runs:
        try:
            if failed:
                idle(model)
            else:
                found.append(run())
        except Exception as error:  # the other ranks call on, which gathers weights from this one
            failed = error
    raise_everywhere(failed)
    return found


@contextmanager
def _rounding(model: Any) -> Iterator[list[float]]:
    """The units of rounding of what the head puts out while inside: autocast may hide in the forward pass."""
    import torch

    units = []
    tf32 = model.device.type == "cuda" and torch.get_float32_matmul_precision() != "highest"

    def note(module: Any, inputs: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor) and output.is_floating_point():
            units.append(max(torch.finfo(output.dtype).eps, TF32_EPS if tf32 else 0.0))

    head = model.get_output_embeddings() or model
    handle = head.register_forward_hook(note)
    try:
        yield units
    finally:
        handle.remove()

"""What a step is divided by, and what it measured: over micro-batches and ranks."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trainers import TrainError


class Totals(Mapping[str, Any]):
    """`ctx.totals`, which knows whether a step has read them: its loss is then a share of the whole step's."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values, self.read = values, False

    def __getitem__(self, name: str) -> Any:
        """One total. Raises TrainError for what the stage does not count."""
        if name not in self:
            raise TrainError(f"ctx.totals[{name!r}]: not counted here; there is: {', '.join(self._values) or 'none'}")
        self.read = True
        return self._values[name]

    def get(self, name: str, default: Any = None) -> Any:
        """One total, or the default where it is not counted."""
        return default if name not in self._values else self[name]

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


@dataclass
class StepMetrics:
    """Of the optimizer step that is being made, and what is not logged yet."""

    losses: list[Any] = field(default_factory=list)
    """Of each micro-batch, as it went into the gradient."""
    values: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    """To be averaged."""
    shares: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    """To be summed."""
    unlogged: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    seen: dict[str, int] = field(default_factory=dict)
    """How many of TRL's own numbers were there at the end of the last step."""
    last: list[list[Any]] = field(default_factory=list)
    """The lists that the micro-batch at hand has added to."""

    def begin(self) -> None:
        """A micro-batch begins."""
        self.last.clear()

    def add(self, metrics: Mapping[str, Any], terms: Mapping[str, Any] | None = None, shares: bool = False) -> None:
        """What one micro-batch measured; `terms` are summed where they are shares of the step's."""
        for names, into in ((metrics, self.values), (terms or {}, self.shares if shares else self.values)):
            for name, value in names.items():
                into[name].append(value.detach() if hasattr(value, "detach") else value)
                self.last.append(into[name])

    def forget_last(self) -> None:
        """Take back what the micro-batch at hand measured: it is left out."""
        for values in self.last:
            values.pop()
        self.last.clear()

    def reduce(self, gathered: Mapping[str, Sequence[float]]) -> dict[str, float]:
        """The step's numbers over micro-batches and ranks, and the next step begins; called on all ranks.

        `gathered` are TRL's own, lists that grow until they are logged.
        """
        from accelerate.utils import gather_object

        own = [
            sum(map(float, self.losses)),
            {name: (sum(map(float, each)), len(each)) for name, each in self.values.items() if each},
            {name: sum(map(float, each)) for name, each in self.shares.items() if each},
        ]
        ranks = gather_object([own])
        found: dict[str, float] = {}
        for name in dict.fromkeys(name for _, values, _ in ranks for name in values):
            parts = [values[name] for _, values, _ in ranks if name in values]
            found[name] = sum(total for total, _ in parts) / sum(n for _, n in parts)
        for name in dict.fromkeys(name for _, _, shares in ranks for name in shares):
            found[name] = sum(shares.get(name, 0.0) for _, _, shares in ranks)
        for name, value in found.items():
            self.unlogged[name].append(value)
        theirs = self._new(gathered)
        self.losses.clear()
        self.values.clear()
        self.shares.clear()
        return {**theirs, **found, "loss": sum(loss for loss, _, _ in ranks) / len(ranks)}

    def _new(self, gathered: Mapping[str, Sequence[float]]) -> dict[str, float]:
        """Means of what TRL has gathered since the last step."""
        found = {}
        for name, each in gathered.items():
            before = self.seen.get(name, 0)
            new = each[before if before <= len(each) else 0 :]
            if new:
                found[name] = sum(new) / len(new)
        self.seen = {name: len(each) for name, each in gathered.items()}
        return found

    def since_last(self) -> dict[str, float]:
        """What is not logged yet, averaged over steps."""
        found = {name: sum(values) / len(values) for name, values in self.unlogged.items()}
        self.unlogged.clear()
        self.seen.clear()
        return found

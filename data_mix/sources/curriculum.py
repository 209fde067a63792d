"""Small tasks with one right answer each, for reinforcement learning on a small machine.

`last_word`: which of four words comes last; `larger`: which of two numbers; `sum`: two small numbers added. Each names
verifiers that can tell a better reply from a worse one before any is perfect: naming the right answer is worth half,
saying nothing else the other half (measured: a reward for the bare answer alone was never found).
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from data_mix import DataError
from data_mix.splits import Split, split_of_hash

Kind = Literal["last_word", "larger", "sum"]
WORDS = (
    "pear lamp fox tree cup boat rain door milk sun bird coat stone leaf spoon river candle glove bread wheel plum "
    "horse mirror cloud rope carrot bell shoe"
).split()
TRIES = 2000


@dataclass(frozen=True, kw_only=True)
class Curriculum:
    """Which tasks, and how many."""

    split: Split = "train"
    """No question is in two splits."""
    n: int = 200
    """Rows."""
    seed: int = 0
    """The same settings and seed give the same rows."""
    kinds: tuple[Kind, ...] = ("last_word", "larger", "sum")
    """Taken in turn."""
    words: int = 4
    """Words in a list."""
    largest: int = 20
    """Largest number in a sum."""

    def __post_init__(self) -> None:
        """Refuse settings that cannot give rows."""
        if self.n < 1:
            raise ValueError(f"n must be above 0, got {self.n}")
        if not self.kinds:
            raise ValueError("kinds is empty; name last_word, larger or sum")
        if not 2 <= self.words <= 10:
            raise ValueError(f"words must be 2 to 10, got {self.words}")
        if self.largest < 2:
            raise ValueError(f"largest must be 2 or more, got {self.largest}")


def rows(cfg: Curriculum, rng: Random) -> Iterator[dict[str, Any]]:
    """N rows {item_id, prompt, verifier, answer, kind}, with choices where options are named; no question twice.

    The generator's own seed decides. Raises DataError where there are fewer different questions.
    """
    draw = Random(f"curriculum/{cfg.split}/{cfg.seed}")
    seen: set[str] = set()
    while len(seen) < cfg.n:
        kind = cfg.kinds[len(seen) % len(cfg.kinds)]
        for _ in range(TRIES):
            row = KINDS[kind](cfg, draw)
            key = hashlib.sha256(row["prompt"].encode()).hexdigest()
            if key not in seen and split_of_hash(key) == cfg.split:
                break
        else:
            raise DataError(
                f"source curriculum: only {len(seen)} of {cfg.n} different questions; lower n, or raise largest"
            )
        seen.add(key)
        yield {"item_id": f"{kind}/{key[:10]}", "kind": kind, **row, "prompt": _turn(row["prompt"])}


def _turn(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def _last_word(cfg: Curriculum, rng: Random) -> dict[str, Any]:
    words = rng.sample(WORDS, cfg.words)
    return {
        "prompt": f"List: {', '.join(words)}. Which word comes last?",
        "verifier": {"choice": 0.5, "exact": 0.5},
        "answer": words[-1],
        "choices": words,
    }


def _larger(cfg: Curriculum, rng: Random) -> dict[str, Any]:
    numbers = [str(number) for number in rng.sample(range(1, 1000), 2)]
    return {
        "prompt": f"Numbers: {numbers[0]}, {numbers[1]}. Which number is larger?",
        "verifier": {"choice": 0.5, "exact": 0.5},
        "answer": max(numbers, key=int),
        "choices": numbers,
    }


def _sum(cfg: Curriculum, rng: Random) -> dict[str, Any]:
    a, b = (rng.randint(1, cfg.largest) for _ in range(2))
    return {"prompt": f"What is {a} + {b}?", "verifier": {"number": 0.5, "exact": 0.5}, "answer": str(a + b)}


KINDS: dict[str, Callable[[Curriculum, Random], dict[str, Any]]] = {
    "last_word": _last_word, "larger": _larger, "sum": _sum,
}  # fmt: skip

"""Texts with common beginnings, scored together: what they share runs once.

Two things are shared. Texts of one pass run once what they begin with alike: the options of a question, the answers to
a prompt, questions about one passage, which therefore lie beside each other. Trees of one group (a subject's questions
after the same solved examples) ride on keys and values of what all of them begin with, run before; whole prompts are
tokenised and compared, since a beginning tokenised by itself need not be one. The layout is a function of the items
alone, so it is the same at every checkpoint.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import count, pairwise
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from eval_hooks.forward import (
    Prefix,
    Prefixes,
    Progress,
    Row,
    alike,
    batches,
    block_attention,
    idle,
    kept_logits,
    most_places,
    scoring_mode,
)
from eval_hooks.ranks import Job, shared_out
from eval_hooks.scoring.packing import packs
from eval_hooks.scoring.pass_size import current

if TYPE_CHECKING:
    import torch

MASK_BYTES = 64 * 2**20
"""Of the largest mask: 4096 x 4096 in fp32."""
SHORTEST = 32
"""Tokens of a common beginning that are worth a pass of their own."""
T = TypeVar("T")


class Tree(Protocol):
    """Texts with a common beginning, of each of which the last tokens are scored."""

    @property
    def group(self) -> str:
        """Trees of one group have a beginning in common; empty: of none."""

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
        """Tokens run through the model for it, alone."""


Texts = Sequence[tuple["torch.Tensor", Sequence[int]]]
"""Per text of a tree: logits (n, V) that predict its n scored tokens, and those tokens."""
Way = Callable[[Any, Sequence[Tree], Prefix | None], list[Texts]]


def each_tree(
    model: Any,
    trees: Sequence[Tree],
    of: Callable[[Texts], T],
    batch_tokens: int | None,
    progress: Progress,
    *,
    only: Sequence[int] | None = None,
    prefixes: Prefixes | None = None,
    intact: bool = False,
) -> list[T]:
    """What `of` makes of each tree's texts, in the order of the trees, on every rank; `only` some of them, if given.

    Batches go up to a token budget (None: the machine's), and the ranks share them out; only a batch's logits are held
    at a time. The model is left as it was. `prefixes` that were run before are not run again; the weights have to be
    the same as then.
    With `intact`, `only` some are scored in the batches they have among all trees, so that every sum is in the same
    order as there and the numbers are equal to the last bit.
    """
    kept, batch_tokens = prefixes or Prefixes(room=0), batch_tokens or current().tokens
    with scoring_mode(model), block_attention(model):
        share, ride = _shared(model, trees, batch_tokens)
        way: Way = together if share else one_by_one
        jobs = layout(trees, batch_tokens, share, ride, only=only, places=most_places(model), intact=intact)

        def work(number: int) -> list[T]:
            members, prefix = [trees[i] for i in jobs[number].members], jobs[number].prefix
            run = one_by_one if too_wide(members, len(prefix)) else way
            return [of(texts) for texts in run(model, members, kept.of(model, prefix))]

        found = shared_out(jobs, work, lambda: idle(model), progress, ready=kept.ready)
    if only is None or not intact:
        return found
    number = {member: place for place, member in enumerate(sorted(i for job in jobs for i in job.members))}
    return [found[number[i]] for i in only]


def _shared(model: Any, trees: Sequence[Tree], batch_tokens: int) -> tuple[bool, bool]:
    """(whether texts share a row on this model, whether rows ride on a prefix)."""
    if not trees:
        return True, True
    longest = max(trees, key=_length)
    length, ids = _length(longest), [*longest.shared, *longest.branches[0]]
    ride = any(job.prefix for job in layout(trees, batch_tokens)) and packs(
        model, length, batch_tokens, ids, riding=True
    )
    rows = max((_length(tree) for tree in trees if not too_wide([tree])), default=min(length, batch_tokens))
    share = packs(model, rows, batch_tokens, ids)
    return share, share and ride


def _length(tree: Tree) -> int:
    return len(tree.shared) + max(map(len, tree.branches)) - 1


def layout(
    trees: Sequence[Tree],
    batch_tokens: int,
    share: bool = True,
    ride: bool = True,
    *,
    only: Sequence[int] | None = None,
    places: int = sys.maxsize,
    intact: bool = False,
) -> list[Job]:
    """The trees in batches: each group after what it has in common, in order of appearance; then all others.

    `share`: texts share a row; `ride`: rows come after a prefix that is run before. What a group has in common is that
    of all its trees, also where `only` some of them are scored. A batch has at most so many scored `places`, or one
    tree. `intact`: the batches of all trees that hold one of `only`.
    """
    if intact and only is not None:
        every, asked = layout(trees, batch_tokens, share, ride, places=places), set(only)
        return [job for job in every if not asked.isdisjoint(job.members)]
    named: dict[str, list[int]] = {}
    for i, tree in enumerate(trees):
        named.setdefault(tree.group if ride else "", []).append(i)
    wanted = set(range(len(trees)) if only is None else only)
    rest = [i for i in named.pop("", []) if i in wanted]
    out: list[Job] = []
    for group in named.values():
        for family, length in families(sorted(group, key=lambda i: tuple(trees[i].shared)), trees, batch_tokens):
            members = sorted(i for i in family if i in wanted)
            if length:
                out += _batches(trees, members, batch_tokens, share, places, trees[family[0]].shared[:length])
            else:
                rest += members
    if ride:  # a long text that is alone with its branches: they ride on it, so that the mask is theirs only
        long = [i for i in rest if len(trees[i].branches) > 1 and too_wide([trees[i]]) and len(trees[i].shared) > 1]
        for i in sorted(long):
            out += _batches(trees, [i], batch_tokens, share, places, trees[i].shared[:-1])
        rest = [i for i in rest if i not in set(long)]
    return out + _batches(trees, sorted(rest), batch_tokens, share, places)


def families(group: Sequence[int], trees: Sequence[Tree], batch_tokens: int) -> Iterator[tuple[Sequence[int], int]]:
    """(members, tokens of the prefix they ride on, or 0) of a group in the order of its texts.

    A text whose beginning was cut has little in common with the others, and must not take what they share from them: a
    group is parted where its neighbours differ most if that saves a batch of tokens or more.
    """
    known = [alike(trees[a].shared, trees[b].shared) for a, b in pairwise(group)]
    prefix = _prefix(group, known, trees)
    if known:
        least = min(known)
        ends = [0, *(i + 1 for i, n in enumerate(known) if n == least), len(group)]
        parts = [group[a:b] for a, b in pairwise(ends)]
        inside = [_prefix(part, known[a : b - 1], trees) for part, (a, b) in zip(parts, pairwise(ends), strict=True)]
        saved = sum(_saved(part, n, trees, batch_tokens) for part, n in zip(parts, inside, strict=True))
        if saved >= _saved(group, prefix, trees, batch_tokens) + batch_tokens:
            for part in parts:
                yield from families(part, trees, batch_tokens)
            return
    yield group, prefix


def _prefix(group: Sequence[int], known: Sequence[int], trees: Sequence[Tree]) -> int:
    """Tokens that texts have in common, of which neighbours have so many; 0 where they are not worth a pass."""
    length = min(*known, *(len(trees[i].shared) - 1 for i in group)) if known else 0
    return length if length >= SHORTEST else 0


def _saved(group: Sequence[int], prefix: int, trees: Sequence[Tree], batch_tokens: int) -> int:
    """Tokens that are not run again where texts ride on a prefix: a row would have it once in every batch."""
    fresh = sum(trees[i].tokens - prefix for i in group)
    rows = len(group) if prefix >= batch_tokens else min(len(group), -(-fresh // (batch_tokens - prefix)))
    return prefix * (rows - 1)


def _batches(
    trees: Sequence[Tree],
    members: Sequence[int],
    batch_tokens: int,
    share: bool,
    places: int,
    prefix: Sequence[int] = (),
) -> list[Job]:
    if share:  # next to each other what begins alike
        members = sorted(members, key=lambda i: tuple(trees[i].shared))
    sizes = firsts = [trees[i].tokens - len(prefix) for i in members]
    if share:
        stems = [trees[i].shared[len(prefix) :] for i in members]
        sizes = [n - alike(a, b) for n, a, b in zip(firsts, [(), *stems], stems, strict=False)]
    scored = [
        1 + sum(n - 1 for n in trees[i].scored) for i in members
    ]  # texts share the place before their first token
    return [
        Job(
            cost=firsts[batch[0]] + sum(sizes[k] for k in batch[1:]) + (0 if number else len(prefix)),
            members=[members[k] for k in batch],
            calls=_calls([trees[members[k]] for k in batch], share, len(prefix)),
            prefix=prefix,
        )
        for number, batch in enumerate(batches(sizes, batch_tokens, scored, places, firsts))
    ]


def _calls(trees: Sequence[Tree], share: bool, prefix: int) -> int:
    """How often the model is called for a batch."""
    return 1 if share and not too_wide(trees, prefix) else len(alone_texts(trees))


def too_wide(trees: Sequence[Tree], prefix: int = 0) -> bool:
    """Whether one tree by itself would take a mask of more than MASK_BYTES; then each of its texts runs alone."""
    fresh = trees[0].tokens - prefix
    return len(trees) == 1 and 4 * fresh * (fresh + prefix) > MASK_BYTES


def common_beginning(rows: Sequence[Sequence[int]]) -> Sequence[int]:
    """The longest run of tokens that all rows begin with: that of the first and the last one in order."""
    first, last = min(map(tuple, rows)), max(map(tuple, rows))
    return first[: alike(first, last)]


def together(model: Any, trees: Sequence[Tree], prefix: Prefix | None = None) -> list[Texts]:
    """All trees in one row: what any texts begin with alike runs once; the head meets the scored places only."""
    start = prefix.length if prefix else 0
    branches = [(tree, branch, n) for tree in trees for branch, n in zip(tree.branches, tree.scored, strict=True)]
    # the last token is predicted, never fed
    row = Row([[*tree.shared[start:], *branch[:-1]] for tree, branch, _ in branches])
    places = [path[-n:] for path, (_, _, n) in zip(row.paths, branches, strict=True)]
    found = iter(row.logits(model, places, prefix))
    return [
        [(next(found), branch[-n:]) for branch, n in zip(tree.branches, tree.scored, strict=True)] for tree in trees
    ]


def alone_texts(trees: Sequence[Tree]) -> list[tuple[int, ...]]:
    """What is run where each text is a row of its own: one that another one begins with is read off that one."""
    texts = sorted({(*tree.shared, *branch[:-1]) for tree in trees for branch in tree.branches})
    return [text for text, after in zip(texts, [*texts[1:], ()], strict=True) if after[: len(text)] != text]


def one_by_one(model: Any, trees: Sequence[Tree], prefix: Prefix | None = None) -> list[Texts]:
    """The same with each text as a row of its own, for a model that reads a row of several otherwise."""
    import torch

    asked = sorted(
        ((*tree.shared, *branch[:-1]), n, number)
        for number, (tree, branch, n) in enumerate(
            (tree, branch, n) for tree in trees for branch, n in zip(tree.branches, tree.scored, strict=True)
        )
    )
    found: dict[int, torch.Tensor] = {}
    for text in alone_texts(trees):
        own = [(range(len(one) - n, len(one)), number) for one, n, number in asked if one == text[: len(one)]]
        own = [(places, number) for places, number in own if number not in found]
        keep = sorted({place for places, _ in own for place in places})
        logits = kept_logits(model, keep, input_ids=torch.tensor([list(text)], device=model.device))[0]
        found |= {number: logits[[keep.index(place) for place in places]] for places, number in own}
    numbers = count()
    return [
        [(found[next(numbers)], branch[-n:]) for branch, n in zip(tree.branches, tree.scored, strict=True)]
        for tree in trees
    ]

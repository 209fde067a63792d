"""Truncation: how long rows are, and what of them `max_length` cuts or drops."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from data_mix.render import Dropped
from launch.findings import Finding, does_not_apply, ok, warn
from launch.preflight.subject import Subject

LOOKED_AT = 2_000
"""First rows of a source whose lengths are taken; 2,000 place a quantile within 1 to 2 % of the rows."""
MUCH = 0.05
"""Share of rows cut, or dropped, from which it is worth a word."""


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """Rows of a source in tokens, before anything is cut."""

    tokens: Sequence[int]
    limit: int | None
    dropped: int
    """Rows too long that are left out whole, since no answer fits."""

    def quantile(self, share: float) -> int:
        """The length that this share of the rows does not exceed."""
        return sorted(self.tokens)[min(len(self.tokens) - 1, int(share * len(self.tokens)))]

    @property
    def cut(self) -> int:
        """Rows longer than the limit, dropped ones among them."""
        return 0 if self.limit is None else sum(n > self.limit for n in self.tokens)

    @property
    def lost(self) -> float:
        """Share of all tokens beyond the limit."""
        if self.limit is None:
            return 0.0
        return sum(max(0, n - self.limit) for n in self.tokens) / sum(self.tokens)


def check(subject: Subject) -> list[Finding]:
    """One line a source."""
    from trainers.data import rendering

    how = rendering(subject.recipe)
    found = []
    for name, rows in subject.first_rows(LOOKED_AT):
        seen = lengths(subject, rows, how)
        found.append(finding(name, seen) if seen.tokens else does_not_apply(f"{name}: no row has a length"))
    return found


def lengths(subject: Subject, rows: Sequence[Mapping[str, Any]], how: Any) -> Lengths:
    """Lengths of the rows that can be trained on at all."""
    form, uncut = subject.form, replace(how, max_length=None)
    tokens, dropped = [], 0
    for raw in rows:
        for one in subject.encode(raw, uncut):
            if isinstance(one, Dropped):
                continue
            texts = form.labelled(one.columns(uncut))
            longest = max((len(ids) for ids, _ in texts), default=one.tokens)
            tokens.append(longest)
            if how.max_length is not None and longest > how.max_length:
                dropped += any(isinstance(cut, Dropped) for cut in subject.encode(raw, how))
    return Lengths(tokens=tokens, limit=how.max_length, dropped=dropped)


def finding(name: str, seen: Lengths) -> Finding:
    """Quantiles, and what is lost."""
    middle, long = seen.quantile(0.5), seen.quantile(0.95)
    text = f"{name}: {len(seen.tokens):,} rows, {middle} tokens in the middle, 95 % up to {long}, longest {max(seen.tokens)}"  # noqa: E501
    if seen.limit is None:
        return ok(f"{text}; none is cut off (train.max_length is no limit here)")
    text += f"; max_length {seen.limit} cuts {seen.cut:,}"
    if not seen.cut:
        return ok(text)
    text += f" ({seen.cut / len(seen.tokens):.1%} of the rows, {seen.lost:.1%} of the tokens), {seen.dropped:,} dropped whole"  # noqa: E501
    if seen.cut <= MUCH * len(seen.tokens):
        return ok(text)
    return warn(text, f"train.max_length={-(-seen.quantile(0.99) // 64) * 64} holds 99 % of them")

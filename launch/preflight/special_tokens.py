"""Special tokens: an end, a padding that masks do not mistake for it, a beginning that stands there once."""

from typing import Any

from launch.findings import Finding, bad, ok, warn
from launch.preflight.subject import Subject


def check(subject: Subject) -> list[Finding]:
    """What the tokenizer has, and how the first rows begin."""
    tokenizer = subject.tokenizer
    if tokenizer.eos_token_id is None:
        return [bad("the tokenizer has no end token, so no answer would learn to end", "name one: model.eos_token")]
    found = []
    if double := doubled(subject):
        found.append(
            bad(f"{double} rows begin with {tokenizer.bos_token!r} twice", "leave it out of model.chat_template, or set add_bos_token: false in the tokenizer's files")  # noqa: E501
        )  # fmt: skip
    if known := already_there(subject):
        found.append(
            warn(f"model.add_tokens: {', '.join(known)} is a token of the model already", "leave it out: no row is new")
        )
    return found or [ok(described(tokenizer))]


def described(tokenizer: Any) -> str:
    """The three tokens in words."""
    same = tokenizer.pad_token_id == tokenizer.eos_token_id
    pad = "the same (harmless: masks come from lengths)" if same else repr(tokenizer.pad_token)
    begin = repr(tokenizer.bos_token) if tokenizer.bos_token else "none"
    return f"end {tokenizer.eos_token!r}, padding {pad}, beginning {begin}, never doubled"


def doubled(subject: Subject) -> int:
    """First rows whose texts begin with the beginning token twice."""
    begin = subject.tokenizer.bos_token_id
    if begin is None:
        return 0
    texts = [text for row in encoded(subject) for text, _ in subject.form.labelled(row)]
    return sum(list(text[:2]) == [begin, begin] for text in texts)


def encoded(subject: Subject) -> list[dict[str, Any]]:
    """Columns of the first rows that are not dropped."""
    from data_mix.render import Dropped
    from trainers.data import rendering

    how = rendering(subject.recipe)
    made = (one for rows in subject.sample.values() for raw in rows for one in subject.encode(raw, how))
    return [one.columns(how) for one in made if not isinstance(one, Dropped)]


def already_there(subject: Subject) -> list[str]:
    """Tokens to add that the model's own tokenizer has."""
    from dataclasses import replace

    from trainers.models import load_tokenizer

    asked = subject.recipe.model.add_tokens
    if not asked:
        return []
    own = load_tokenizer(replace(subject.recipe.model, add_tokens=(), eos_token=None, pad_token=None)).get_vocab()
    return [token for token in asked if token in own]

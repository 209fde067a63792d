"""Preference pairs in the shapes they come in, brought to TRL's columns: prompt, chosen, rejected.

Recognised: TRL's (prompt, chosen, rejected; as text or messages; with or without the prompt inside the answers, or the
prompt only there), ShareGPT's (conversations, chosen, rejected as one message each), and HH transcripts (two texts of
"Human:" and "Assistant:" turns).
"""

import re
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from data_mix import DataError
from data_mix.config import SourceSpec
from data_mix.messages import checked, said_by, with_system
from data_mix.silence import silence

Messages = list[dict[str, Any]]
HH = re.compile(r"\n\n(Human|Assistant):")


def pair(row: Mapping[str, Any], spec: SourceSpec, where: str) -> dict[str, Any]:
    """One pair in TRL's columns; further columns are left out.

    Raises DataError for equal or empty answers, an empty prompt, and one that the answers do not begin with.
    """
    if row["chosen"] == row["rejected"]:
        raise DataError(f"{where}: chosen and rejected are equal, so there is nothing to prefer; leave the row out")
    prompt = row.get("prompt", row.get("conversations", row.get("messages")))
    if isinstance(prompt, str) and isinstance(row["chosen"], str) and isinstance(row["rejected"], str):
        return _checked({"prompt": prompt, "chosen": row["chosen"], "rejected": row["rejected"]}, where)
    sides = [_side(row[side], spec, side, where) for side in ("chosen", "rejected")]
    if prompt is None:
        same = list(takewhile(lambda two: two[0] == two[1], zip(*sides, strict=False)))
        context = [message for message, _ in same]
        answers = [side[len(context) :] for side in sides]
    else:
        context = _side(prompt, spec, "prompt", where, text_role="user")
        answers = [_after(context, side, f"{where} {name}")
                   for side, name in zip(sides, ("chosen", "rejected"), strict=True)]  # fmt: skip
    if not context:
        raise DataError(
            f"{where}: no prompt that chosen and rejected answer; name it, as columns: {{prompt: question}}"
        )
    for name, answer in zip(("chosen", "rejected"), answers, strict=True):
        if not answer:
            raise DataError(f"{where} {name}: no answer after the prompt; leave the row out or fill it")
        checked([*context, *answer], f"{where} {name}")
    return {"prompt": with_system(context, spec.system), "chosen": answers[0], "rejected": answers[1]}


def _checked(row: dict[str, Any], where: str) -> dict[str, Any]:
    for name in ("prompt", "chosen", "rejected"):
        if how := silence(row[name]):
            raise DataError(f"{where} {name}: {how}; leave the row out or fill it")
    return row


def _side(value: Any, spec: SourceSpec, name: str, where: str, text_role: str = "assistant") -> Messages:
    """A text, one message, a conversation or a transcript, as messages."""
    if isinstance(value, str) and HH.match(value):
        return transcript(value)
    return said_by(text_role, [value] if isinstance(value, Mapping) else value, name, spec, where)


def transcript(text: str) -> Messages:
    """The turns of an HH transcript."""
    pieces = HH.split(text)[1:]
    roles = {"Human": "user", "Assistant": "assistant"}
    return [{"role": roles[who], "content": said.strip()} for who, said in zip(pieces[::2], pieces[1::2], strict=True)]


def _after(context: Sequence[Mapping[str, Any]], side: Messages, where: str) -> Messages:
    """The answer alone, whether or not the prompt stands before it."""
    if side[: len(context)] == list(context):
        return side[len(context) :]
    if side and side[0]["role"] == "assistant":
        return side
    raise DataError(f"{where}: the prompt is not a prefix of it; give the answer alone, or the same messages first")

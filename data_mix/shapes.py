"""The shapes rows come in, brought to TRL's columns: `messages`, `prompt` + `completion`, `text`, those of `pairs.py`.

Recognised: OpenAI messages, ShareGPT (`conversations` of from/value), Alpaca (instruction, input, output), prompt +
completion as text or messages; a prompt with `side` (unlearning) or with `verifier` and `answer` (RLVR).
"""

from collections.abc import Mapping
from typing import Any

from data_mix import DataError
from data_mix.config import SourceSpec
from data_mix.messages import (
    checked,
    from_json,
    messages_of,
    optional_text,
    said_by,
    spoken,
    text_due,
    with_system,
)
from data_mix.pairs import pair
from data_mix.silence import blank, silence


def normalise(row: Mapping[str, Any], spec: SourceSpec, where: str) -> dict[str, Any]:
    """One row in TRL's columns, with `tools` and `chat_template_kwargs` where there are any.

    Raises DataError naming row, message and remedy: unknown shape or role, no completion, a turn that says nothing, a
    number where text is due.
    """
    row = _renamed(row, spec, where)
    extra = _of_the_template(row, spec, where)
    if "chosen" in row and "rejected" in row:
        return {**pair(row, spec, where), **extra}
    if "prompt" in row and (spec.verifier or row.get("verifier")):
        return {**_verified(row, spec, where), **extra}
    side = row.get("side")
    if (side := spec.side if side in (None, "") else text_due(side, "side", where)) is not None:
        return {**_sided(row, side, spec, where), **extra}
    if "messages" in row or "conversations" in row:
        messages = messages_of(row["messages"] if "messages" in row else row["conversations"], spec, where)
        system = optional_text(row.get("system"), "system", where) or spec.system
        return {"messages": with_system(checked(messages, where), system), **extra}
    if "prompt" in row and "completion" in row:
        return {**_pair(row["prompt"], row["completion"], spec, where), **extra}
    if "instruction" in row and "output" in row:
        words = [optional_text(row.get(name), name, where) for name in ("instruction", "input")]
        asked = [{"role": "user", "content": "\n\n".join(filter(None, words))}]
        return {**_pair(asked, row["output"], spec, where, "output"), **extra}
    if "text" in row:
        if blank(optional_text(row["text"], "text", where)):
            raise DataError(f"{where}: text is empty")
        return {"text": row["text"]}
    raise DataError(
        f"{where}: columns {sorted(row)} are no shape that is known (messages; conversations; prompt + completion; "
        "instruction + output; text); "
        "name yours in the recipe, as columns: {prompt: question, completion: answer}"
    )


def _of_the_template(row: Mapping[str, Any], spec: SourceSpec, where: str) -> dict[str, Any]:
    """What a row tells its chat template: `tools`, a list, and `chat_template_kwargs`, a map; each may be JSON text."""
    extra, column = {}, spec.tools or "tools"
    for name, value, kind, due in (
        ("chat_template_kwargs", row.get("chat_template_kwargs"), Mapping, "map of names the template reads"),
        ("tools", row.get(column), list, "list of tool descriptions"),
    ):
        value = from_json(value, f"{where} {name}") if isinstance(value, str) and value.strip() else value
        if value is None or value in ("", [], {}) or (isinstance(value, str) and not value.strip()):
            continue
        if not isinstance(value, kind) or (kind is list and not all(isinstance(one, Mapping) for one in value)):
            raise DataError(f"{where}: {name} {repr(value)[:80]} is no {due}; write one, or leave it out")
        if kind is Mapping and (own := [key for key in value if key in OURS]):
            raise DataError(f"{where}: {name} sets {own[0]!r}, which is set for every row; leave it out")
        extra[name] = value
    return extra


OURS = ("add_generation_prompt", "chat_template", "continue_final_message", "conversation", "conversations",
        "documents", "messages", "return_assistant_tokens_mask", "return_dict", "return_tensors", "tokenize",
        "tools")  # fmt: skip
"""Arguments of transformers' rendering that no row may set."""
SHAPES = {
    "prompt+chosen+rejected": "chosen",
    "prompt+verifier+answer": "verifier",
    "prompt+completion+side": "side",
    "messages": "messages",
    "text": "text",
    "prompt+completion": "completion",
}
"""Shape -> the column that tells it from the shapes after it."""


def shape_of(row: Mapping[str, Any]) -> str:
    """The shape of a row in TRL's columns."""
    return next(shape for shape, column in SHAPES.items() if column in row)


def _verified(row: Mapping[str, Any], spec: SourceSpec, where: str) -> dict[str, Any]:
    """A prompt with its verifier and gold answers (`answer`, else the completion); every other column stays."""
    answer = row.get("answer")
    if answer is None and row.get("completion") is not None:
        answer = said_by("assistant", row["completion"], "completion", spec, where)[-1]["content"]
    answer = _gold(answer, where)
    prompt = spoken(said_by("user", row["prompt"], "prompt", spec, where), f"{where} prompt")
    return {
        **{key: value for key, value in row.items() if key not in ("tools", "chat_template_kwargs")},
        "prompt": with_system(prompt, spec.system),
        "verifier": row.get("verifier") or spec.verifier,
        "answer": answer,
    }


def _gold(answer: Any, where: str) -> str | list[str]:
    """A gold answer as text; a list of them, any of which is right, as a list of texts."""
    several = isinstance(answer, list | tuple)
    answers = list(answer) if several else [answer]
    if odd := [one for one in answers if isinstance(one, dict | list | tuple)]:
        raise DataError(f"{where}: answer {odd[0]!r:.60} is no gold answer; write a text or number, or a list of them")
    texts = [str(one) for one in answers if one is not None]
    if not texts or len(texts) < len(answers) or any(map(blank, texts)):
        raise DataError(f"{where}: answer is empty, so nothing can be verified; leave the row out or fill it")
    return texts if several else texts[0]


def _sided(row: Mapping[str, Any], side: str, spec: SourceSpec, where: str) -> dict[str, Any]:
    """Prompt and completion with the side they are on; further columns (value, paraphrases) stay."""
    if "prompt" not in row or "completion" not in row:
        raise DataError(f"{where}: a row to {side} needs prompt and completion; it has {sorted(row)}")
    for name in ("value", "answer_again"):
        optional_text(row.get(name), name, where)
    answers = row.get("wrong_answers")
    if answers is not None and not isinstance(answers, list | tuple):
        raise DataError(f"{where}: wrong_answers {repr(answers)[:80]} is no list; write one of texts, or leave it out")
    for i, wrong in enumerate(answers or (), 1):
        text_due(wrong, f"wrong_answers {i}", where)
    rest = {key: value for key, value in row.items() if key not in ("prompt", "completion", "tools")}
    return {**rest, **_pair(row["prompt"], row["completion"], spec, where), "side": side}


def _renamed(row: Mapping[str, Any], spec: SourceSpec, where: str) -> dict[str, Any]:
    """The row with `columns` applied: our name -> the file's."""
    if absent := [theirs for theirs in spec.columns.values() if theirs not in row]:
        raise DataError(f"{where}: columns names {absent}, the row has {sorted(row)}")
    taken = set(spec.columns.values())
    return {
        **{key: value for key, value in row.items() if key not in taken},
        **{ours: row[theirs] for ours, theirs in spec.columns.items()},
    }


def _pair(prompt: Any, completion: Any, spec: SourceSpec, where: str, name: str = "completion") -> dict[str, Any]:
    """Prompt and completion, both as text or both as messages; `name` is the completion's column."""
    if completion is None or completion in ("", []):
        raise DataError(f"{where}: no {name}; leave the row out or fill it")
    if isinstance(prompt, str) and isinstance(completion, str):
        if how := silence(completion):
            raise DataError(f"{where}: no {name}, it is {how}; leave the row out or fill it")
        return {"prompt": prompt, "completion": completion}
    context = said_by("user", prompt, "prompt", spec, where)
    answer = said_by("assistant", completion, name, spec, where)
    checked([*context, *answer], where)
    return {"prompt": with_system(context, spec.system), "completion": answer}

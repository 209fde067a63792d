"""The shapes rows come in, brought to TRL's columns: `messages`, `prompt` + `completion`, `text`, those of `pairs.py`.

Recognised: OpenAI messages, ShareGPT (`conversations` of from/value), Alpaca (instruction, input, output), prompt +
completion as text or messages; a prompt with `side` (unlearning) or with `verifier` and `answer` (RLVR).
"""

from collections.abc import Mapping
from typing import Any

from data_mix import DataError
from data_mix.config import SourceSpec
from data_mix.messages import checked, from_json, messages_of, with_system
from data_mix.pairs import pair


def normalise(row: Mapping[str, Any], spec: SourceSpec, where: str) -> dict[str, Any]:
    """One row in TRL's columns, with `tools` and `chat_template_kwargs` where there are any.

    Raises DataError naming row, message and remedy: unknown shape or role, no completion, a conversation that begins
    with the assistant.
    """
    row = _renamed(row, spec, where)
    extra = {key: row[key] for key in ("chat_template_kwargs",) if row.get(key)}
    tools = row.get(spec.tools or "tools")
    if tools:
        extra["tools"] = from_json(tools, where) if isinstance(tools, str) else tools
    if "chosen" in row and "rejected" in row:
        return {**pair(row, spec, where), **extra}
    if "prompt" in row and (spec.verifier or row.get("verifier")):
        return {**_verified(row, spec, where), **extra}
    if side := row.get("side") or spec.side:
        return {**_sided(row, side, spec, where), **extra}
    if "messages" in row or "conversations" in row:
        messages = messages_of(row["messages"] if "messages" in row else row["conversations"], spec, where)
        return {"messages": checked(with_system(messages, row.get("system") or spec.system), where), **extra}
    if "prompt" in row and "completion" in row:
        return {**_pair(row["prompt"], row["completion"], spec, where), **extra}
    if "instruction" in row and "output" in row:
        words = [text for text in (row["instruction"], row.get("input")) if text]
        return {
            **_pair(
                [{"role": "user", "content": "\n\n".join(words)}],
                [{"role": "assistant", "content": row["output"]}],
                spec,
                where,
            ),
            **extra,
        }
    if "text" in row:
        if not isinstance(row["text"], str) or not row["text"].strip():
            raise DataError(f"{where}: text is empty")
        return {"text": row["text"]}
    raise DataError(
        f"{where}: columns {sorted(row)} are no shape that is known (messages; conversations; prompt + completion; "
        "instruction + output; text); "
        "name yours in the recipe, as columns: {prompt: question, completion: answer}"
    )


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
    if answer is None and row.get("completion"):
        completion = row["completion"]
        answer = completion if isinstance(completion, str) else messages_of(completion, spec, where)[-1]["content"]
    answer = _gold(answer, where)
    prompt = row["prompt"]
    prompt = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else messages_of(prompt, spec, where)
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
    if not texts or len(texts) < len(answers) or not all(text.strip() for text in texts):
        raise DataError(f"{where}: answer is empty, so nothing can be verified; leave the row out or fill it")
    return texts if several else texts[0]


def _sided(row: Mapping[str, Any], side: str, spec: SourceSpec, where: str) -> dict[str, Any]:
    """Prompt and completion with the side they are on; further columns (value, paraphrases) stay."""
    if "prompt" not in row or "completion" not in row:
        raise DataError(f"{where}: a row to {side} needs prompt and completion; it has {sorted(row)}")
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


def _pair(prompt: Any, completion: Any, spec: SourceSpec, where: str) -> dict[str, Any]:
    if not completion or (isinstance(completion, str) and not completion.strip()):
        raise DataError(f"{where}: no completion; leave the row out or fill it")
    if isinstance(prompt, str) and isinstance(completion, str):
        return {"prompt": prompt, "completion": completion}
    context = (
        [{"role": "user", "content": prompt}]
        if isinstance(prompt, str)
        else messages_of(prompt, spec, f"{where} prompt")
    )
    answer = (
        [{"role": "assistant", "content": completion}]
        if isinstance(completion, str)
        else messages_of(completion, spec, f"{where} completion")
    )
    whole = checked([*with_system(context, spec.system), *answer], where)
    return {"prompt": whole[: -len(answer)], "completion": answer}

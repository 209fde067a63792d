"""The four public ways of asking a multiple-choice question, byte for byte.

- `hendrycks`: the original scorer (Hendrycks et al. 2021, arXiv:2009.03300, their evaluate.py). Two spaces after
"about"; nothing
  is stripped; where a prompt is too long the last shots go first.
- `lm_eval`: lm-evaluation-harness, task `mmlu`. One space after "about", the question stripped; too long: cut from the
left.
- `olmes_mcf`: OLMES multiple choice (Gu et al. 2024, arXiv:2406.08446): `Question: `, and a space before each option's
letter.
- `olmes_cf`: OLMES cloze: the option texts themselves are scored, per character; no letters are shown.

All four put the header before every item, at 0 shots too. Options are scored with a leading space; after a chat
template without it (`messages`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from eval_hooks.config import Variant
from eval_hooks.items import LETTERS, ChoiceItem


@dataclass(frozen=True, kw_only=True)
class Form:
    """One variant: how a prompt is built of header, shots and question."""

    spaces: str
    """What stands between "about" and the subject."""
    question: Callable[[ChoiceItem], str]
    """The item up to and with `Answer:`."""
    cloze: bool = False
    """Options are scored by their text instead of a letter."""
    drops_shots: bool = False
    """A prompt that is too long loses its last shots; otherwise it is cut from the left."""


def _lettered(item: ChoiceItem, question: str, indent: str = "") -> str:
    options = "".join(f"\n{indent}{letter}. {choice}" for letter, choice in zip(LETTERS, item.choices, strict=False))
    return f"{question}{options}\nAnswer:"


FORMS: dict[Variant, Form] = {
    "hendrycks": Form(spaces="  ", question=lambda item: _lettered(item, item.question), drops_shots=True),
    "lm_eval": Form(spaces=" ", question=lambda item: _lettered(item, item.question.strip())),
    "olmes_mcf": Form(spaces=" ", question=lambda item: _lettered(item, f"Question: {item.question}", indent=" ")),
    "olmes_cf": Form(spaces=" ", question=lambda item: f"Question: {item.question}\nAnswer:", cloze=True),
}


def continuations(item: ChoiceItem, variant: Variant) -> list[str]:
    """What is scored after the prompt: a space and the letter, or a space and the option's text."""
    if FORMS[variant].cloze:
        return [f" {choice}" for choice in item.choices]
    return [f" {letter}" for letter in LETTERS[: len(item.choices)]]


def prompt(item: ChoiceItem, shots: Sequence[ChoiceItem], variant: Variant) -> str:
    """Header, solved examples, the question up to `Answer:`; no white space after it."""
    return header(item, variant) + _after_header(item, shots, variant)


def messages(
    item: ChoiceItem, shots: Sequence[ChoiceItem], variant: Variant, multiturn: bool = True
) -> list[dict[str, str]]:
    """The same as a conversation, as lm-evaluation-harness makes it: the header is the system message.

    A solved example is a turn of the user and one of the assistant, which says the option without its leading space; or
    all of them stand before the question, in its turn.
    """
    system = {"role": "system", "content": header(item, variant)}
    if not multiturn:
        return [system, {"role": "user", "content": _after_header(item, shots, variant)}]
    form, solved = FORMS[variant], []
    for shot in shots:
        answer = continuations(shot, variant)[shot.gold].lstrip()
        solved += [{"role": "user", "content": form.question(shot)}, {"role": "assistant", "content": answer}]
    return [system, *solved, {"role": "user", "content": form.question(item)}]


def header(item: ChoiceItem, variant: Variant) -> str:
    """What stands before the first example, two line ends after it."""
    subject = item.subject.replace("_", " ")
    return f"The following are multiple choice questions (with answers) about{FORMS[variant].spaces}{subject}.\n\n"


def _after_header(item: ChoiceItem, shots: Sequence[ChoiceItem], variant: Variant) -> str:
    form = FORMS[variant]
    solved = "".join(f"{form.question(shot)}{continuations(shot, variant)[shot.gold]}\n\n" for shot in shots)
    return solved + form.question(item)

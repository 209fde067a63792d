"""From items to token ids: each option's whole sequence, tokenised as one text, and where its scored tokens begin."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eval_hooks.config import TaskSpec
from eval_hooks.errors import EvalError
from eval_hooks.items import ChoiceItem, ChoiceSet
from eval_hooks.trees import common_beginning
from eval_hooks.variants import FORMS, continuations, messages, prompt

_IDS: dict[int, int] = {}
"""Token ids that were met."""


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """One item, ready to score: sequence i is `shared + branches[i]`, its last `scored[i]` tokens are option i."""

    item: ChoiceItem
    prompt: str
    """As the model reads it, the template's own marks with it."""
    shared: tuple[int, ...]
    """The longest token prefix that all options have in common, at least one token short of the scored ones."""
    branches: tuple[tuple[int, ...], ...]
    scored: tuple[int, ...]
    """Number of tokens whose log-probabilities are summed, per option."""
    cut: int = 0
    """Tokens cut from the left, or shots left out (hendrycks), because the prompt was longer than the model takes."""

    @property
    def group(self) -> str:
        """The subject: its questions come after the same solved examples."""
        return self.item.subject

    @property
    def context_tokens(self) -> int:
        """Length of the prompt without the option."""
        return len(self.shared) + len(self.branches[0]) - self.scored[0]

    @property
    def tokens(self) -> int:
        """Tokens run through the model for this item."""
        return len(self.shared) + sum(len(branch) - 1 for branch in self.branches)


def encode(
    data: ChoiceSet, spec: TaskSpec, tokenizer: Any, max_length: int, template_kwargs: dict[str, Any] | None = None
) -> list[Encoded]:
    """All items of a task entry, in order.

    Raises EvalError where a chat template is asked for and missing, an option has no tokens of its own, or letters
    share a token.
    """
    if spec.chat_template:
        needs_template(spec, tokenizer)
    return [
        _encode_item(item, data.dev.get(item.subject, ()), spec, tokenizer, max_length, template_kwargs or {})
        for item in data.items
    ]


def needs_template(spec: TaskSpec, tokenizer: Any) -> None:
    """Raise EvalError where the entry asks for a chat template that is not there."""
    if not tokenizer.chat_template:
        raise EvalError(
            f"{spec.called}: chat_template: true, but the tokenizer has no chat template; set model.chat_template or "
            "write false"
        )


def _same(ids: Sequence[int]) -> tuple[int, ...]:
    """The ids, one object each number: Python makes another one of 28 bytes each time, and prompts have millions."""
    return tuple(map(_IDS.setdefault, ids, ids))


def _encode_item(
    item: ChoiceItem,
    shots: Sequence[ChoiceItem],
    spec: TaskSpec,
    tokenizer: Any,
    max_length: int,
    template_kwargs: dict[str, Any],
) -> Encoded:
    shots = shots[: spec.n_shots]
    cut = 0
    while True:
        text, context, wholes = _tokenise(item, shots, spec, tokenizer, template_kwargs)
        if max(map(len, wholes)) <= max_length or not (FORMS[spec.variant].drops_shots and shots):
            break
        shots, cut = shots[:-1], cut + 1
    over = max(0, max(map(len, wholes)) - max_length)
    if over:
        context, wholes, cut = context[over:], [whole[over:] for whole in wholes], over
    scored = tuple(len(whole) - len(context) for whole in wholes)
    if min(scored) < 1 or not context:
        raise EvalError(
            f"{spec.called}: {item.item_id}: an option has no tokens of its own after the prompt: {item.choices}"
        )
    if not FORMS[spec.variant].cloze and len({tuple(whole[len(context) :]) for whole in wholes}) < len(wholes):
        raise EvalError(
            f"{spec.called}: {item.item_id}: two option letters have the same tokens; use variant olmes_cf "
            "with this tokenizer"
        )
    shared = min(len(common_beginning(wholes)), len(context))
    return Encoded(
        item=item,
        prompt=text,
        shared=_same(wholes[0][:shared]),
        branches=tuple(_same(whole[shared:]) for whole in wholes),
        scored=scored,
        cut=cut,
    )


def _tokenise(
    item: ChoiceItem, shots: Sequence[ChoiceItem], spec: TaskSpec, tokenizer: Any, template_kwargs: dict[str, Any]
) -> tuple[str, list[int], list[list[int]]]:
    """The prompt, its ids, and those of prompt + option for each option (the pair encoding of lm-evaluation-harness).

    With a chat template the prompt is the rendered conversation with the generation prompt, options lose their leading
    space, and the template's own special tokens are the only ones.
    """
    answers = continuations(item, spec.variant)
    if spec.chat_template:
        said = messages(item, shots, spec.variant, spec.fewshot_as_multiturn)
        text = tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True, **template_kwargs)
        answers = [answer.lstrip() for answer in answers]
    else:
        text = prompt(item, shots, spec.variant)
    encoded = tokenised([text, *(text + answer for answer in answers)], tokenizer, plain=not spec.chat_template)
    ids = [row.ids for row in encoded]
    return text, ids[0], ids[1:]


@dataclass(frozen=True, kw_only=True)
class Tokenised:
    """A text's token ids, and the characters that each stands for."""

    ids: list[int]
    offsets: list[tuple[int, int]]


def tokenised(texts: Sequence[str], tokenizer: Any, plain: bool) -> list[Tokenised]:
    """Texts as a model reads them before it goes on: without the end that some tokenizers put behind every text.

    `plain`: with what the tokenizer puts before a text; a template's text has it already.
    """
    made = tokenizer(
        list(texts), add_special_tokens=plain, return_offsets_mapping=True, return_special_tokens_mask=True
    )
    found = []
    for ids, offsets, added in zip(made["input_ids"], made["offset_mapping"], made["special_tokens_mask"], strict=True):
        n = len(ids)
        while n > 1 and added[n - 1]:  # 1: added by the tokenizer, not written in the text
            n -= 1
        found.append(Tokenised(ids=list(ids[:n]), offsets=list(offsets[:n])))
    return found

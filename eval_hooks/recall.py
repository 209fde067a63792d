"""What a model recalls of given answers, teacher-forced: which tokens it would have written, and how likely they are.

A prompt runs once; the answer, the answer in other words and the wrong answers ride on it (`trees.each_tree`).
Sources: exact memorisation, probability and truth ratio (Maini et al. 2024, arXiv:2401.06121; Tirumala et al. 2022,
arXiv:2205.10770). The end token is left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eval_hooks.encode import tokenised
from eval_hooks.errors import EvalError
from eval_hooks.forward import Progress, no_progress
from eval_hooks.items import RecallItem
from eval_hooks.trees import Texts, common_beginning, each_tree

if TYPE_CHECKING:
    import torch

MOST_NATS = 300.0
"""e^300 is some 1e130, whose square, in a variance over items, is still a float64."""


@dataclass(frozen=True, kw_only=True)
class EncodedRecall:
    """One item, ready to score: text i is `shared + branches[i]`: the answer, its other wording, the wrong ones."""

    item: RecallItem
    prompt: str
    shared: tuple[int, ...]
    branches: tuple[tuple[int, ...], ...]
    scored: tuple[int, ...]
    """Tokens of each branch that are its answer, the last ones."""
    value: tuple[bool, ...]
    """Of the answer's scored tokens: which belong to the value."""
    group: str = ""

    @property
    def tokens(self) -> int:
        """Tokens run through the model for this item."""
        return len(self.shared) + sum(len(branch) - 1 for branch in self.branches)


@dataclass(frozen=True, kw_only=True)
class Recalled:
    """What a model says of one text, token by token of the answer."""

    logp: tuple[float, ...]
    right: tuple[bool, ...]
    """Whether the token is the most likely one."""


def encode_recall(item: RecallItem, prompt: str, tokenizer: Any) -> EncodedRecall:
    """Token ids of the prompt with each text. Raises EvalError where the value does not stand in the answer."""
    begin = item.answer.find(item.value)
    if not item.value or begin < 0:
        raise EvalError(f"{item.item_id}: the value {item.value!r} does not stand in the answer {item.answer!r}")
    texts = [item.answer, *([item.again] if item.again else []), *item.wrong]
    plain = isinstance(item.prompt, str)
    encoded = tokenised([prompt + text for text in texts], tokenizer, plain)
    ids = [one.ids for one in encoded]
    scored = [sum(end > len(prompt) for _, end in one.offsets) for one in encoded]
    shared = min(len(common_beginning(ids)), *(len(row) - n for row, n in zip(ids, scored, strict=True)))
    first, last = len(prompt) + begin, len(prompt) + begin + len(item.value)
    spans = encoded[0].offsets[len(ids[0]) - scored[0] :]
    return EncodedRecall(
        item=item,
        prompt=prompt,
        shared=tuple(ids[0][:shared]),
        branches=tuple(tuple(row[shared:]) for row in ids),
        scored=tuple(scored),
        value=tuple(start < last and first < end for start, end in spans),
    )


def recall(
    model: Any, items: Sequence[EncodedRecall], batch_tokens: int | None = None, progress: Progress = no_progress
) -> list[list[Recalled]]:
    """Per item, per text. The model is left as it was."""
    return each_tree(model, items, _of, batch_tokens, progress)


def _of(texts: Texts) -> list[Recalled]:
    return [_recalled(logits, tokens) for logits, tokens in texts]


def _recalled(logits: "torch.Tensor", tokens: Sequence[int]) -> Recalled:  # (n, V), n tokens
    import torch

    target = torch.tensor(list(tokens), device=logits.device)
    logp = torch.log_softmax(logits.float(), dim=-1).gather(1, target[:, None])[:, 0]
    return Recalled(logp=tuple(logp.tolist()), right=tuple((logits.argmax(-1) == target).tolist()))


def columns_of(item: EncodedRecall, texts: Sequence[Recalled]) -> Mapping[str, Any]:
    """The item's numbers, from what the model says of its texts."""
    answer, rest = texts[0], texts[1:]
    inside = [i for i, is_value in enumerate(item.value) if is_value]
    value_logp = [answer.logp[i] for i in inside]
    right = [answer.right[i] for i in inside]
    again = rest[0] if item.item.again else answer
    wrong = rest[1:] if item.item.again else rest
    return {
        "correct": all(right),
        "em_value": sum(right) / len(right),
        "em_answer": sum(answer.right) / len(answer.right),
        "probability_value": mean_probability(value_logp),
        "probability_answer": mean_probability(answer.logp),
        "truth_ratio": truth_ratio(again.logp, [text.logp for text in wrong]) if wrong else None,
    }


def mean_probability(logp: Sequence[float]) -> float:
    """Geometric mean of the tokens' probabilities: exp(-S / |y|)."""
    import math

    return math.exp(sum(logp) / len(logp))


def truth_ratio(right: Sequence[float], wrong: Sequence[Sequence[float]]) -> float:
    """TR = exp(-mean_j nll(wrong_j)) / exp(-nll(right)), each nll per token.

    0 where only the right answer is likely, 1 where wrong ones are as likely. Of a collapsed model (right nll 900,
    wrong 10) the exponent is cut at MOST_NATS: more is no number a computer has.
    """
    import math

    means = [sum(logp) / len(logp) for logp in wrong]
    return math.exp(min(MOST_NATS, sum(means) / len(means) - sum(right) / len(right)))


def rouge_l_recall(output: str, answer: str) -> float:
    """ROUGE-L recall of an output against the answer, stemmed (Lin 2004; rouge-score)."""
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=True).score(answer, output)["rougeL"].recall

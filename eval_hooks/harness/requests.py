"""lm-eval's requests as what the model reads: tokenised once, as its hf backend does, and answered by our passes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from eval_hooks.errors import EvalError
from eval_hooks.forward import Progress
from eval_hooks.generate import continuations, stop_ids
from eval_hooks.scoring.options import sum_logp
from eval_hooks.trees import Texts, each_tree

if TYPE_CHECKING:
    from eval_hooks.ready import Reader

MAX_NEW_TOKENS = 256
"""Of a task that does not say, as in lm-eval."""


@dataclass(frozen=True, kw_only=True)
class Branched:
    """Continuations of one context (a `trees.Tree`)."""

    group: str
    shared: tuple[int, ...]
    branches: tuple[tuple[int, ...], ...]
    scored: tuple[int, ...]

    @property
    def tokens(self) -> int:
        """Tokens run through the model for it."""
        return len(self.shared) + sum(len(branch) - 1 for branch in self.branches)


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Requests for log-probabilities: what is run, and where each request's texts are."""

    trees: tuple[Branched, ...]
    places: tuple[tuple[tuple[int, int], ...], ...]
    """Per request: (tree, branch) of its text, or of each window of a long one."""
    cut: int
    """Requests whose context was cut from the left, because they are longer than the model takes."""

    def context_tokens(self, request: int) -> int:
        """Length of what a request's first text stands after."""
        tree, branch = self.places[request][0]
        return len(self.trees[tree].shared) + len(self.trees[tree].branches[branch]) - self.trees[tree].scored[branch]


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A request for an answer."""

    ids: tuple[int, ...]
    until: tuple[str, ...]
    max_new_tokens: int
    cut: bool


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a model wrote, up to the text that ends it."""

    text: str
    n_tokens: int
    hit_limit: bool


class Words:
    """How lm-eval's hf backend tokenises for a model."""

    def __init__(self, reader: "Reader") -> None:
        self.tokenizer, self.max_length = reader.tokenizer, reader.max_length
        first = self.tokenizer.bos_token_id
        self.prefix: int = self.tokenizer.eos_token_id if first is None else first
        """The token that stands before a text without context."""
        self._start = self.tokenizer.decode([self.prefix])
        self.ids = cache(self._ids)

    def _ids(self, text: str, special: bool = True) -> tuple[int, ...]:
        """Token ids; a text that begins with the first token's text gets none before it."""
        special = special and not text.startswith(self._start)
        return tuple(self.tokenizer(text, add_special_tokens=special)["input_ids"])

    def pair(self, context: str, continuation: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Ids of a context and of what follows it; spaces at the context's end belong to what follows."""
        if not context:
            after = self.ids(continuation, special=False)
            return ((self.prefix,), after) if after[:1] != (self.prefix,) else (after[:1], after[1:])
        stripped = context.rstrip()
        before = self.ids(stripped)
        return before, self.ids(stripped + context[len(stripped) :] + continuation)[len(before) :]

    def windows(self, text: str) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        """A long text in windows of the model's length; every token is scored once."""
        from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

        found = get_rolling_token_windows(list(self.ids(text)), self.prefix, self.max_length, context_len=1)
        return [(tuple(before), tuple(after)) for before, after in map(make_disjoint_window, found)]


def scored(requests: Sequence[Any], words: Words) -> Scored:
    """Requests of kind loglikelihood or loglikelihood_rolling. Raises EvalError for a text that can't be scored."""
    members: dict[tuple[Any, ...], list[tuple[int, ...]]] = {}
    found: list[list[tuple[tuple[Any, ...], int]]] = []
    cut = 0
    for request in requests:
        pairs = [words.pair(*request.args)] if request.request_type == "loglikelihood" else words.windows(*request.args)
        own = []
        for context, after in pairs:
            room = words.max_length + 1 - len(after)  # the last token is predicted, never fed
            if not context or not after or room < 1:
                raise EvalError(
                    f"{request.task_name}/{request.doc_id}: {request.args[-1][:80]!r} can't be scored: {len(after)} "
                    f"tokens after {len(context)}, the model reads {words.max_length}"
                )
            cut += len(context) > room
            tree = (request.task_name, request.doc_id, context[-room:])
            own.append((tree, len(members.setdefault(tree, []))))
            members[tree].append(after)
        found.append(own)
    number = {tree: i for i, tree in enumerate(members)}
    return Scored(
        trees=tuple(
            Branched(group=task, shared=context, branches=tuple(texts), scored=tuple(map(len, texts)))
            for (task, _, context), texts in members.items()
        ),
        places=tuple(tuple((number[tree], branch) for tree, branch in own) for own in found),
        cut=cut,
    )


def prompts(requests: Sequence[Any], words: Words) -> tuple[Prompt, ...]:
    """Requests of kind generate_until. Raises EvalError where no room is left for the prompt."""
    from lm_eval.models.utils import normalize_gen_kwargs

    made = []
    for request in requests:
        context, how = request.args
        how = normalize_gen_kwargs(how, MAX_NEW_TOKENS)
        room = words.max_length - how["max_gen_toks"]
        if room < 1:
            raise EvalError(
                f"{request.task_name}: answers of {how['max_gen_toks']} tokens leave no room for the prompt; the model "
                f"reads {words.max_length}"
            )
        ids = words.ids(context)
        made.append(
            Prompt(
                ids=ids[-room:],
                until=tuple(text for text in how["until"] if text),
                max_new_tokens=how["max_gen_toks"],
                cut=len(ids) > room,
            )
        )
    return tuple(made)


def log_probabilities(
    model: Any, asked: Scored, batch_tokens: int | None, progress: Progress
) -> list[tuple[float, bool]]:
    """Per request: log-probability of its text, and whether greedy decoding would write it; on every rank."""
    trees = each_tree(model, asked.trees, _of, batch_tokens, progress)
    parts = [[trees[tree][branch] for tree, branch in places] for places in asked.places]
    return [(sum(logp for logp, _ in texts), all(greedy for _, greedy in texts)) for texts in parts]


def _of(texts: Texts) -> list[tuple[float, bool]]:
    return [(float(sum_logp(logits, tokens)), logits.argmax(-1).tolist() == list(tokens)) for logits, tokens in texts]


def answers(model: Any, tokenizer: Any, asked: Sequence[Prompt], progress: Progress) -> list[Written]:
    """Per request, greedy; on every rank. Requests that end alike are batched together."""
    alike: dict[tuple[Any, ...], list[int]] = {}
    for i, prompt in enumerate(asked):
        alike.setdefault((prompt.until, prompt.max_new_tokens), []).append(i)
    stops = stop_ids(model, tokenizer)
    end = tokenizer.decode([tokenizer.eos_token_id])
    out: dict[int, Written] = {}
    for (until, limit), members in alike.items():
        rows = continuations(model, tokenizer, [asked[i].ids for i in members], limit, until=until, progress=progress)
        for i, ids in zip(members, rows, strict=True):
            text = tokenizer.decode(ids, skip_special_tokens=True)
            kept = text
            for term in (*until, end):
                kept = kept.split(term)[0]
            ended = bool(ids and ids[-1] in stops) or kept != text
            out[i] = Written(text=kept, n_tokens=len(ids), hit_limit=not ended)
    return [out[i] for i in range(len(asked))]

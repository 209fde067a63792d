"""lm-eval's documents rendered for a model, once: the same requests at every checkpoint."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from eval_hooks.bounded import Call
from eval_hooks.config import TaskSpec
from eval_hooks.encode import needs_template
from eval_hooks.errors import EvalError
from eval_hooks.harness.judging import judge_call
from eval_hooks.harness.load import Harness, members
from eval_hooks.harness.requests import Prompt, Scored, Words, prompts, scored
from eval_hooks.harness.surroundings import no_bars, seeds
from eval_hooks.items import counted_from_one, refuse

if TYPE_CHECKING:
    from eval_hooks.ready import Reader

SCORED = ("loglikelihood", "loglikelihood_rolling")
WRITTEN = "generate_until"
FROM_ONE = 'write doc_to_target: "{{answer - 1}}" in its YAML file'
"""Where options are counted from one."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A harness task with its requests tokenised."""

    harness: Harness
    scored: Sequence[Any]
    """Requests (lm_eval.api.instance.Instance) for log-probabilities, of all documents."""
    written: Sequence[Any]
    """Requests for answers."""
    texts: Scored
    prompts: Sequence[Prompt]
    kind: Literal["choice", "generate", "score"]
    """Which table its items fit: options of which one is right; answers; or a score alone."""
    documents: int
    judge: Call
    """What judges the answers to `written`."""

    @property
    def requests(self) -> Sequence[Any]:
        """All of them."""
        return (*self.scored, *self.written)

    @property
    def cut(self) -> int:
        """Requests whose prompt was longer than the model takes, and was cut from the left as lm-eval does."""
        return self.texts.cut + sum(prompt.cut for prompt in self.prompts)


def ask(harness: Harness, spec: TaskSpec, reader: "Reader") -> Asked:
    """Render and tokenise. Raises EvalError for what can't be rendered, or is asked in a way that is not known here."""
    if spec.chat_template:
        needs_template(spec, reader.tokenizer)
    with seeds(), no_bars():
        for task, count in zip(harness.tasks, harness.counts, strict=True):
            _build(task, count, spec, reader)
    requests = [request for task in harness.tasks for request in task.instances]
    unknown = {request.request_type for request in requests} - {*SCORED, WRITTEN}
    if unknown:
        raise EvalError(f"task {spec.task}: asks for {', '.join(sorted(unknown))}, which is not known here")
    refuse([text for task in harness.tasks if (text := _doubted(task, spec))])
    kinds = {_kind(task, harness.metric) for task in harness.tasks}
    if len(kinds) > 1:
        raise EvalError(
            f"task {spec.task}: not all are of one kind ({', '.join(sorted(kinds))}){members(harness.tasks)}"
        )
    words = Words(reader)
    by_score = [request for request in requests if request.request_type in SCORED]
    by_answer = [request for request in requests if request.request_type == WRITTEN]
    return Asked(
        harness=harness,
        scored=by_score,
        written=by_answer,
        texts=scored(by_score, words),
        prompts=prompts(by_answer, words),
        kind=kinds.pop(),
        documents=sum(harness.counts),
        judge=judge_call(spec),
    )


def _build(task: Any, count: int, spec: TaskSpec, reader: "Reader") -> None:
    from lm_eval.defaults import DEFAULT_OTHER_SEED

    task.set_fewshot_seed(DEFAULT_OTHER_SEED)
    try:
        task.build_all_requests(
            limit=count,
            apply_chat_template=spec.chat_template,
            fewshot_as_multiturn=spec.chat_template and spec.fewshot_as_multiturn,
            chat_template=partial(conversation, reader) if spec.chat_template else None,
        )
    except Exception as error:  # a task is code of its own; too few examples for the shots is an assertion of lm-eval
        raise EvalError(
            f"task {spec.task}: {task.task_name} cannot be rendered ({type(error).__name__}: {error})"
        ) from error


def conversation(reader: "Reader", messages: Sequence[dict[str, str]], add_generation_prompt: bool = True) -> str:
    """Messages in the model's template; without a generation prompt the last one is the answer's beginning."""
    return reader.tokenizer.apply_chat_template(
        list(messages),
        tokenize=False,
        add_generation_prompt=add_generation_prompt,
        continue_final_message=not add_generation_prompt,
        **reader.template_kwargs,
    )


def _kind(task: Any, metric: str) -> Literal["choice", "generate", "score"]:
    """Options, where lm-eval itself compares them by sum or by character and one is right; answers; else a score."""
    if task.OUTPUT_TYPE == WRITTEN:
        return "generate"
    own = callable(task.get_config("process_results"))
    if task.OUTPUT_TYPE != "multiple_choice" or own or metric not in ("acc", "acc_norm"):
        return "score"
    documents = {request.doc_id: request.doc for request in task.instances}.values()
    return "score" if any(gold(task, document) is None for document in documents) else "choice"


def _doubted(task: Any, spec: TaskSpec) -> str:
    """Why the right options that a person's own YAML file names may not count from 0; "" where they do."""
    if spec.gold_base == 1:
        return f"task {spec.task}: gold_base 1: lm-eval reads the number itself; {FROM_ONE}"
    if spec.include_path is None or spec.gold_base == 0 or task.OUTPUT_TYPE != "multiple_choice":
        return ""
    named = [(f"task {spec.task} ({spec.include_path}), document {i}", _named(task, document))
             for i, document in enumerate(task.eval_docs)]  # fmt: skip
    doubt = counted_from_one([(where, number) for where, number in named if isinstance(number, int)])
    return doubt.replace("write gold_base: 1", FROM_ONE)


def _named(task: Any, document: Any) -> Any:
    """The right option as a document names it: by its words among the options, or by number."""
    named = task.doc_to_text(document) if task.multiple_input else task.doc_to_target(document)
    return None if named in task.doc_to_choice(document) else named


def gold(task: Any, document: Any) -> int | None:
    """Index of the right option of a multiple-choice document; None where it is none, or several."""
    choices = task.doc_to_choice(document)
    named = task.doc_to_text(document) if task.multiple_input else task.doc_to_target(document)
    index = choices.index(named) if named in choices else named
    return index if isinstance(index, int) and 0 <= index < len(choices) else None

"""The trainers of RLVR: trl.GRPOTrainer and trl.RLOOTrainer, with verifiers as rewards."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import GRPOTrainer, RLOOTrainer

from data_mix.forms import prompt_ids
from trainers.moments import Bound
from trainers.rlvr.judge import weights
from trainers.rlvr.rewards import Court
from trainers.rlvr.selftest import largest_difference
from trainers.sft.trainer import show_bias
from trainers.stepping import Stepping


def rewards(rows: Any, court: Court, tokenizer: Any) -> list[Callable[..., list[float | None]]]:
    """One reward function a verifier that the data names, so that each is logged; None where a row does not name it."""
    names = list(dict.fromkeys(name for row in rows for name in weights(json.loads(row["row"]))))
    return [_reward(name, court, tokenizer, last=name == names[-1]) for name in names]


def _reward(name: str, court: Court, tokenizer: Any, last: bool) -> Callable[..., list[float | None]]:
    """TRL calls them one after the other on the same answers; the last one has all verdicts to log from.

    An answer is read from its tokens, as evaluations read it: of a tokenizer that can parse replies TRL hands over a
    message without its thinking and tool calls, and one that is nothing but a call has no content.
    """

    def reward(completion_ids: Sequence[Sequence[int]], row: Sequence[str], **kwargs: Any) -> list[float | None]:
        given = [json.loads(text) for text in row]
        found = court.rewards(name, given, tokenizer.batch_decode(completion_ids, skip_special_tokens=True))
        for key, value in court.figures(given).items() if last else ():
            kwargs["log_metric"](f"verifiers/{key}", value)
        return found

    reward.__name__ = name
    return reward


class SelfTest(TrainerCallback):
    """Before the first step: the sampler and the trainer must give the same log-probabilities to the same tokens."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Log the largest and the mean difference at step 0."""
        if state.global_step == 0:
            self.trainer.log(largest_difference(self.trainer))


class Rewarded(Stepping):
    """What both trainers share: verifiers in, weights already in the rewards, the self-test before the first step."""

    def __init__(
        self, *, bound: Bound, rows: Any, tokenizer: Any, args: Any, reference_model: Any = None, model_hash: str = "",
        **kwargs: Any,
    ) -> None:  # fmt: skip
        self.bound = bound
        court = Court(file=Path(args.output_dir).parent / "verifiers.broken.jsonl")
        with _no_reference(args, reference_model):
            super().__init__(
                args=args,
                train_dataset=rows,
                processing_class=tokenizer,
                reward_funcs=rewards(rows, court, tokenizer),
                **kwargs,
            )
        show_bias(self.model.get_output_embeddings())
        self.add_callback(SelfTest(self))
        if reference_model is not None:
            self._make_ready(reference_model)
        self.attach(reference_model)
        if reference_model is not None:
            self._compare_with_start()

    def _make_ready(self, copy: Any) -> None:
        """Do to the frozen copy what TRL does to its own reference, before it is placed."""
        from trl.trainer.utils import add_fused_lm_head, disable_dropout_in_model

        if self.args.disable_dropout:
            disable_dropout_in_model(copy)
        cast = {"cast_lm_head_to_fp32": True} if getattr(self.args, "cast_lm_head_to_fp32", False) else {}
        add_fused_lm_head(copy, temperature=self.temperature, **cast)
        copy.has_fused_head = True

    def _compare_with_start(self) -> None:
        """Take the start for TRL's reference."""
        from trl.trainer.callbacks import SyncRefModelCallback

        self.beta, self.ref_model = self.args.beta, self.start.called()
        if self.args.sync_ref_model:
            self.add_callback(SyncRefModelCallback(ref_model=self.ref_model, accelerator=self.accelerator))

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> Any:
        self._asked = [json.loads(one["row"]) for one in inputs]
        return super()._generate_and_score_completions(inputs)

    def _tokenize_prompts(self, prompts: list[Any]) -> tuple[list[list[int]], None, dict[str, Any]]:
        """The prompts' tokens with each row's own tools and template settings, where TRL has one setting for all.

        `prompts` are those of the rows that are being answered, in their order; no images, no further fields.
        """
        return [prompt_ids(row, self.processing_class) for row in self._asked], None, {}


@contextmanager
def _no_reference(args: Any, copy: Any) -> Iterator[None]:
    """While TRL sets itself up it needs no reference, where it is given one: it would load one by the model's name."""
    beta, sync = args.beta, args.sync_ref_model
    if copy is not None:
        args.beta, args.sync_ref_model = 0.0, False
    try:
        yield
    finally:
        args.beta, args.sync_ref_model = beta, sync


class Trainer(Rewarded, GRPOTrainer):
    """trl.GRPOTrainer on rows with verifiers."""


class LeaveOneOut(Rewarded, RLOOTrainer):
    """trl.RLOOTrainer on rows with verifiers."""

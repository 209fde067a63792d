"""The trainers of RLVR: trl.GRPOTrainer and trl.RLOOTrainer, with verifiers as rewards."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import GRPOTrainer, RLOOTrainer

from trainers.moments import Bound
from trainers.rlvr.judge import weights
from trainers.rlvr.rewards import Court
from trainers.rlvr.selftest import largest_difference
from trainers.sft.trainer import show_bias
from trainers.stepping import Stepping


def rewards(rows: Any, court: Court) -> list[Callable[..., list[float | None]]]:
    """One reward function a verifier that the data names, so that each is logged; None where a row does not name it."""
    names = list(dict.fromkeys(name for row in rows for name in weights(json.loads(row["row"]))))
    return [_reward(name, court, last=name == names[-1]) for name in names]


def _reward(name: str, court: Court, last: bool) -> Callable[..., list[float | None]]:
    """TRL calls them one after the other on the same answers; the last one has all verdicts to log from."""

    def reward(completions: Sequence[Any], row: Sequence[str], **kwargs: Any) -> list[float | None]:
        given = [json.loads(text) for text in row]
        found = court.rewards(name, given, list(map(text_of, completions)))
        for key, value in court.figures(given).items() if last else ():
            kwargs["log_metric"](f"verifiers/{key}", value)
        return found

    reward.__name__ = name
    return reward


def text_of(completion: str | Sequence[Mapping[str, Any]]) -> str:
    """What the model wrote, of a text or of a conversation's last message."""
    return completion if isinstance(completion, str) else completion[-1]["content"]


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
        super().__init__(
            args=args, train_dataset=rows, processing_class=tokenizer, reward_funcs=rewards(rows, court), **kwargs
        )
        show_bias(self.model.get_output_embeddings())
        self.add_callback(SelfTest(self))
        self.attach(reference_model)


class Trainer(Rewarded, GRPOTrainer):
    """trl.GRPOTrainer on rows with verifiers."""


class LeaveOneOut(Rewarded, RLOOTrainer):
    """trl.RLOOTrainer on rows with verifiers."""

"""The trainer of unlearning: transformers.Trainer, with pairs of rows and the loss handed to the method."""

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import Trainer as TransformersTrainer
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from trainers.adapters import with_adapter
from trainers.logprobs import ready
from trainers.moments import Bound
from trainers.reference import cached_logps
from trainers.stepping import Stepping
from trainers.unlearn.pairing import ForgetBatch, Pairs, PairsCollator, batch_of


class Trainer(Stepping, TransformersTrainer):
    """transformers.Trainer; `method.step` computes the loss of a ForgetBatch."""

    def __init__(
        self,
        *,
        bound: Bound,
        rows: Any,
        tokenizer: Any,
        model: Any,
        args: Any,
        peft_config: Any = None,
        reference_model: Any = None,
        model_hash: str = "",
    ) -> None:
        ready(model)
        model = with_adapter(model, peft_config, args)
        args.remove_unused_columns = False
        collator = PairsCollator(tokenizer.pad_token_id)
        super().__init__(
            model=model, args=args, data_collator=collator, train_dataset=Pairs(rows, args.seed),
            processing_class=tokenizer,
        )  # fmt: skip
        self.bound = bound
        self.add_callback(DrawAnew(self.train_dataset))
        if model_hash:
            self.train_dataset.sides = cached_logps(self, self.train_dataset.sides, model_hash)
        self.attach(reference_model, cached=bool(model_hash))

    def collator_with(self, columns: Sequence[str]) -> Any:
        """A pair has columns on either side, so its own collator lays them out."""
        return PairsCollator(self.processing_class.pad_token_id, columns)

    def batch_of(self, inputs: Mapping[str, Any]) -> ForgetBatch:
        """The rows of both sides."""
        return batch_of(inputs)

    def totals_of(self, samples: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Rows to forget, and labelled tokens of each side."""
        batches = [batch_of(columns) for columns in samples]
        return {
            "rows": sum(len(batch.forget.labels) for batch in batches),
            "forget": sum(float(batch.forget.lengths.sum()) for batch in batches),
            "retain": sum(float(batch.retain.lengths.sum()) for batch in batches if batch.retain),
        }


class DrawAnew(TrainerCallback):
    """Each epoch draws other rows to retain; accelerate tells a data set its epoch only where the sampler has none."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The epoch that a run, resumed or not, is in."""
        self.pairs.epoch = int((state.epoch or 0.0) + 1e-6)

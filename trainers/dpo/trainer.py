"""The trainer of preference tuning: trl.DPOTrainer on our rows, the loss handed to the method where it has one."""

from collections.abc import Mapping, Sequence
from typing import Any

from trl import DPOTrainer

from data_mix.keys import key_of
from trainers.dpo.batch import PairBatch
from trainers.logprobs import Tokens
from trainers.moments import Bound
from trainers.reference import arithmetic
from trainers.sft.trainer import show_bias
from trainers.stepping import Stepping, keep_columns


class Trainer(Stepping, DPOTrainer):
    """trl.DPOTrainer; `method.step` computes the loss where there is one."""

    _precompute_model_hash: str | None

    def __init__(
        self, *, bound: Bound, rows: Any, tokenizer: Any, args: Any, reference_model: Any = None, model_hash: str = "",
        **kwargs: Any,
    ) -> None:  # fmt: skip
        self.bound = bound
        keep_columns(bound.method, args)
        own = bound.method.step is not None
        if own:
            args.precompute_ref_log_probs = True  # so that TRL loads no reference of its own
        super().__init__(
            args=args, train_dataset=rows, processing_class=tokenizer, ref_model=None if own else reference_model,
            **kwargs,
        )  # fmt: skip
        show_bias(self.model.get_output_embeddings())
        self.attach(reference_model if own else self.ref_model, placed=not own, cached=bool(model_hash))

    def _prepare_dataset(self, dataset: Any, *args: Any) -> Any:
        """Rows come with prompt_ids, chosen_ids, rejected_ids."""
        return dataset

    def _precompute_ref_logps(self, dataset: Any, *args: Any) -> Any:
        if self.bound.method.step:
            return dataset
        self._precompute_model_hash = key_of(self._precompute_model_hash, arithmetic(self))  # TRL's knows weights alone
        return super()._precompute_ref_logps(dataset, *args)

    def batch_of(self, inputs: Mapping[str, Any]) -> PairBatch:
        """The pairs of a micro-batch."""
        labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100)
        tokens = Tokens(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], labels=labels)
        return PairBatch(tokens=tokens, extra=inputs.get("extra", {}))

    def totals_of(self, samples: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Pairs, and tokens of both answers."""
        return {
            "rows": sum(len(one["input_ids"]) // 2 for one in samples),
            "tokens": sum(float(one["completion_mask"][:, 1:].sum()) for one in samples),
        }

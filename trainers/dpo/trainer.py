"""The trainer of preference tuning: trl.DPOTrainer on our rows, the loss handed to the method where it has one."""

from typing import Any

from trl import DPOTrainer

from data_mix.keys import key_of
from trainers.dpo.batch import PairBatch
from trainers.logprobs import Tokens
from trainers.moments import Bound
from trainers.reference import arithmetic, reference_for
from trainers.sft.trainer import show_bias


class Trainer(DPOTrainer):
    """trl.DPOTrainer; `method.step` computes the loss where there is one."""

    _precompute_model_hash: str | None

    def __init__(
        self, *, bound: Bound, rows: Any, tokenizer: Any, args: Any, reference_model: Any = None, model_hash: str = "",
        **kwargs: Any,
    ) -> None:  # fmt: skip
        self.bound = bound
        if bound.method.step is not None:
            args.precompute_ref_log_probs = True  # so that TRL loads no reference of its own
        super().__init__(
            args=args, train_dataset=rows, processing_class=tokenizer,
            ref_model=None if bound.method.step else reference_model, **kwargs,
        )  # fmt: skip
        show_bias(self.model.get_output_embeddings())
        if bound.method.step is not None:
            bound.reference = reference_for(bound, self, reference_model)

    def _prepare_dataset(self, dataset: Any, *args: Any) -> Any:
        """Rows come with prompt_ids, chosen_ids, rejected_ids."""
        return dataset

    def _precompute_ref_logps(self, dataset: Any, *args: Any) -> Any:
        if self.bound.method.step:
            return dataset
        self._precompute_model_hash = key_of(self._precompute_model_hash, arithmetic(self))  # TRL's knows weights alone
        return super()._precompute_ref_logps(dataset, *args)

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
        """The method's loss: a mean over the pairs of a micro-batch."""
        if self.bound.method.step is None:
            return super()._compute_loss(model, inputs, return_outputs)
        labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100)
        tokens = Tokens(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], labels=labels)
        out = self.bound.step(model, PairBatch(tokens=tokens))
        for name, value in out.metrics.items():
            self._metrics["train"][name].append(self.accelerator.gather(value.detach()).mean().item())
        return out.loss

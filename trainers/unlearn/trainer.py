"""The trainer of unlearning: transformers.Trainer, with pairs of rows and the loss handed to the method."""

from collections import defaultdict
from typing import Any

import torch
from transformers import Trainer as TransformersTrainer

from trainers.logprobs import ready
from trainers.moments import Bound
from trainers.reference import cached_logps, reference_for
from trainers.unlearn.pairing import DrawAnew, Pairs, PairsCollator, batch_of


class Trainer(TransformersTrainer):
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
        if peft_config is not None:
            from peft import get_peft_model

            model = get_peft_model(model, peft_config)
        args.remove_unused_columns = False
        collator = PairsCollator(tokenizer.pad_token_id)
        super().__init__(
            model=model, args=args, data_collator=collator, train_dataset=Pairs(rows, args.seed),
            processing_class=tokenizer,
        )  # fmt: skip
        self.model_accepts_loss_kwargs = True  # the loss is divided by totals of the whole step, not by accumulation
        self.bound = bound
        self.add_callback(DrawAnew(self.train_dataset))
        if args.precompute_ref_log_probs and bound.method.reference:
            self.train_dataset.sides = cached_logps(self, self.train_dataset.sides, model_hash)
        else:
            self.bound.reference = reference_for(bound, self, reference_model)
        self._metrics: dict[str, list[float]] = defaultdict(list)

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> dict[str, torch.Tensor]:
        """Rows, and labelled tokens of each side, over the step's micro-batches and all ranks."""
        batches = [batch_of(columns) for columns in batch_samples]
        counts = [
            sum(len(batch.forget.labels) for batch in batches),
            sum(float(batch.forget.lengths.sum()) for batch in batches),
            sum(float(batch.retain.lengths.sum()) for batch in batches if batch.retain),
        ]
        whole = self.accelerator.gather(torch.tensor([counts], device=device)).sum(0)
        return dict(zip(("rows", "forget", "retain"), whole, strict=True))

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The method's loss, scaled as Trainer expects: gradients are averaged over ranks."""
        out = self.bound.step(model, batch_of(inputs), num_items_in_batch)
        parts = self.current_gradient_accumulation_steps * self.accelerator.num_processes
        for name, value in out.metrics.items():  # shares of the step's, as the loss is
            self._metrics[name].append(parts * self.accelerator.gather(value.detach()).mean().item())
        return out.loss * self.accelerator.num_processes

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Trainer's line with the method's metrics, averaged since the last one."""
        super().log({**logs, **{name: sum(values) / len(values) for name, values in self._metrics.items()}}, start_time)
        self._metrics.clear()

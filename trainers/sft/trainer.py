"""The trainer of instruction tuning: trl.SFTTrainer, with the loss handed to the method where it brings its own."""

from typing import Any

import torch
from trl import SFTTrainer

from trainers.moments import Bound
from trainers.sequence import with_true_gradient


class PartsCollator:
    """TRL's collator, plus the `parts` column laid out like the tokens: padded with 0, or one row if padding-free."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Batch of input_ids, labels, parts, each (B, T)."""
        parts = [row["parts"] for row in rows]
        batch = self.inner([{key: value for key, value in row.items() if key != "parts"} for row in rows])
        width = batch["input_ids"].shape[1]
        if self.inner.padding_free:
            parts = [[part for row in parts for part in row]]
        batch["parts"] = torch.tensor([[*row, *[0] * (width - len(row))] for row in parts])
        return batch


def show_bias(head: Any) -> None:
    """Give PEFT's wrapper of trained token rows the `bias` that TRL's fused head asks for; its `weight` is merged."""
    if not hasattr(head, "bias"):
        head.bias = getattr(getattr(head, "original_module", None), "bias", None)


class Trainer(SFTTrainer):
    """trl.SFTTrainer; `method.step` computes the loss where there is one."""

    def __init__(self, *, bound: Bound, rows: Any, tokenizer: Any, **kwargs: Any) -> None:
        super().__init__(train_dataset=rows, processing_class=tokenizer, **kwargs)
        show_bias(self.model.get_output_embeddings())
        self.bound = bound
        if bound.method.needs_parts:
            self.data_collator: Any = PartsCollator(self.data_collator)

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if self.bound.method.needs_parts and "parts" not in self._signature_columns:
            self._signature_columns.append("parts")

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> torch.Tensor | int | None:
        weigh = self.bound.method.weigh
        if weigh is None:
            return super()._get_num_items_in_batch(batch_samples, device)
        total = sum(weigh(batch, self.bound.config)[:, 1:].sum() for batch in batch_samples)
        return self.accelerator.gather(torch.as_tensor(total).to(device)).sum()

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The method's loss, scaled as Trainer expects: gradients averaged over ranks, tokens counted over all."""
        if self.bound.method.step is None:
            found = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
            n = self.get_sp_size() if self.model.training else 1
            return (with_true_gradient(found[0], n), *found[1:]) if return_outputs else with_true_gradient(found, n)
        totals = {} if num_items_in_batch is None else {"tokens": num_items_in_batch}
        out = self.bound.step(model, inputs, totals)
        for name, value in out.metrics.items():
            self._metrics["train"][name].append(self.accelerator.gather(value).mean().item())
        tokens = (
            inputs["attention_mask"].sum()
            if "attention_mask" in inputs
            else torch.tensor(inputs["input_ids"].numel(), device=out.loss.device)
        )
        self._total_train_tokens += self.accelerator.gather(tokens).sum().item()
        self._metrics["train"]["num_tokens"] = [self._total_train_tokens]
        return out.loss * self.accelerator.num_processes

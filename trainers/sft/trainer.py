"""The trainer of instruction tuning: trl.SFTTrainer, with the loss handed to the method where it brings its own."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from trl import SFTTrainer

from trainers.moments import Bound
from trainers.sequence import with_true_gradient
from trainers.stepping import Stepping, keep_columns


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


class Trainer(Stepping, SFTTrainer):
    """trl.SFTTrainer; `method.step` computes the loss where there is one."""

    def __init__(
        self, *, bound: Bound, rows: Any, tokenizer: Any, args: Any, reference_model: Any = None, model_hash: str = "",
        **kwargs: Any,
    ) -> None:  # fmt: skip
        self.bound = bound
        keep_columns(bound.method, args)
        super().__init__(args=args, train_dataset=rows, processing_class=tokenizer, **kwargs)
        show_bias(self.model.get_output_embeddings())
        if bound.method.needs_parts:
            self.data_collator: Any = PartsCollator(self.data_collator)
        self.attach(reference_model)

    def totals_of(self, samples: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Texts, and labelled tokens that are predicted."""
        texts = [
            int((one["position_ids"] == 0).sum()) if "position_ids" in one else len(one["input_ids"]) for one in samples
        ]
        tokens = [float((one["labels"][:, 1:] != -100).sum()) for one in samples]
        return {"rows": sum(texts), "tokens": sum(tokens)}

    def plain_loss(self, model: Any, inputs: Any, return_outputs: bool, num_items_in_batch: Any) -> Any:
        """TRL's loss, with its true gradient where ranks share rows out."""
        found = super().plain_loss(model, inputs, return_outputs, num_items_in_batch)
        n = self.get_sp_size() if self.model.training else 1
        return (with_true_gradient(found[0], n), *found[1:]) if return_outputs else with_true_gradient(found, n)

    def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """One micro-batch; of a method's step its tokens are counted here, as TRL counts those of its own losses."""
        if self.bound.method.step is not None and "input_ids" in inputs:
            mask = inputs.get("attention_mask")
            seen = mask.sum() if mask is not None else torch.tensor(inputs["input_ids"].numel())
            self._total_train_tokens += self.accelerator.gather(seen.to(self.args.device)).sum().item()
            self._metrics["train"]["num_tokens"] = [self._total_train_tokens]
        return super().training_step(model, inputs, *args, **kwargs)

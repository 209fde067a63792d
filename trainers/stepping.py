"""The one way by which every stage's trainer calls a method: its batch, its totals, its companions, its metrics.

A stage's trainer is `class Trainer(Stepping, <TRL's or transformers' trainer>)` and says what is its own: `batch_of`
and `totals_of`. The pull towards the start and the check of losses stand here too, around every stage's loss.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from trainers.adapters import checkpoint_reentrantly
from trainers.batches import ROWS, WHOLE, ExtraCollator, OwnCollator, RowBatch, moved
from trainers.method import Collation, LossOutput, Method
from trainers.models.companions import Companions, asked
from trainers.moments import Bound
from trainers.reduce import StepMetrics, Totals
from trainers.reference import Reference, start_of

if TYPE_CHECKING:
    from transformers import Trainer as Base

    from trainers.anchor import Pull
    from trainers.badbatch import LossCheck
else:
    Base = object


def keep_columns(method: Method[Any, Any], args: Any) -> None:
    """Let a method's own columns through to its collator; rows hold nothing that nobody reads."""
    if method.columns or method.form or method.collate or method.needs_parts:
        args.remove_unused_columns = False


class Stepping(Base):
    """Mixed in before the library's trainer."""

    bound: Bound
    pull: "Pull | None" = None
    """Added to every loss, where a budget asks for it."""
    check: "LossCheck | None" = None
    """Looks at every loss of training."""
    start: Reference
    """The model that the stage started from; only called where it can be had."""

    def attach(self, copy: Any = None, placed: bool = False, cached: bool = False) -> None:
        """Once the trainer has its model: companions, collators, what is counted.

        `copy` is the frozen start, None where the adapter is switched off instead; `placed`: on its device already;
        `cached`: the log-probabilities of the start come with the rows.
        """
        method = self.bound.method
        checkpoint_reentrantly(self.model, self.args)
        self.start = Reference(lambda: copy) if placed and copy is not None else start_of(self, copy)
        self.bound.models = Companions()
        for name, companion in asked(method, self.bound.config).items():
            if not (cached and companion.logps):
                self.bound.models[name] = self.start
        if method.collate:
            self.data_collator: Any = OwnCollator(method.collate, self.collation)
        elif method.columns:
            self.data_collator = self.collator_with(method.columns)
        if method.step is not None:  # its loss is divided by the step's totals, not by Trainer
            self.model_accepts_loss_kwargs, self.loss_is_scaled_for_ga = True, None
        self.measured = StepMetrics()

    def collation(self) -> Collation:
        """What `Method.collate` is told now."""
        return Collation(
            pad_id=self.processing_class.pad_token_id,
            seed=self.args.seed,
            epoch=int((self.state.epoch or 0.0) + 1e-6),
            max_length=getattr(self.args, "max_length", None),
        )

    def collator_with(self, columns: Sequence[str]) -> Any:
        """The stage's collator, which lays out the method's columns too."""
        return ExtraCollator(self.data_collator, columns)

    def batch_of(self, inputs: Mapping[str, Any]) -> Any:
        """A stage's batch from what its collator gave: (B, T) tensors by name, and `extra`."""
        return RowBatch({key: value for key, value in inputs.items() if key != "extra"}, inputs.get("extra", {}))

    def totals_of(self, samples: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Of some micro-batches of the stage's own, what sums are divided by."""
        raise NotImplementedError

    def plain_loss(self, model: Any, inputs: Any, return_outputs: bool, num_items_in_batch: Any) -> Any:
        """The library's loss, where the method has no step."""
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The loss as Trainer expects it: gradients are averaged over ranks."""
        self.measured.begin()
        once = partial(self._pulled, return_outputs=return_outputs, num_items_in_batch=num_items_in_batch)
        return self.check(self, once, model, inputs) if self.check and model.training else once(model, inputs)

    def _pulled(self, model: Any, inputs: dict[str, Any], return_outputs: bool, num_items_in_batch: Any) -> Any:
        texts = self.pull.texts(inputs) if self.pull else {}
        found = self._own_loss(model, inputs, return_outputs, num_items_in_batch)
        if not texts:
            return found
        assert self.pull is not None
        loss, *rest = found if return_outputs else (found,)
        kl = self.pull.kl(model, texts)
        self.measured.add({"kl_to_start": kl.detach()})
        counted = self.model_accepts_loss_kwargs and num_items_in_batch is not None
        loss = loss + self.pull.weight * kl / (self.current_gradient_accumulation_steps if counted else 1)
        return (loss, *rest) if return_outputs else loss

    def _own_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool, num_items_in_batch: Any) -> Any:
        if self.bound.method.step is None:
            return self.plain_loss(model, inputs, return_outputs, num_items_in_batch)
        totals = Totals(num_items_in_batch if isinstance(num_items_in_batch, Mapping) else {})
        out = self.bound.step(model, self.own_batch(inputs), totals)
        self.measured.add(out.metrics, out.terms, shares=totals.read)
        loss = self._scaled(out, totals)
        return (loss, None) if return_outputs else loss

    def _scaled(self, out: LossOutput, totals: Totals) -> Any:
        """A share of the step's sum is averaged over ranks, though it should be summed; a mean is not divided yet."""
        if totals.read:
            return out.loss * self.accelerator.num_processes
        return out.loss / self.current_gradient_accumulation_steps if totals else out.loss

    def own_batch(self, inputs: Mapping[str, Any]) -> Any:
        """What `step` and `weigh` take."""
        return moved(inputs[WHOLE], self.args.device) if self.bound.method.collate else self.batch_of(inputs)

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: Any) -> Any:
        """Of a method's step: name -> the sum over the step's micro-batches and all ranks."""
        import torch

        method = self.bound.method
        if method.step is None:
            return super()._get_num_items_in_batch(batch_samples, device)
        if method.collate:
            counts = {"rows": float(sum(int(sample[ROWS]) for sample in batch_samples))}
        else:
            counts = dict(self.totals_of(batch_samples))
        if method.weigh:
            weights = [method.weigh(self.own_batch(sample), self.bound.config) for sample in batch_samples]
            counts["tokens"] = sum(float(each[:, 1:].sum()) for each in weights)
        whole = self.accelerator.gather(torch.tensor([list(counts.values())], device=device)).sum(0)
        return dict(zip(counts, whole, strict=True))

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """One micro-batch; its loss is kept for the step's metrics."""
        loss = super().training_step(*args, **kwargs)
        self.measured.losses.append(loss)
        return loss

    def step_metrics(self) -> dict[str, float]:
        """After an optimizer step, on all ranks: its loss and its metrics, reduced; they are logged with the next line.

        Of a loss of TRL's own, the metrics are those that TRL has gathered in this step.
        """
        method = self.bound.method
        if method.step is None and method.after_update is None and self.pull is None:
            self.measured.losses.clear()
            return {}
        return self.measured.reduce(getattr(self, "_metrics", {}).get("train", {}))

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """The library's line with the method's metrics, averaged since the last one."""
        super().log({**logs, **self.measured.since_last()}, *args, **kwargs)

    def _get_grad_norm(self, *args: Any, **kwargs: Any) -> Any:
        norm = super()._get_grad_norm(*args, **kwargs)
        if self.check and not self.args.fp16:  # whose scaler meets infinite gradients, and leaves those steps out
            self.check.norm(self, norm)
        return norm

"""A method at work: its hyperparameters, its state and its companions, and the moments it is called at."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from eval_hooks.files import saved_at
from trainers.method import Context, LossOutput, Method
from trainers.models.companions import Companions

STATE = "method_state.pt"
"""In a checkpoint's folder: what the method keeps; no .safetensors, which some servers load all of."""


@dataclass(kw_only=True)
class Bound:
    """A method with all that its moments need, as a trainer holds it."""

    method: Method[Any, Any]
    config: Any
    models: Companions = field(default_factory=Companions)
    state: dict[str, Any] = field(default_factory=dict)

    def context(self, model: Any, totals: Mapping[str, Any] | None = None) -> Context:
        """What a moment is given."""
        return Context(model=model, models=self.models, totals={} if totals is None else totals, state=self.state)

    def step(self, model: Any, batch: Any, totals: Mapping[str, Any] | None = None) -> LossOutput:
        """The method's loss on a batch."""
        assert self.method.step is not None
        return self.method.step(self.context(model, totals), batch, self.config)


class PlainGradients:
    """Gradients where every rank holds them whole."""

    def __init__(self, model: Any) -> None:
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}

    def names(self) -> list[str]:
        """Trained parameters."""
        return list(self.parameters)

    def get(self, name: str) -> Any:
        """The gradient; zeros where nothing flowed."""
        import torch

        parameter = self.parameters[name]
        return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.detach().float().clone()

    def put(self, name: str, value: Any) -> None:
        """Set it."""
        parameter = self.parameters[name]
        parameter.grad = value.to(parameter.dtype)


class DeepSpeedGradients(PlainGradients):
    """Gradients in ZeRO's partitions, through DeepSpeed's own interface."""

    def get(self, name: str) -> Any:
        """The gradient, gathered."""
        from deepspeed.utils import safe_get_full_grad

        return safe_get_full_grad(self.parameters[name]).detach().float().clone()

    def put(self, name: str, value: Any) -> None:
        """Set it in every partition."""
        from deepspeed.utils import safe_set_full_grad

        safe_set_full_grad(self.parameters[name], value)


class Moments(TrainerCallback):
    """Calls a method's `prepare`, `edit_grads` and `after_update`, and keeps its state in the checkpoints."""

    def __init__(self, bound: Bound, trainer: Any, resumed: str | None = None) -> None:
        self.bound, self.trainer, self.resumed = bound, trainer, resumed

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Load what a resumed run kept, prepare, and stand between backward and optimizer."""
        if self.resumed and (Path(self.resumed) / STATE).is_file():
            import torch

            self.bound.state.update(torch.load(Path(self.resumed) / STATE, weights_only=True))
        if self.bound.method.prepare:
            self.bound.method.prepare(self._context(), self.bound.config)
        if self.bound.method.edit_grads:
            self._stand_between()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """The optimizer has stepped."""
        metrics = self.trainer.step_metrics()
        if self.bound.method.after_update:
            self.bound.method.after_update(self._context(), metrics, self.bound.config)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """The state goes into the checkpoint that was just written."""
        if self.bound.state and state.is_world_process_zero:
            import torch

            folder = saved_at(args.output_dir, state.global_step)
            state_now = {name: value.detach().cpu() for name, value in self.bound.state.items()}
            torch.save(state_now, folder / STATE)

    def _context(self) -> Context:
        return self.bound.context(self.trainer.model_wrapped)

    def _stand_between(self) -> None:
        """Precede the engine's step under DeepSpeed, which steps inside accelerate's backward; else follow backward."""
        engine = getattr(self.trainer, "deepspeed", None)
        edit = self.bound.method.edit_grads
        assert edit is not None
        if engine is not None:
            gradients: PlainGradients = DeepSpeedGradients(engine.module)
            engine.step = _before(engine.step, lambda: edit(self._context(), gradients, self.bound.config))
            return
        accelerator, gradients = self.trainer.accelerator, PlainGradients(self.trainer.model)
        backward = accelerator.backward

        def then_edit(*args: Any, **kwargs: Any) -> None:
            backward(*args, **kwargs)
            if accelerator.sync_gradients:
                edit(self._context(), gradients, self.bound.config)

        accelerator.backward = then_edit


def _before(call: Callable[..., Any], first: Callable[[], None]) -> Callable[..., Any]:
    def both(*args: Any, **kwargs: Any) -> Any:
        first()
        return call(*args, **kwargs)

    return both

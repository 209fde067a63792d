"""From a model to per-item scores, retention, calibration, a report and W&B.

Usable alone, in any transformers or TRL trainer.
"""

from typing import TYPE_CHECKING, Any

from eval_hooks.errors import EvalError

if TYPE_CHECKING:
    from eval_hooks.callback import CheckpointEval

__all__ = ["CheckpointEval", "EvalError"]


def __getattr__(name: str) -> Any:
    """Import the callback, and with it transformers, when it is first asked for."""
    if name == "CheckpointEval":
        from eval_hooks.callback import CheckpointEval

        return CheckpointEval
    raise AttributeError(f"module 'eval_hooks' has no attribute {name!r}")

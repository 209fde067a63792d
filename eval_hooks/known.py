"""Tables of models that were measured before: a base is scored once, however many runs start from it.

A table is found again only where everything that decides its numbers is the same: weights, prompts, layout of batches,
arithmetic, attention, device, versions.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from eval_hooks.json_text import json_text
from eval_hooks.scoring.pass_size import PassSize

SCORING = 3
"""Raised when the same settings give other numbers or notes than before, so that old tables are not taken."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """Where the tables of a start are kept."""

    folder: Path
    weights: Callable[[], str]
    """Gives the hash of the start's weights; asked on the writing rank only, and only when a table is wanted."""

    def file(self, model: Any, precision: str, asked: str, size: PassSize) -> Path:
        """The table of one task; `asked` is its name and the hash of its prompts, `size` that of its passes."""
        decides = [
            SCORING,
            self.weights(),
            asked,
            size.tokens,
            size.logit_bytes,
            precision,
            model.config.get_text_config()._attn_implementation,
            model.device.type,
            *(version(name) for name in ("torch", "transformers")),
        ]
        digest = hashlib.sha256(json_text(decides).encode()).hexdigest()[:24]
        return self.folder / f"{digest}.parquet"

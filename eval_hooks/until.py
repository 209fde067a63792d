"""Ends an answer at a text rather than at a token."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import StoppingCriteria


class Until(StoppingCriteria):
    """A row ends once one of the texts stands in what it wrote."""

    def __init__(self, texts: Sequence[str], tokenizer: Any, width: int) -> None:
        self.texts, self.tokenizer, self.width = texts, tokenizer, width
        self.looked_at = 1 + max(len(text.encode()) for text in texts)
        """Tokens at the end that are looked at: each holds a byte or more of the text."""
        self.length: dict[int, int] = {}
        """Row -> new tokens up to and with the text."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """Which rows are done, (rows,)."""
        for row, ids in enumerate(input_ids[:, self.width :]):
            written = self.tokenizer.decode(ids[-self.looked_at :])
            if row not in self.length and any(text in written for text in self.texts):
                self.length[row] = len(ids)
        return torch.tensor([row in self.length for row in range(len(input_ids))], device=input_ids.device)

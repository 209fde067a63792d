"""Weights in 8 or 4 bits, as a server would round them: through torchao, which runs on a CPU too.

Rounded to the nearest of a symmetric grid, without calibration data: 8 bits with a scale per output row, 4 bits with
one per 32 weights of a row. Linear layers only; the head and the embeddings stay as they are, as servers leave them.
"""

import importlib.util
from typing import Any

from trainers import TrainError

BITS = (8, 4)
GROUP = 32
"""Weights of a row that share a 4-bit scale."""


def require_torchao() -> None:
    """Raise TrainError where weights cannot be quantised here."""
    if importlib.util.find_spec("torchao") is None:
        raise TrainError(
            "certify: 8- and 4-bit weights need torchao; pip install 'tempering[quantise]', or `temper certify "
            "CHECKPOINT --merged` for a certificate without them"
        )


def quantise(model: Any, bits: int) -> float:
    """Round the weights of a model's linear layers in place; return the share of all its weights that were."""
    import torch
    from torchao.quantization import Int8WeightOnlyConfig, IntxWeightOnlyConfig, quantize_
    from torchao.quantization.granularity import PerGroup

    head = model.get_output_embeddings()
    grids = {8: Int8WeightOnlyConfig(), 4: IntxWeightOnlyConfig(weight_dtype=torch.int4, granularity=PerGroup(GROUP))}

    def taken(module: Any, name: str) -> bool:
        return isinstance(module, torch.nn.Linear) and module is not head and module.in_features % GROUP == 0

    total = sum(p.numel() for p in model.parameters())
    share = sum(module.weight.numel() for name, module in model.named_modules() if taken(module, name)) / total
    quantize_(model, grids[bits], filter_fn=taken)
    return share

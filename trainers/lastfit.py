"""What a fit leaves behind in a process that goes on."""

import gc
import sys


def forget_the_last_fit() -> None:
    """Free the model's memory, and accelerate's, transformers' and DeepSpeed's memory of how it was trained."""
    from accelerate.state import AcceleratorState, GradientState
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    gc.collect()
    AcceleratorState._reset_state(reset_partial_state=False)
    GradientState._reset_state()
    unset_hf_deepspeed_config()
    if zero := sys.modules.get("deepspeed.runtime.zero.partition_parameters"):  # ZeRO-3 leaves its own F.linear behind
        import torch

        plain = getattr(zero.InsertPostInitMethodToModuleSubClasses, "linear_bk", torch.nn.functional.linear)
        torch.nn.functional.linear = plain

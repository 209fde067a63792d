"""What `train:` takes in stage unlearn: transformers' arguments, and two names of TRL's."""

from dataclasses import dataclass, field

from transformers import TrainingArguments


@dataclass
class UnlearnConfig(TrainingArguments):
    """transformers.TrainingArguments with the length of rows and the reference's cache."""

    max_length: int | None = field(default=512, metadata={"help": "Longest row in tokens; longer ones are left out."})
    precompute_ref_log_probs: bool = field(
        default=False,
        metadata={
            "help": "Compute the reference's log-probabilities once, before training, and keep them on disk; the "
            "reference then takes no memory while training."
        },
    )

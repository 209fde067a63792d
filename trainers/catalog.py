"""The stages and methods that exist. A row is a name and a value; nothing registers itself."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from data_mix.forms import FORMS, Form
from trainers.method import Method, NoOptions, Source
from trainers.sft import instruction_modelling


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A kind of training."""

    about: str
    arguments: Callable[[], type]
    """Imports and returns the TRL or transformers config class that `train:` is checked against."""
    trainer: Callable[[], Any]
    """Imports and returns the thin trainer."""
    form: Form
    """Which rows this stage trains on, and what they become."""
    default_method: str


def _sft_arguments() -> type:
    from trl import SFTConfig

    return SFTConfig


def _sft_trainer() -> Any:
    from trainers.sft.trainer import Trainer

    return Trainer


STAGES: dict[str, Stage] = {
    "cpt": Stage(
        about="continued pretraining on plain text",
        arguments=_sft_arguments,
        trainer=_sft_trainer,
        form=FORMS["text"],
        default_method="causal_lm",
    ),
    "sft": Stage(
        about="instruction tuning on conversations or prompt+completion rows",
        arguments=_sft_arguments,
        trainer=_sft_trainer,
        form=FORMS["conversations"],
        default_method="nll",
    ),
}

METHODS: dict[str, Method[Any, Any]] = {
    "causal_lm": Method(
        stage="cpt",
        config=NoOptions,
        about="mean negative log-likelihood of every token",
        source=Source(note="trl.SFTConfig loss_type: nll, on rows that are trained whole"),
        trl={"loss_type": "nll"},
    ),
    "nll": Method(
        stage="sft",
        config=NoOptions,
        about="mean negative log-likelihood of the answers' tokens",
        source=Source(note="trl.SFTConfig loss_type: nll"),
        trl={"loss_type": "nll"},
    ),
    "instruction_modelling": instruction_modelling.METHOD,
}

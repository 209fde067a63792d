"""The stages and methods that exist. A row is a name and a value; nothing registers itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from data_mix.extras import with_columns
from data_mix.forms import FORMS, Form
from trainers.anchor import Texts, own_texts, retained_texts
from trainers.dpo import simpo
from trainers.dpo import trl_losses as dpo_losses
from trainers.method import Method, NoOptions, Source
from trainers.rlvr import trl_losses as rlvr_losses
from trainers.sft import instruction_modelling
from trainers.unlearn import grad_ascent, grad_diff, npo, rmu, simnpo

SAMPLINGS = {
    "random": "each epoch shuffles them anew, by the run's seed",
    "sequential": "as they lie in the mix, every epoch alike",
    "group_by_length": "shuffled, rows of a like length together",
    "batch_rebalance": "shuffled, lengths even over ranks",
}
PLAIN = {name: SAMPLINGS[name] for name in ("random", "sequential")}
"""Of a stage whose rows are not one text each, so that no length can be looked at."""


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
    serves: frozenset[str] = frozenset()
    """Slots of `Method` that this stage's trainer looks at, besides those of every stage (`served.EVERYWHERE`)."""
    columns: tuple[str, ...] = ()
    """Columns of a data set that its own collator reads."""
    caches: bool = False
    """Whether it can keep the reference's log-probabilities for a method's own step."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Arguments that the suite sets itself."""
    samplings: Mapping[str, str] = field(default_factory=lambda: SAMPLINGS)
    """What `train.train_sampling_strategy` may be: value -> in which order rows of the mix are trained then."""
    splits_rows: bool = False
    """Whether ranks can share the tokens of a row (trainers/sequence.py)."""
    texts: int = 1
    """Texts of a row that are before the model together, as the two answers of a pair."""
    anchor: Texts | str = own_texts
    """The texts of a batch on which a pull towards the start model acts, or the argument by which TRL has one."""
    check: Callable[[Method[Any, Any], Any, Any], None] = lambda method, config, rows: None
    """(method, its config, train rows) -> nothing, or TrainError for what the rows lack; before the model is loaded."""
    epoch: Callable[[Any, Any], int] = lambda rows, arguments: len(rows)
    """(train rows, the stage's config) -> what an epoch has of that which a global batch counts."""


TOKENISED = {"dataset_kwargs": {"skip_prepare_dataset": True}, "assistant_only_loss": False}
"""Rows come with input_ids and labels; TRL prepares nothing."""


def _sft_arguments() -> type:
    from trl import SFTConfig

    return SFTConfig


def _sft_trainer() -> Any:
    from trainers.sft.trainer import Trainer

    return Trainer


def _dpo_arguments() -> type:
    from trl import DPOConfig

    return DPOConfig


def _dpo_trainer() -> Any:
    from trainers.dpo.trainer import Trainer

    return Trainer


def _rlvr_arguments() -> type:
    from trl import GRPOConfig

    return GRPOConfig


def _rlvr_trainer() -> Any:
    from trainers.rlvr.trainer import Trainer

    return Trainer


def _unlearn_arguments() -> type:
    from trainers.unlearn.config import UnlearnConfig

    return UnlearnConfig


def _unlearn_trainer() -> Any:
    from trainers.unlearn.trainer import Trainer

    return Trainer


def _unlearn_check(method: Method[Any, Any], config: Any, rows: Any) -> None:
    from trainers.unlearn.pairing import check_sides

    check_sides(rows, method.sides(config) if method.sides else ("forget", "retain"))


def _without_gold(rows: Sequence[Mapping[str, Any]]) -> Mapping[int, str]:
    from trainers.rlvr.rewards import unusable

    return unusable(rows)


def _forgotten(rows: Any, arguments: Any) -> int:
    return sum(side == "forget" for side in rows["side"])


STEP = frozenset({"step", "models", "columns"})
"""What a stage that calls a method's own step can give it."""
ROWS = frozenset({"form", "collate"})
"""What a stage serves whose rows may be a method's own."""

STAGES: dict[str, Stage] = {
    "cpt": Stage(
        about="continued pretraining on plain text",
        arguments=_sft_arguments,
        trainer=_sft_trainer,
        form=FORMS["text"],
        default_method="causal_lm",
        serves=STEP | ROWS | {"trl", "weigh", "trains", "needs_parts"},
        columns=("input_ids", "labels"),
        fixed=TOKENISED,
        splits_rows=True,
    ),
    "sft": Stage(
        about="instruction tuning on conversations or prompt+completion rows",
        arguments=_sft_arguments,
        trainer=_sft_trainer,
        form=FORMS["conversations"],
        default_method="nll",
        serves=STEP | ROWS | {"trl", "weigh", "trains", "needs_parts"},
        columns=("input_ids", "labels"),
        fixed=TOKENISED,
        splits_rows=True,
    ),
    "dpo": Stage(
        about="preference pairs",
        arguments=_dpo_arguments,
        trainer=_dpo_trainer,
        form=FORMS["pairs"],
        samplings=PLAIN,
        texts=2,
        default_method="sigmoid",
        serves=STEP | ROWS | {"trl"},
        columns=("prompt_ids", "chosen_ids", "rejected_ids"),
    ),
    "rlvr": Stage(
        about="the model's own answers, rewarded by verifiers",
        arguments=_rlvr_arguments,
        trainer=_rlvr_trainer,
        form=replace(FORMS["prompts"], unusable=_without_gold),
        samplings={"random": SAMPLINGS["random"] + "; train.shuffle_dataset: false keeps the mix's order"},
        epoch=lambda rows, arguments: len(rows) * arguments.num_generations,
        anchor="beta",
        default_method="grpo",
        serves=frozenset({"trl", "models", "form"}),
        columns=("prompt", "row"),
    ),
    "unlearn": Stage(
        about="rows to forget and rows to retain, in pairs",
        arguments=_unlearn_arguments,
        trainer=_unlearn_trainer,
        form=FORMS["sides"],
        samplings=PLAIN,
        texts=2,
        check=_unlearn_check,
        epoch=_forgotten,
        anchor=retained_texts,
        default_method="npo",
        serves=STEP | {"sides", "trains"},
        columns=("side", "input_ids", "labels"),
        caches=True,
    ),
}

METHODS: dict[str, Method[Any, Any]] = {
    "causal_lm": Method(
        stages=("cpt",),
        config=NoOptions,
        about="mean negative log-likelihood of every token",
        source=Source(note="trl.SFTConfig loss_type: nll, on rows that are trained whole"),
        trl={"loss_type": "nll"},
    ),
    "nll": Method(
        stages=("sft",),
        config=NoOptions,
        about="mean negative log-likelihood of the answers' tokens",
        source=Source(note="trl.SFTConfig loss_type: nll"),
        trl={"loss_type": "nll"},
    ),
    "instruction_modelling": instruction_modelling.METHOD,
    **dpo_losses.ROWS,
    "simpo": simpo.METHOD,
    **rlvr_losses.ROWS,
    "grad_ascent": grad_ascent.METHOD,
    "grad_diff": grad_diff.METHOD,
    "npo": npo.METHOD,
    "simnpo": simnpo.METHOD,
    "rmu": rmu.METHOD,
}


def form_of(stage: str, method: str) -> Form:
    """Which rows a run trains on, and what they become: the method's own form, else the stage's; with its columns."""
    row = METHODS[method]
    return with_columns(row.form or STAGES[stage].form, row.columns)

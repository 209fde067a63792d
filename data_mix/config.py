"""The `data:` section of a recipe, typed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from data_mix import DataError
from data_mix.names import RULE, is_name


@dataclass(frozen=True, kw_only=True)
class SourceSpec:
    """One entry of `data.train` or `data.validation`: where rows come from and how they are read."""

    source: str = ""
    """A row of `data_mix.catalog.SOURCES`; empty only where `split_from` is set."""
    config: Any = None
    """The source's own hyperparameters: an instance of its config dataclass."""
    name: str
    """How the manifest, the logs and `val/<name>/loss` call it (default: the source's name)."""
    weight: float | None = None
    """Share of the mix, in the unit of `weight_by`; without weights every source is used whole."""
    repeat: bool = False
    """Start again when exhausted instead of ending the mix."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Our column -> the file's column, as in {prompt: instruction}."""
    role_key: str | None = None
    """Key of the speaker in a message, where it is neither `role` nor `from`."""
    content_key: str | None = None
    """Key of the text in a message, where it is neither `content` nor `value`."""
    roles: Mapping[str, str] = field(default_factory=dict)
    """The file's role name -> ours, as in {operator: assistant}; human, gpt, bot and the like are known."""
    system: str | None = None
    """A system message put before every conversation that has none."""
    tools: str | None = None
    """Column that holds the tool descriptions (a list, or JSON text); default `tools` where there is one."""
    side: Literal["forget", "retain"] | None = None
    """Unlearning: what the rows of this source are, where they do not say it themselves."""
    verifier: str | Mapping[str, float] | None = None
    """RLVR: what judges the answers where the rows do not say it: a verifier, or verifiers with weights."""
    split_from: str | None = None
    """Validation only (`from: train` in the recipe).

    Hold out `fraction` of the train rows instead of reading a source.
    """
    fraction: float | None = None
    """Share of the train rows held out, with `from: train`."""

    def __post_init__(self) -> None:
        """Refuse a name that could not be a file's, or that leads out of the folder it is written in."""
        if not is_name(self.name):
            raise DataError(f"source name {self.name!r}: {RULE}; write a name of its own")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The whole `data:` section."""

    train: tuple[SourceSpec, ...]
    weight_by: Literal["rows", "tokens"] = "rows"
    """Unit of the weights. They hold within one row all along the mix, which training shuffles anew each epoch;
    train.train_sampling_strategy: sequential (rlvr: train.shuffle_dataset: false) trains it as it lies."""
    validation: tuple[SourceSpec, ...] = ()
    until_tokens: int | None = None
    """Stream the sources, by weight in tokens, until the mix has this many; one epoch over it is the run."""
    skip_tokens: int = 0
    """With until_tokens: leave out this many first ones, which an earlier run of a pipeline has trained on."""
    across_documents: bool | None = None
    """Packed documents see each other; default as TRL does it: packing_strategy wrapped yes, bfd and bfd_split no."""
    turns: Literal["all", "last"] = "all"
    """Which assistant turns of a conversation are trained; a message may also say `train: false` itself."""
    thinking: Literal["keep", "last", "drop"] | None = None
    """Thinking of a reasoning model: kept in every turn, in the trained turn but not in the history it reads, or
    nowhere; default as the chat template does it."""
    bad_rows: Literal["error", "drop"] = "error"
    """What becomes of rows that cannot be used: all of them are named and nothing is trained, or they are left out and
    counted by reason."""
    seed: int = 0
    """Seed of mixing, of held-out rows and of every source whose entry names none."""

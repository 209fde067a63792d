"""What optimizers keep of each trained parameter, by transformers' names (`train.optim`)."""

from dataclasses import dataclass

FP32 = 4


@dataclass(frozen=True)
class Kept:
    """Of one parameter."""

    numbers: int = 0
    """In the type of the weight that is updated: fp32 where DeepSpeed keeps a copy."""
    fixed: float = 0
    """Bytes of numbers that have a type of their own."""

    def bytes(self, each: int) -> float:
        """Where the weight that is updated has `each` bytes."""
        return self.numbers * each + self.fixed


ADAM = Kept(2)
"""Two moments; also of what the table does not name (GaLore and Apollo keep less, by their rank)."""
OPTIMIZERS: dict[str, Kept] = {
    **dict.fromkeys(("sgd", "adafactor", "lomo", "adalomo", "galore_adafactor", "galore_adafactor_layerwise"), Kept(0)),
    **dict.fromkeys(("adagrad", "rmsprop", "schedule_free_sgd"), Kept(1)),
    "grokadamw": Kept(3),
    **dict.fromkeys(("lion_32bit", "paged_lion_32bit", "rmsprop_bnb", "rmsprop_bnb_32bit"), Kept(fixed=4)),
    **dict.fromkeys(("lion_8bit", "paged_lion_8bit", "rmsprop_bnb_8bit"), Kept(fixed=1)),
    "paged_adamw_32bit": Kept(fixed=8),
    **dict.fromkeys(("adamw_8bit", "adamw_bnb_8bit", "paged_adamw_8bit", "adamw_torch_8bit"), Kept(fixed=2)),
    "adamw_torch_4bit": Kept(fixed=1),
    **dict.fromkeys(("ademamix", "paged_ademamix_32bit"), Kept(fixed=12)),
    **dict.fromkeys(("ademamix_8bit", "paged_ademamix_8bit"), Kept(fixed=3)),
}
"""Adafactor and its kin keep sums of rows and columns, next to nothing; sgd without momentum nothing at all."""


def kept(optim: object) -> Kept:
    """Of an optimizer by name, also as transformers' enumeration has it."""
    return OPTIMIZERS.get(str(getattr(optim, "value", optim)).rpartition(".")[2], ADAM)

"""Models beside the one that is trained, as a method names them: `Method.models(cfg)`, `ctx.models[name]`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainers import TrainError


@dataclass(frozen=True, kw_only=True)
class Start:
    """The model that the stage started from, frozen: the reference.

    It is the model without its adapter where that is the same, else a copy loaded a second time.
    """

    logps: bool = False
    """The log-probabilities of the labelled tokens suffice, so that they may be computed once and kept
    (`train.precompute_ref_log_probs`)."""


class Companions(dict[str, Any]):
    """Name -> the companion: `with ctx.models[name] as model:` gives its forward pass, without gradients."""

    def __missing__(self, name: str) -> Any:
        """Say where a companion is asked for."""
        raise TrainError(
            f"ctx.models[{name!r}]: the method asks for no such model, or its log-probabilities are cached; there is: "
            f"{', '.join(self) or 'none'}; name it in Method(models=lambda cfg: {{{name!r}: Start()}})"
        )


def asked(method: Any, config: Any) -> Mapping[str, Start]:
    """The companions that a method names for its settings. Raises TrainError for what is no companion."""
    found = method.models(config) if method.models else {}
    if not isinstance(found, Mapping):
        raise TrainError(f"Method.models gives a {type(found).__name__}; a map is due, as {{'start': Start()}}")
    for name, companion in found.items():
        if not isinstance(companion, Start):
            raise TrainError(f"Method.models: {name!r} is a {type(companion).__name__}; there is: Start()")
    return found

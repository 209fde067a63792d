"""TRL's preference losses, by TRL's names: rows that only name its argument `loss_type`.

Their settings are trl.DPOConfig's own, under `train:` (beta, label_smoothing, f_divergence_type, ld_alpha, ...).
"""

from collections.abc import Sequence
from typing import Any

from trainers.method import Method, NoOptions, Source
from trainers.models.companions import Start


def row(
    name: str, about: str, arxiv: str | None = None, losses: Sequence[str] = (), **defaults: Any
) -> Method[Any, NoOptions]:
    """The row of one loss, or of several that are added up; `defaults` are arguments the recipe may set otherwise."""
    named = list(losses or [name])
    source = Source(arxiv=arxiv, note=f"trl.DPOConfig loss_type: {' + '.join(named)}")
    trl = {"loss_type": named}
    return Method(
        stages=("dpo",), config=NoOptions, about=about, source=source, trl=trl, defaults=defaults,
        models=lambda cfg: {"start": Start(logps=True)},
    )  # fmt: skip


ROWS: dict[str, Method[Any, Any]] = {
    "sigmoid": row("sigmoid", "DPO: logistic loss on the margin of log-ratios", "2305.18290"),
    "sigmoid_norm": row("sigmoid_norm", "DPO with log-ratios per token", "2405.14734"),
    "hinge": row("hinge", "hinge loss on the margin (SLiC)", "2305.10425"),
    "ipo": row("ipo", "squared distance of the margin per token to 1 / (2 beta)", "2310.12036"),
    "exo_pair": row("exo_pair", "reverse KL between preference distributions", "2402.00856", label_smoothing=1e-3),
    "nca_pair": row("nca_pair", "noise contrastive alignment: holds up the chosen likelihood", "2402.05369"),
    "robust": row("robust", "DPO unbiased under flipped labels", "2403.00409", label_smoothing=0.1),
    "bco_pair": row("bco_pair", "binary classifier of chosen against rejected", "2404.04656"),
    "sppo_hard": row("sppo_hard", "self-play: chosen to 1 / 2, rejected to -1 / 2", "2405.00675"),
    "aot": row("aot", "optimal transport over sorted margins of a batch", "2406.05882"),
    "aot_unpaired": row("aot_unpaired", "the same without pairing", "2406.05882"),
    "apo_zero": row("apo_zero", "anchored: chosen up, rejected down", "2408.06266"),
    "apo_down": row("apo_down", "anchored: both down, rejected further", "2408.06266"),
    "discopop": row("discopop", "loss found by a language model", "2406.08414"),
    "rpo": row(
        "rpo",
        "DPO plus the chosen answer's log-likelihood, which keeps it up",
        "2404.19733",
        ("sigmoid", "sft"),
        loss_weights=[1.0, 1.0],
    ),
    "sft": row("sft", "negative log-likelihood of the chosen answer"),
}

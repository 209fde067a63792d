"""TRL's preference losses, by TRL's names: rows that only name its argument `loss_type`.

Their settings are trl.DPOConfig's own, under `train:` (beta, label_smoothing, f_divergence_type, ld_alpha, ...).
"""

from typing import Any

from trainers.method import Method, NoOptions, Source


def row(*names: str, about: str, arxiv: str | None = None, **defaults: Any) -> Method[Any, NoOptions]:
    """The row of a loss, or of several added up; `defaults` are arguments that the recipe may set otherwise."""
    source = Source(arxiv=arxiv, note=f"trl.DPOConfig loss_type: {' + '.join(names)}")
    trl = {"loss_type": list(names)}
    return Method(
        stage="dpo", config=NoOptions, about=about, source=source, trl=trl, defaults=defaults,
        reference=lambda cfg: "logps",
    )  # fmt: skip


ROWS: dict[str, Method[Any, Any]] = {
    "sigmoid": row("sigmoid", about="DPO: logistic loss on the margin of log-ratios", arxiv="2305.18290"),
    "sigmoid_norm": row("sigmoid_norm", about="DPO with log-ratios per token", arxiv="2405.14734"),
    "hinge": row("hinge", about="hinge loss on the margin (SLiC)", arxiv="2305.10425"),
    "ipo": row("ipo", about="squared distance of the margin per token to 1 / (2 beta)", arxiv="2310.12036"),
    "exo_pair": row(
        "exo_pair", about="reverse KL between preference distributions", arxiv="2402.00856", label_smoothing=1e-3
    ),
    "nca_pair": row(
        "nca_pair", about="noise contrastive alignment: holds up the chosen likelihood", arxiv="2402.05369"
    ),
    "robust": row("robust", about="DPO unbiased under flipped labels", arxiv="2403.00409", label_smoothing=0.1),
    "bco_pair": row("bco_pair", about="binary classifier of chosen against rejected", arxiv="2404.04656"),
    "sppo_hard": row("sppo_hard", about="self-play: chosen to 1 / 2, rejected to -1 / 2", arxiv="2405.00675"),
    "aot": row("aot", about="optimal transport over sorted margins of a batch", arxiv="2406.05882"),
    "aot_unpaired": row("aot_unpaired", about="the same without pairing", arxiv="2406.05882"),
    "apo_zero": row("apo_zero", about="anchored: chosen up, rejected down", arxiv="2408.06266"),
    "apo_down": row("apo_down", about="anchored: both down, rejected further", arxiv="2408.06266"),
    "discopop": row("discopop", about="loss found by a language model", arxiv="2406.08414"),
    "rpo": row(
        "sigmoid",
        "sft",
        about="DPO plus the chosen answer's log-likelihood, which keeps it up",
        arxiv="2404.19733",
        loss_weights=[1.0, 1.0],
    ),
    "sft": row("sft", about="negative log-likelihood of the chosen answer"),
}

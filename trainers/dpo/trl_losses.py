"""TRL's preference losses, by TRL's names: rows that only name its argument `loss_type`.

Their settings are trl.DPOConfig's own, under `train:` (beta, label_smoothing, f_divergence_type, ld_alpha, ...).
`defaults` are what the cited paper says of its loss; `note` says where, or whose word it is where the paper itself was
not read for it. Nothing is set where no number of the paper's is meant for a language model (ipo's tau, in toy
problems), where the paper's loss has no reference for beta to scale against (hinge, sft), or where none was found
(sigmoid_norm, aot): TRL's 0.1 then.
"""

from collections.abc import Sequence
from typing import Any

from trainers.method import Method, NoOptions, Source
from trainers.models.companions import Start


def row(
    name: str, about: str, arxiv: str | None = None, note: str = "", losses: Sequence[str] = (), **defaults: Any
) -> Method[Any, NoOptions]:
    """The row of one loss, or of several that are added up.

    `defaults` are arguments the recipe may set otherwise; `note` says where they stand.
    """
    named = list(losses or [name])
    at = f"{note}; " if note else ""
    source = Source(arxiv=arxiv, note=f"{at}trl.DPOConfig loss_type: {' + '.join(named)}")
    trl = {"loss_type": named}
    return Method(
        stages=("dpo",), config=NoOptions, about=about, source=source, trl=trl, defaults=defaults,
        models=lambda cfg: {"start": Start(logps=True)},
    )  # fmt: skip


APO = "section 5.2 of the version in TACL, as TRL's index of papers cites it"
ROWS: dict[str, Method[Any, Any]] = {
    "sigmoid": row("sigmoid", "DPO: logistic loss on the margin of log-ratios", "2305.18290", "appendix B", beta=0.1),
    "sigmoid_norm": row("sigmoid_norm", "DPO with log-ratios per token", "2405.14734"),
    "hinge": row("hinge", "hinge loss on the margin (SLiC)", "2305.10425"),
    "ipo": row("ipo", "squared distance of the margin per token to 1 / (2 beta)", "2310.12036"),
    "exo_pair": row(
        "exo_pair",
        "reverse KL between preference distributions",
        "2402.00856",
        "beta of the authors' IMDb script, 0.5 on TL;DR and HH; label_smoothing as TRL cites the paper",
        beta=0.1,
        label_smoothing=1e-3,
    ),
    "nca_pair": row(
        "nca_pair",
        "noise contrastive alignment: holds up the chosen likelihood",
        "2402.05369",
        "beta of the authors' preference_qlora.yaml",
        beta=0.01,
    ),
    "robust": row(
        "robust",
        "DPO unbiased under flipped labels",
        "2403.00409",
        "beta of table 4, as others quote it; label_smoothing section 6, as TRL's index of papers cites it",
        beta=0.1,
        label_smoothing=0.1,
    ),
    "bco_pair": row(
        "bco_pair",
        "binary classifier of chosen against rejected",
        "2404.04656",
        "appendix C; TRL leaves out the reward shift of section 4.2",
        beta=0.1,
    ),
    "sppo_hard": row(
        "sppo_hard",
        "self-play: chosen to 1 / 2, rejected to -1 / 2",
        "2405.00675",
        "beta of the authors' pipeline.sh, for targets of (P - 1 / 2) / beta",
        beta=0.001,
    ),
    "aot": row("aot", "optimal transport over sorted margins of a batch", "2406.05882"),
    "aot_unpaired": row("aot_unpaired", "the same without pairing", "2406.05882"),
    "apo_zero": row("apo_zero", "anchored: chosen up, rejected down", "2408.06266", APO, beta=0.1),
    "apo_down": row("apo_down", "anchored: both down, rejected further", "2408.06266", APO, beta=0.1),
    "discopop": row(
        "discopop",
        "loss found by a language model",
        "2406.08414",
        "appendix B.1; tau section 6.1",
        beta=0.05,
        discopop_tau=0.05,
    ),
    "rpo": row(
        "rpo",
        "DPO plus the chosen answer's log-likelihood, which keeps it up",
        "2404.19733",
        "section 3.1, its alpha of 1 and beta of 0.1",
        ("sigmoid", "sft"),
        beta=0.1,
        loss_weights=[1.0, 1.0],
    ),
    "sft": row("sft", "negative log-likelihood of the chosen answer"),
}
READ_BY = {"label_smoothing": ("exo_pair", "robust", "aot", "aot_unpaired"), "discopop_tau": ("discopop",)}
"""Argument -> the loss types that read it, where others do not; of a plain `sigmoid` TRL smooths no labels."""

"""Whether confidence ranks right answers before wrong ones.

AUROC, and the area under the risk-coverage curve (Geifman et al. 2019, arXiv:1805.08206).
"""

import numpy as np
from scipy.stats import rankdata

COVERAGES = (0.5, 0.8, 0.9)
"""Shares of items, the most confident ones, whose accuracy is reported."""
RISK = 0.05
"""Error rate at which coverage is reported."""


def auroc(conf: np.ndarray, correct: np.ndarray) -> float | None:
    """P(conf of a right item > conf of a wrong one) + half the ties; None if all are right or all wrong."""
    right = int(correct.sum())
    wrong = len(correct) - right
    if not right or not wrong:
        return None
    ranks = rankdata(conf)
    return float((ranks[correct > 0].sum() - right * (right + 1) / 2) / (right * wrong))


def aurc(conf: np.ndarray, correct: np.ndarray) -> float:
    """Mean over j of the errors among the j most confident, divided by j; inside a block of ties the expected value."""
    order = np.argsort(-conf, kind="stable")
    _, start, size = np.unique(-conf[order], return_index=True, return_counts=True)
    block_error = np.add.reduceat(1.0 - correct[order], start) / size
    errors = np.cumsum(np.repeat(block_error, size))
    return float((errors / np.arange(1, len(conf) + 1)).mean())


def e_aurc(conf: np.ndarray, correct: np.ndarray) -> float:
    """AURC minus that of the ordering that puts every right item first."""
    return aurc(conf, correct) - aurc(correct.astype(float), correct)


def accuracy_at(conf: np.ndarray, correct: np.ndarray, coverage: float) -> float:
    """Accuracy of the most confident share of items; a block of ties across the edge counts by its mean."""
    kept = max(1, round(coverage * len(conf)))
    edge = np.sort(conf)[::-1][kept - 1]
    above, tied = conf > edge, conf == edge
    return float((correct[above].sum() + (kept - above.sum()) * correct[tied].mean()) / kept)


def coverage_at(conf: np.ndarray, correct: np.ndarray, risk: float) -> float:
    """Largest share of items, the most confident ones, whose error rate is at most `risk`; ties stay together."""
    order = np.argsort(-conf, kind="stable")
    errors, count = np.cumsum(1.0 - correct[order]), np.arange(1, len(conf) + 1)
    whole = np.append(conf[order][1:] != conf[order][:-1], True)  # a block of ties ends here
    good = whole & (errors <= risk * count)
    return float(count[good].max() / len(conf)) if good.any() else 0.0

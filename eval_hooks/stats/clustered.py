"""The interval of a mean whose items come in groups, for other groups too."""

import numpy as np
from scipy.stats import t as student


def clustered_interval(sums: np.ndarray, sizes: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """(low, high) of the mean per item, sums (..., G) over G subjects of so many items each, at 1 - alpha.

    The jackknife over whole subjects: with N items in all, h_g = n_g / N, and u_g the sum of a subject's residuals,

        se^2 = sum_g (u_g / (1 - h_g))^2 / N^2, and Student's t at
        df = (sum b)^2 / (sum b^2 + ((sum b^2)^2 - sum b^4) / N^2),  b_g = n_g / (1 - h_g)

    which is CR3 of a regression on a constant, with the degrees of freedom that it has where items are independent
    (Bell, McCaffrey 2002, Survey Methodology 28:169; G - 1 where sizes are equal). Whole subjects resampled in its
    place give an interval too narrow by sqrt((G - 1) / G) and with the tails of the normal.
    """
    total = sizes.sum()
    left = 1 - sizes / total
    mean = sums.sum(axis=-1) / total
    se = np.sqrt((((sums - sizes * mean[..., None]) / left) ** 2).sum(axis=-1)) / total
    b = sizes / left
    df = b.sum() ** 2 / ((b**2).sum() + ((b**2).sum() ** 2 - (b**4).sum()) / total**2)
    half = student.isf(alpha / 2, df) * se
    return mean - half, mean + half

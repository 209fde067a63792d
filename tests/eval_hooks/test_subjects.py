"""Change by subject: clustered intervals against formulas and statsmodels, Holm by hand, categories that hold all."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import t as student
from statsmodels.stats.multitest import multipletests

from eval_hooks.retention.subjects import by_group, clustered_mean, holm
from eval_hooks.tasks.categories import CATEGORIES, CATEGORY_OF
from tests.eval_hooks.tables import random_choices


def test_holm_by_hand_and_as_statsmodels_has_it() -> None:
    """.01 .04 .03 of three: .03, then 2 x .03 = .06, then max(.06, .04) = .06."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    p = np.random.default_rng(0).uniform(size=57) ** 3
    assert holm(p.tolist()) == pytest.approx(multipletests(p, method="holm")[1].tolist())
    assert holm([]) == []


def test_the_width_over_equal_subjects_is_that_of_a_clustered_regression_on_a_constant() -> None:
    """Subjects of equal size: leaving one out multiplies statsmodels' error by sqrt(G / (G - 1)), and df is G - 1."""
    rng = np.random.default_rng(1)
    clusters = np.repeat(np.arange(12), 9)
    x = rng.normal(size=108) + rng.normal(size=12)[clusters]
    fit = sm.OLS(x, np.ones(108)).fit(cov_type="cluster", cov_kwds={"groups": clusters})
    found = clustered_mean(x, clusters)
    assert found.value == pytest.approx(x.mean()) and "12 whole subjects" in found.method
    half = student.isf(0.025, 11) * np.sqrt(12 / 11) * fit.bse[0]
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=1e-9)
    assert clustered_mean(x, np.zeros(108)).value is None


def test_the_interval_over_subjects_covers_where_subjects_differ() -> None:
    """200 banks of 40 subjects that differ: the clustered interval holds the truth in most, the plain one does not."""
    rng, hits, plain = np.random.default_rng(3), 0, 0
    clusters = np.repeat(np.arange(40), 8)
    for _ in range(200):
        x = rng.normal(size=320) + 2 * rng.normal(size=40)[clusters]
        found = clustered_mean(x, clusters)
        hits += found.low <= 0 <= found.high
        plain += abs(x.mean()) <= 1.96 * x.std(ddof=1) / np.sqrt(320)
    assert hits >= 176 and plain < 150


def test_groups_add_up_and_a_change_is_named_only_where_it_is_proven() -> None:
    before, after = random_choices(300, seed=0), random_choices(300, seed=1)
    subjects, categories = by_group(after, before), by_group(after, before, lambda name: name[0])
    for key in ("n", "lost", "gained"):
        assert sum(e[key] for e in subjects.values()) == sum(e[key] for e in categories.values())
    assert all(0 <= entry["p_holm"] <= 1 for entry in subjects.values())
    assert all(entry["p_holm"] is None for entry in by_group(after, None).values())


def test_every_subject_has_one_category() -> None:
    from eval_hooks.tasks.pocket import bank

    assert {item.subject for item in bank("test")} == set(CATEGORY_OF)
    assert {name: len(subjects) for name, subjects in CATEGORIES.items()} == {
        "STEM": 18, "Other": 14, "Social Sciences": 12, "Humanities": 13}  # fmt: skip

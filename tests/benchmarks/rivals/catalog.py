"""The rivals, at the versions that are asked, and what each of their rules promises."""

from collections.abc import Mapping
from dataclasses import dataclass, field

ONE_SIDE = 0.025
"""Of a two-sided test at 5 %, or an interval at 95 %: how often it says `loss` where nothing changed."""
SIZES = (100, 570, 14_042)
ALL = {100: 20_000, 570: 20_000, 14_042: 1_000}
"""Tables of each law, by items."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule of a rival's."""

    name: str
    promise: float | None = None
    """How often, in one look, it may say `loss` where nothing changed; None where it does not say."""
    over_looks: bool = False
    """Whether that is promised of all looks together."""
    kept: str = ""
    """What it calls a model that kept what it knew; empty where it has no word for that."""
    tables: Mapping[int, int] = field(default_factory=lambda: ALL)
    """By items, how many tables of each law it is asked about: fewer where one takes long."""


@dataclass(frozen=True, kw_only=True)
class Rival:
    """One package."""

    name: str
    packages: tuple[str, ...]
    """What pip is asked for; empty where it stands in our own environment."""
    dependencies: bool = False
    """Whether pip adds what the packages ask for; otherwise `packages` is all that is needed here."""
    borrows: bool = False
    """Whether it is run over our own site-packages, so that torch is not there twice."""
    rules: tuple[Rule, ...]

    @property
    def script(self) -> str:
        """The file that asks it."""
        return f"ask_{self.name.replace('-', '_')}.py"


ARRAYS = ("numpy==2.4.6", "scipy==1.17.1")
RIVALS = (
    Rival(
        name="soup-cli",
        packages=("soup-cli==0.77.0",),
        dependencies=True,
        rules=(
            Rule(name="gate, as shipped", kept="passed"),
            Rule(name="gate at the margin", kept="passed"),
            # pure Python: .04, .23 and 5 s a table
            Rule(name="eval against", promise=ONE_SIDE, kept="OK", tables={100: 400, 570: 40}),
        ),
    ),
    Rival(
        name="pyrecall",
        packages=("pyrecall==0.12.1",),
        borrows=True,
        rules=(
            Rule(name="as shipped", kept="No significant forgetting"),
            Rule(name="threshold at the margin", kept="No significant forgetting"),
        ),
    ),
    Rival(
        name="evalsig",
        packages=("evalsig==0.1.2", *ARRAYS),
        rules=(
            Rule(name="compare", promise=ONE_SIDE),
            # .02 s a table of 14,042
            Rule(name="gate", kept="ALLOW", tables={100: 20_000, 570: 2_000, 14_042: 200}),
            Rule(name="confidence sequence", promise=ONE_SIDE, over_looks=True),
        ),
    ),
    Rival(
        name="evalstats",
        packages=("evalstats==0.3.3", *ARRAYS, "pandas==3.1.1", "python-dateutil==2.9.0.post0", "six==1.17.0"),
        rules=(Rule(name="as shipped", promise=ONE_SIDE), Rule(name="Tango", promise=ONE_SIDE)),
    ),
    Rival(
        name="paired-eval",
        packages=("paired-eval==0.4.0",),
        rules=(
            # pure Python, with a tenth of its resamples: .04, .28 and 8 s a table
            Rule(name="paired_compare", promise=ONE_SIDE, tables={100: 400, 570: 40}),
            # sums whole binomial coefficients: up to .15 s a table of 14,042 and none of them twice, minutes in all
            Rule(name="mcnemar_exact", promise=ONE_SIDE, tables={100: 20_000, 570: 20_000}),
        ),
    ),
    Rival(
        name="lm-eval",
        packages=(),
        rules=(Rule(name="model_comparator", promise=ONE_SIDE, kept="✓"),),
    ),
)

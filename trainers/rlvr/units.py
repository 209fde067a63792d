r"""Units behind a number, as far as an answer can be wrong by them: `5 kg` is not `5 cm`, and `50 mm` is.

A word that is no unit here (apples, dollars) says nothing.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

NAMES: dict[str, tuple[str, Fraction]] = {
    name: (kind, Fraction(factor))
    for kind, factor, names in (
        ("length", "1/1000", "mm millimeter millimetre"),
        ("length", "1/100", "cm centimeter centimetre"),
        ("length", "1", "m meter metre"),
        ("length", "1000", "km kilometer kilometre"),
        ("length", "0.0254", "in inch inches"),
        ("length", "0.3048", "ft foot feet"),
        ("length", "0.9144", "yd yard"),
        ("length", "1609.344", "mi mile"),
        ("mass", "1/1000", "mg milligram"),
        ("mass", "1", "g gram"),
        ("mass", "1000", "kg kilogram"),
        ("mass", "1000000", "ton tonne"),
        ("mass", "28.349523125", "oz ounce"),
        ("mass", "453.59237", "lb lbs pound"),
        ("time", "1/1000", "ms millisecond"),
        ("time", "1", "s sec second"),
        ("time", "60", "min minute"),
        ("time", "3600", "h hr hour"),
        ("time", "86400", "day"),
        ("time", "604800", "week"),
        ("years", "1", "year yr"),
        ("money", "1", "dollar usd"),
        ("money", "1/100", "cent"),
        ("volume", "1/1000", "ml milliliter millilitre"),
        ("volume", "1", "l liter litre"),
        ("degrees", "1", "° deg degree \\circ"),
        ("radians", "1", "rad radian"),
    )
    for name in names.split()
}
"""Name, without the plural's s -> what it measures, and how much of that it is."""
WRITTEN = {"mph": "mi/h", "kmh": "km/h", "kph": "km/h", "kmph": "km/h"}
POWERS = {"": 1, "^2": 2, "²": 2, "^3": 3, "³": 3, "^{2}": 2, "^{3}": 3}
ONE = re.compile(r"(?:(square|cubic|sq)\.? ?)?([A-Za-z]+|°|\\circ)\.?(\^\{?[23]\}?|²|³)?")


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A product of powers, as (what it measures, power) pairs, and how much of it."""

    kind: tuple[tuple[str, int], ...]
    factor: Fraction


def unit_of(text: str) -> Unit | None:
    """`cm^2`, `meters per second`, `km/h`; None for what is none."""
    kinds: dict[str, int] = {}
    factor = Fraction(1)
    text = WRITTEN.get(text.strip(), text.strip())
    for part, side in zip(re.split(r"\s*/\s*|\s+per\s+|\s+an?\s+", text), (1, -1, -1), strict=False):
        found = ONE.fullmatch(part.strip())
        known = _known(found[2]) if found else None
        if not found or not known:
            return None
        power = {"square": 2, "sq": 2, "cubic": 3}.get(found[1] or "", POWERS[found[3] or ""]) * side
        kinds[known[0]] = kinds.get(known[0], 0) + power
        factor *= known[1] ** power
    return Unit(kind=tuple(sorted(kinds.items())), factor=factor)


def _known(name: str) -> tuple[str, Fraction] | None:
    name = name if len(name) == 1 else name.lower()
    return NAMES.get(name) or (NAMES.get(name.removesuffix("s")) if len(name) > 3 else None)

r"""Numbers as people and models write them: `1,234.50`, `1\,234`, `−5`, `.5`, `1e3`, `1/2`, `2.5 million`, `4km`.

A number that is part of something else is none: of a word (`x42`, `42nd`), a product (`5x`), a sum that is not worked
out (`3 + 4`), a range (`3–5`), a time or a date.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

from trainers.rlvr.extract import TAIL, unmarked

MINUS = str.maketrans("−－﹣", "---")
FRACTIONS = {"½": "1/2", "¼": "1/4", "¾": "3/4", "⅓": "1/3", "⅔": "2/3"}
SCALES = {"k": 3, "K": 3, "thousand": 3, "M": 6, "million": 6, "B": 9, "bn": 9, "billion": 9, "trillion": 12}
"""Powers of ten; the letters only where they touch the number."""
LARGEST = 400
"""Largest power of ten: numbers beyond it are no answers, and take long to work with."""
GROUPING = re.compile(r"(?<=\d)(?:\{,\}|,?\\[,;:! ]|~|[\u2009\u202f\u00a0]|,\\!|'|’|_)(?=\d{3}(?!\d))")
NUMBER = re.compile(
    r"""
    (?<![\w.,^]) (?<!\d:) (?P<sign>[-+–]\s?)? [$€£¥]? (?P<inner>[-–])?
    (?P<core>(?:\d{1,3}(?:,\d{3})+|\d{1,3}(?:\ \d{3})+|\d{1,2}(?:,\d{2})+,\d{3}|\d+)(?:\.\d+)?|\.\d+)
    (?:[eE](?P<exponent>[-+]?\d{1,4})(?!\d))?
    (?:\s*(?:\\times|\\cdot|×|\*)\s*10\^\{?(?P<ten>[-+]?\d{1,4})\}?)?
    (?:\^\{?(?P<power>[-+]?\d{1,4})\}?)?
    (?:\s?/\s?(?P<over>\d+(?:\.\d+)?)(?![\d/]))?
    (?P<scale>[kKMB]\b|\s*(?:thousand|million|billion|bn|trillion)\b)?
    (?P<percent>\s*(?:\\?%|percent\b))?
    (?![.,:]?\d|(?:st|nd|rd|th|[abcdefijnopqruvwxyz])\b|[²³⁴^]|\s?/\s?\d|\s*[*×÷+]\s*[\d.(]|\s?[-–]\s?\d)
    """,
    re.VERBOSE,
)
OPERAND = re.compile(r"(?:[\d)}]\s*[-–+*×÷/^]|[±])\s*$")
"""What stands before a number that is part of a sum or a range."""
JOINT = re.compile(r"[^\w]*(?:or|and|to|through|/)[^\w]*|\s*,\s*(?:or\s*)?")


@dataclass(frozen=True, kw_only=True)
class Numeral:
    """A number in a text."""

    value: Fraction
    percent: bool
    """Written with a per cent sign; the value is what stands before it."""
    start: int
    end: int

    def __str__(self) -> str:
        """As a reason shows it."""
        whole = str(self.value) if self.value.denominator == 1 else f"{float(self.value):.12g}"
        return whole + "%" * self.percent


def same(a: Numeral, b: Numeral) -> bool:
    """Equal as numbers. 50 % is a half, and 50 where the other says no per cent; 0.5 % is not a half."""
    if a.percent == b.percent:
        return a.value == b.value
    part, plain = (a, b) if a.percent else (b, a)
    return part.value / 100 == plain.value or (part.value == plain.value and abs(plain.value) >= 1)


def plain_text(text: str) -> str:
    r"""One way of writing: without emphasis, LaTeX's spaces, `\text` and fractions; one minus, one thousands comma."""
    text = unmarked(text[-TAIL:]).translate(MINUS)
    text = re.sub(r"\\[dt]?frac\s*\{(\d+)\}\s*\{(\d+)\}", r"\1/\2", text)
    text = re.sub(r"\\[dt]?frac\s*(\d)\s*(\d)", r"\1/\2", text)
    text = re.sub(r"\\(?:text|mathrm|mbox|textbf|mathbf)\s*\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"\\([$%])", r"\1", text)
    text = re.sub(r"\b(?:minus|negative)\s+(?=[\d.])", "-", text)
    for sign, written in FRACTIONS.items():
        text = text.replace(sign, written)
    return GROUPING.sub(",", text)


def numerals(text: str) -> list[Numeral]:
    """All numbers of a plain text, in order."""
    found = []
    for match in NUMBER.finditer(text):
        value = _value(match)
        if value is not None and not _in_a_sum(match):
            found.append(
                Numeral(value=value, percent=bool(match["percent"]), start=match.start("core"), end=match.end())
            )
    return found


def _in_a_sum(match: re.Match[str]) -> bool:
    """Whether it stands behind an operator that has a number before it; `- 5` behind one is no sign."""
    before = match.string[max(0, match.start() - 12) : match.start("core" if match["sign"] else 0)]
    return bool(OPERAND.search(before))


def _value(match: re.Match[str]) -> Fraction | None:
    """None where it is too large to be meant."""
    sign = (match["sign"] or match["inner"] or "").strip()
    if match["sign"] and match["sign"] != sign and match.string[: match.start()].strip() not in ("", "=", "$", "("):
        sign = ""  # a dash between words
    core = match["core"].replace(",", "").replace(" ", "")
    shift = int(match["exponent"] or 0) + int(match["ten"] or 0) + SCALES.get((match["scale"] or "").strip(), 0)
    if match["power"] is not None:
        if core != "10":
            return None
        core, shift = "1", shift + int(match["power"])
    if abs(shift) > LARGEST or len(core) > TAIL or (match["over"] and not Fraction(match["over"])):
        return None
    value = Fraction(core) * Fraction(10) ** shift / Fraction(match["over"] or 1)
    return -value if sign in ("-", "–") else value


def joined(text: str, a: Numeral, b: Numeral) -> bool:
    """Whether two numbers that follow each other are offered together: `5 or 6`, `5 to 6`; `5, 6` and nothing else."""
    between = text[a.end : b.start].rstrip("+-–$€£¥")
    if not JOINT.fullmatch(between):
        return False
    return "," not in between or "or" in between or not re.search(r"[^\W\d_]", text[: a.start] + text[b.end :])

r"""Mathematics in a reply: which part of it is the answer, and its value, unit, per cent sign and number base."""

import re
from dataclasses import dataclass
from typing import Any

from trainers.rlvr.claim import stated
from trainers.rlvr.extract import ENDS, TAIL, final_answer, last_box, unmarked
from trainers.rlvr.numerals import FRACTIONS, GROUPING, MINUS, SCALES, numerals, plain_text
from trainers.rlvr.units import Unit, unit_of

SEGMENT = re.compile(r"\$\$?([^$]{1,400}?)\$\$?|\\\((.{1,400}?)\\\)|\\\[(.{1,400}?)\\\]", re.DOTALL)
CUE = re.compile(
    r"^(?:(?:so|thus|therefore|hence|then|finally|it is|this is|that is|we get|we have|which gives|this gives)\b"
    r"[,:\s]*)+",
    re.I,
)
DOUBT = re.compile(
    r"\b(?:not|never|cannot|considered|dropped|discarded|rejected|wrong|but|instead|maybe|perhaps|guess|tried|first|between|or|"
    r"either|could|might|than|neither|nor|thought|too)\b|n't\b|\?",
    re.IGNORECASE,
)
"""A sentence with one of these claims no number that stands in it."""
SHORT = 3
"""Words of a line that is an answer in words and no sentence."""
FUNCTIONS = {
    "pi",
    "sin",
    "cos",
    "tan",
    "cot",
    "sec",
    "log",
    "ln",
    "exp",
    "sqrt",
    "infty",
    "infinity",
    "max",
    "min",
    "gcd",
    "mod",
    "or",
    "and",
}
OR = re.compile(r"\s*,?\s*(?:\\(?:text|mbox|mathrm)\s*\{\s*(?:or|and)\s*\}|\b(?:or|and)\b)\s*")
TEXT = re.compile(r"\\(?:text|mathrm|mbox|textbf|mathbf|operatorname)\s*\{([^{}]*)\}")
WORDS = re.compile(r"(?:(?<=[\d)}\]!.])|(?<=\\pi)(?=\s))\s*((?:[A-Za-z°'’/.²³-]+(?:\^\{?[23]\}?)?\s*)+)$")
VERBS = {"is", "are", "was", "were", "has", "have", "so"}
BEHIND = re.compile(r"\s*[A-Za-z°]+[²³]?(?:\^\{?[23]\}?)?(?:\s*(?:/|per\b)\s*[A-Za-z]+)?")
RATIO = re.compile(r"\b\d+\s*:\s*\d+\b")
CIRCLE = re.compile(r"\^\{?(?:\\circ|°)\}?")
DIGITS = {
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
    "sixteen": 16,
}
BASE = re.compile(rf"([0-9A-Fa-f]+)\s*_\s*\{{?\s*(\d+|{'|'.join(DIGITS)})\s*\}}?")
REPEATING = re.compile(r"(\d+)\.(\d*)\\(?:overline|bar)\{?(\d+)\}?")
FRACTION_OF_UNITS = re.compile(r"\\[dt]?frac\{\\(?:text|mathrm)\{([^{}]*)\}\}\{\\(?:text|mathrm)\{([^{}]*)\}\}")


@dataclass(frozen=True, kw_only=True)
class Expression:
    """What is said, taken apart."""

    text: str
    """As it was written, for reasons and for answers that are words."""
    latex: str
    """The value alone."""
    unit: Unit | None = None
    percent: bool = False
    base: int | None = None
    ratio: bool = False
    """Written as 3:5; the value is 3/5."""


def answer_of(reply: str) -> str | None:
    """The expression that a reply announces, else the one that its last line states; None where it states none."""
    text = ENDS.sub("", reply)
    if box := last_box(text[-TAIL:]):
        return box
    if announced := final_answer(text):
        return _in_prose(stated(announced), announced=True)
    lines = text.strip()[-TAIL:].splitlines()
    return _in_prose(stated(unmarked(lines[-1]).strip()), announced=False) if lines else None


def _in_prose(sentence: str, announced: bool) -> str | None:
    """The one expression that a sentence states."""
    sentence = CUE.sub("", _no_currency(sentence)).strip().rstrip(".").strip()
    if announced:
        sentence = re.sub(r"(?<=\S)\s*\([A-Za-z -]+\)$", "", sentence)
    bare = re.sub(r"\$|\\[()\[\]]", "", sentence)
    if not _words(bare.replace("π", r"\pi ")) or (announced and OR.search(bare) and not DOUBT.search(OR.sub("", bare))):
        return bare
    if DOUBT.search(sentence):
        return None
    segments = ["".join(filter(None, groups)).strip() for groups in SEGMENT.findall(sentence)]
    segments = [one for one in segments if len(one) > 1 or not one.isalpha()]  # `the value of $x$ is $5$`
    if len(segments) == 1 and not numerals(plain_text(SEGMENT.sub(" ", sentence))):
        return segments[0] + (sentence.rpartition("$")[2] if sentence.count("$") == 2 else "")
    found = numerals(plain_text(bare))
    if not found and len(ratios := RATIO.findall(bare)) == 1:
        return str(ratios[0])
    if len(found) == 1 and not segments:
        text = plain_text(bare)
        start = found[0].start - (text[found[0].start - 1 : found[0].start] in ("-", "–"))
        behind = BEHIND.match(text, found[0].end)
        return text[start : behind.end() if behind else found[0].end]
    return bare if not found and (announced or len(bare.split()) <= SHORT) else None


def _words(text: str) -> list[str]:
    """Words of prose in it: no commands, functions, or unit and noun behind the value."""
    text = TEXT.sub("", text).strip()
    if (behind := WORDS.search(text)) and not set(behind[1].split()) & VERBS:
        text = text[: behind.start()]
    return [word for word in re.findall(r"(?<!\\)\b[A-Za-z]{2,}", text) if word.lower() not in FUNCTIONS]


def _no_currency(text: str) -> str:
    text = re.sub(r"\\\$|[€£¥₹]", "", text)
    return re.sub(r"\$(?=-?\d)", "", text) if text.count("$") % 2 else text


def expression(said: str) -> Expression:
    """An answer taken apart."""
    text = GROUPING.sub(",", unmarked(_no_currency(said)).translate(MINUS).replace("\\left", "").replace("\\right", ""))
    text = re.sub(r"^\s*–", "-", text)
    text = re.sub(r"(?<![\d.,(\[{])\d{1,3}(?:[, ]\d{3})+(?![\d,])", lambda found: re.sub("[, ]", "", found[0]), text)
    for sign, written in (*FRACTIONS.items(), ("√", r"\sqrt "), ("π", r"\pi "), ("×", r"\times "), ("∞", r"\infty ")):
        text = text.replace(sign, written)
    text = re.sub(r"\$|\\[()\[\]]", "", text).strip().rstrip(".").strip()
    if found := BASE.fullmatch(TEXT.sub(r"\1", text)):
        return Expression(text=said, latex=found[1], base=DIGITS.get(found[2]) or int(found[2]))
    text, percent = re.subn(r"\s*(?:\\?%|\\text\{\s*percent\s*\}|\bpercent\b)\s*$", "", text)
    text, unit = _unit(CIRCLE.sub("°", FRACTION_OF_UNITS.sub(r"\\text{\1/\2}", text)))
    text = re.sub(r"(?<=\d)[eE]([-+]?\d{1,3})$", r" \\times 10^{\1}", text)
    text = re.sub(r"(?<![\d.\w])(\d+)\s+(\d+)/(\d+)$", r"\1\\frac{\2}{\3}", text)
    text = REPEATING.sub(_repeating, text)
    text, ratio = re.subn(r"^(\d+)\s*:\s*(\d+)$", r"\1/\2", text)
    if unit is None and "\\$" in said:
        unit = unit_of("dollar")
    return Expression(text=said, latex=", ".join(OR.split(text)), unit=unit, percent=bool(percent), ratio=bool(ratio))


def _unit(text: str) -> tuple[str, Unit | None]:
    """(value, unit); a scale (million) goes into the value, another word is left out."""
    spaced = (
        TEXT.sub(lambda found: f" {found[1]} ", text).replace("~", " ").replace("\\,", " ").replace("\\ ", " ").strip()
    )
    spaced = re.sub(r"\s+\^", "^", spaced)
    found = WORDS.search(spaced)
    if not found or set(re.findall("[a-z]+", found[1])) & FUNCTIONS:
        return text, None
    first, _, rest = found[1].strip().partition(" ")
    value = spaced[: found.start()].rstrip()
    if first in SCALES and len(first) > 1:
        return f"{value} \\times 10^{{{SCALES[first]}}}", unit_of(rest) if rest else None
    unit = unit_of(found[1].strip().rstrip(".")) or unit_of(first)
    if unit is None and len(found[1].strip()) == 1:  # a variable
        return text, None
    return value, unit


def _repeating(found: re.Match[str]) -> str:
    r"""0.1\overline{6} = (16 - 1) / 90."""
    whole, once, again = found[1], found[2], found[3]
    above = int(whole + once + again) - int(whole + once)
    return rf"\frac{{{above}}}{{{'9' * len(again) + '0' * len(once)}}}"


def parsed(latex: str) -> Any:
    """What math-verify makes of it: a list, empty where it finds no mathematics."""
    from math_verify import parse

    return parse(latex if "\\boxed" in latex else f"${latex}$", parsing_timeout=None)

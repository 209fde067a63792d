r"""SQL execution judged by denotation: the same cells, in any order.

A comma and white space, a semicolon, a line break, a tab or a table's bar divides cells, and an answer of several lines
may be a list or a table in Markdown; marks of emphasis, code and quotation around a cell do not count. Numbers are
compared as numbers (3 = 3.0; 1,200 = 1200), text without regard to case, dates as text in ISO form. After the scoring
of Pasupat and Liang 2015 (WikiTableQuestions), which normalises both sides alike.
"""

import re
from collections import Counter
from decimal import Decimal

FENCE = re.compile(r"```\w*\n(.*?)\n?```", re.DOTALL)
BETWEEN = re.compile(r"[,;]\s+|(?<!\d),|,(?!\d)|[\t|]")
BULLET = re.compile(r"(?:[-*•]|\d+[.)])\s+")
RULE = re.compile(r"\|?(?: *:?-{2,}:? *\|?)+")
MARKS = "*`\"'“”‘’"
NUMBER = re.compile(r"[+-]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d{1,3})?")


def denotation_match(output: str, gold: str) -> tuple[bool, str]:
    """(right, reason). The reason says what is missing or too much; empty where right."""
    said, due = Counter(cells(output)), Counter(cells(gold))
    if said == due:
        return True, ""
    missing, extra = list((due - said).elements()), list((said - due).elements())
    if said.total() != due.total():
        return False, f"expected {due.total()} cells, got {said.total()}"
    return False, f"expected {', '.join(missing)}; got {', '.join(extra)}"


def cells(text: str) -> list[str]:
    """The normalised cells of an answer, in order; surrounding white space and a final full stop do not count."""
    text = text.strip()
    if code := FENCE.fullmatch(text):
        text = code[1].strip()
    if text.endswith(".") and not text.endswith(".."):
        text = text[:-1]
    text = _in_brackets(_unmarked(text))
    lines = text.split("\n")
    if len(lines) > 1:
        lines = [BULLET.sub("", line.strip(), count=1) for line in lines if not RULE.fullmatch(line.strip())]
    return [_normal(cell) for line in lines for cell in BETWEEN.split(line) if cell.strip(", ")]


def _in_brackets(text: str) -> str:
    """What stands in a Python list or tuple, or in one row of a result."""
    if text.startswith("[(") and text.endswith(")]"):
        text = re.sub(r"\)\s*,\s*\(", ", ", text[2:-2].rstrip(","))
    whole = len(text) > 1 and text[0] + text[-1] in ("[]", "()") and not set(text[1:-1]) & set("[]()")
    return text[1:-1] if whole else text


def _unmarked(text: str) -> str:
    inner = text.strip("*` ")
    return inner if inner and not set(inner) & set("*`") else text.strip()


def _normal(cell: str) -> str:
    cell = " ".join(cell.split()).rstrip(",")
    bare = cell.strip(MARKS).strip()
    cell = bare if bare and cell[0] in MARKS and cell[-1] in MARKS else cell
    number = cell.replace("−", "-")
    if number[:1] == "–":
        number = "-" + number[1:]
    if NUMBER.fullmatch(number):
        exact = Decimal(number.replace(",", ""))
        return (
            str(int(exact))
            if exact == exact.to_integral_value() and abs(exact.adjusted()) < 100
            else f"{float(exact):.10g}"
        )
    return cell.casefold()

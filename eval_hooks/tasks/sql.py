"""SQL execution judged by denotation: the same cells, in any order.

Cells are separated by a comma and white space. Numbers are compared as numbers (3 = 3.0; 1,200 = 1200), text without
regard to case, dates as text in ISO form. After the scoring of Pasupat and Liang 2015 (WikiTableQuestions), which
normalises both sides alike.
"""

import re
from collections import Counter


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
    if text.endswith(".") and not text.endswith(".."):
        text = text[:-1]
    return [_normal(cell) for cell in re.split(r",\s+", text) if cell.strip()]


def _normal(cell: str) -> str:
    cell = " ".join(cell.split())
    if re.fullmatch(r"[+-]?(\d{1,3}(,\d{3})+|\d+)(\.\d+)?", cell):
        return f"{float(cell.replace(',', '')):.10g}"
    return cell.casefold()

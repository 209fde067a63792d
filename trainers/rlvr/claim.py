"""What of a sentence is claimed: without its reasons, its second thoughts and what it says is not the answer."""

import re

REASONS = re.compile(
    r",?\s+(?:since|because|as|where|which|given|for|when|if)\b|,\s+(?:so|not|and not|but|hence|thus|therefore)\b"
    r"|\s+\(?(?:not|and not|but not|instead of|rather than)\b|[.!?;](?=\s+\S)|\n",
    re.IGNORECASE,
)
"""Where an announced answer ends and something else begins."""
DENIED_BEFORE = re.compile(
    r"(?:\b(?:not|never|neither|nor|cannot be|instead of|rather than|than|except(?: for)?|(?:any|every)thing but|"
    r"all but|without|rul(?:e|es|ed|ing) out|"
    r"(?:eliminat|exclud)(?:e|es|ed|ing)|elimination of)|n't(?: be)?)\s+(?:(?:option|choice|the)\s+)?[\"'(]?$"
    r"|(?:n't|\bnot) (?:think|believe|say)\b[^.\n]*$",
    re.IGNORECASE,
)
"""What stands before something that is not claimed."""
DENIED_AFTER = re.compile(
    r"[\"')]*\s*(?:(?:is|are|was|were|can|could|must|does)\s*(?:not|n't)\b|cannot\b|(?:is|are|was)\s+(?:(?:all|both|also|clearly)\s+)?(?:wrong|incorrect|false|out\b|"
    r"ruled|excluded|eliminated)|isn't\b|can't\b|\?\s*no\b)",
    re.IGNORECASE,
)
"""What stands behind it."""


def stated(announced: str) -> str:
    """The announced answer without what is said about it."""
    found = REASONS.search(announced)
    return announced[: found.start()] if found and found.start() else announced


def denied(text: str, start: int, end: int) -> bool:
    """Whether what stands there is said not to be it."""
    return bool(DENIED_BEFORE.search(text, max(0, start - 60), start) or DENIED_AFTER.match(text, end))

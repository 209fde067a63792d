"""The moment that chat templates are told as `now`: one for a whole run, on all its ranks and whenever it is gone on.

Templates of some models (Llama 3, SmolLM3) write today's date into the prompt with `strftime_now`, which transformers
answers from the clock. A run that asked its base on one day and a checkpoint on the next would ask two questions.
"""

import os
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from data_mix import DataError

VARIABLE = "TEMPERING_DATE"
"""An ISO date, or date and time: the moment for runs that are to be asked alike on different days."""
CLOCKS = frozenset({"strftime_now", "now", "datetime"})
"""Names under which a template asks for the time; transformers knows the first."""
_LITERAL = re.compile(r"strftime_now\(\s*(?:format\s*=\s*)?(['\"])(.*?)\1\s*\)", re.DOTALL)
_TOLD: list[datetime] = []


class Told(datetime):
    """A clock that stands still."""

    @classmethod
    def now(cls, tz: Any = None) -> "Told":
        """The moment that was set, whatever the zone."""
        return cls.fromisoformat(moment().isoformat())


def moment() -> datetime:
    """The moment that was set, else that of the variable, else this one, from then on. In the zone of the machine.

    Raises DataError for a variable that is no date.
    """
    if not _TOLD:
        said = os.environ.get(VARIABLE)
        set_moment(said or datetime.now().isoformat(timespec="seconds"), VARIABLE)
    return _TOLD[0]


def set_moment(said: str, where: str) -> None:
    """Have templates told this moment, in this process. Raises DataError for what is no ISO date, naming `where`."""
    from transformers.utils import chat_template_utils

    try:
        _TOLD[:] = [datetime.fromisoformat(said).replace(tzinfo=None)]
    except (ValueError, TypeError) as error:
        raise DataError(f"{where} {said!r}: no date; write it as 2026-07-31, or 2026-07-31T12:00:00") from error
    chat_template_utils.datetime = Told  # what `strftime_now` of a template asks


def forget() -> None:
    """The next moment that is asked for is that of the variable, or the clock's."""
    _TOLD.clear()


def asks(template: Any) -> Sequence[str]:
    """The names by which a template (text, or several by name) asks for the time; none for most."""
    from jinja2 import TemplateError, meta
    from transformers.utils.chat_template_utils import _compile_jinja_template

    texts = template.values() if isinstance(template, dict) else [template] if template else []
    found: set[str] = set()
    for text in texts:
        if not any(name in text for name in CLOCKS):
            continue
        try:
            environment = _compile_jinja_template(text).environment.overlay()
            environment.globals = {}  # jinja leaves out the names that are there
            found |= CLOCKS & meta.find_undeclared_variables(environment.parse(text))
        except TemplateError:  # said where it is used
            continue
    return sorted(found)


def told(template: Any) -> list[str]:
    """What a template is told of the moment; [] where it does not ask. Of formats that it spells out, only these."""
    if not asks(template):
        return []
    text = str(list(template.values()) if isinstance(template, dict) else template)
    formats = [found[2] for found in _LITERAL.finditer(text)]
    if not formats or len(formats) != text.count("strftime_now("):
        return [moment().isoformat()]
    return [moment().strftime(one) for one in dict.fromkeys(formats)]

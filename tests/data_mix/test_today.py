"""A run's templates are told one moment, whatever the clock says meanwhile."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from transformers.utils import chat_template_utils

from data_mix import DataError, today
from data_mix.build import build
from data_mix.config import DataConfig, SourceSpec
from data_mix.render import Rendering
from data_mix.sources.files import Files

DATED = "{%- set date = strftime_now('%d %b %Y') if strftime_now is defined else 'no date' -%}Today: {{ date }}\n"
LINES = "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}\n{% endfor %}"


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    """As a process begins, and as it was afterwards."""
    before = chat_template_utils.datetime  # type: ignore[attr-defined]
    today.forget()
    yield
    today.forget()
    chat_template_utils.datetime = before  # type: ignore[attr-defined]


def rendered(tokenizer: Any) -> str:
    return tokenizer.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False).splitlines()[0]


def test_a_template_is_told_the_moment_that_was_set(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """31 July 2026, then of the variable, which must be a date."""
    tokenizer.chat_template = DATED + LINES
    today.set_moment("2026-07-31T23:59:59", "test")
    assert rendered(tokenizer) == "Today: 31 Jul 2026"
    today.forget()
    monkeypatch.setenv(today.VARIABLE, "2024-02-29")
    assert today.moment() == datetime(2024, 2, 29) and rendered(tokenizer) == "Today: 29 Feb 2024"
    today.forget()
    monkeypatch.setenv(today.VARIABLE, "yesterday")
    with pytest.raises(DataError, match="TEMPERING_DATE 'yesterday': no date; write it as 2026-07-31"):
        today.moment()


@pytest.mark.parametrize(
    ("template", "names", "said"),
    [(DATED, ["strftime_now"], ["31 Jul 2026"]),
     ('{{ strftime_now("%H:%M") }}{{ strftime_now( format = "%Y" ) }}', ["strftime_now"], ["12:30", "2026"]),
     ("{% set f = '%Y' %}{{ strftime_now(f) }}", ["strftime_now"], ["2026-07-31T12:30:00"]),
     ("{% generation %}{{ now() }}{% endgeneration %}", ["now"], ["2026-07-31T12:30:00"]),
     ({"default": "{{ messages }}", "tool_use": DATED}, ["strftime_now"], ["31 Jul 2026"]),
     ("what is it now? {{ messages }}", [], []), ("{% set now = 1 %}{{ now }}", [], []), (None, [], [])],
)  # fmt: skip
def test_what_a_template_asks_of_the_clock(template: Any, names: list[str], said: list[str]) -> None:
    today.set_moment("2026-07-31T12:30:00", "test")
    assert (today.asks(template), today.told(template)) == (names, said)


def test_rows_of_another_day_are_no_rows_of_this_one(tokenizer: Any, tmp_path: Any) -> None:
    """The cache knows the day; the hour does not matter to a template that does not ask for it."""
    tokenizer.chat_template = DATED + LINES
    row = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
    (tmp_path / "a.jsonl").write_text(row)
    spec = SourceSpec(source="jsonl", name="a", config=Files(path=str(tmp_path / "a.jsonl")))
    made = []
    for moment in ("2026-07-31T01:00:00", "2026-07-31T23:00:00", "2026-08-01T00:00:01"):
        today.set_moment(moment, "test")
        made.append(build(DataConfig(train=(spec,)), tokenizer, Rendering(), tmp_path / "cache"))
    assert [mix.cached for mix in made] == [False, True, False]
    assert "01 Aug 2026" in tokenizer.decode(made[2].train[0]["input_ids"])

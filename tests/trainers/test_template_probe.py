"""A stranger's chat template is tried in bounds before it is compiled here."""

from pathlib import Path
from typing import Any

import pytest

from trainers import TrainError
from trainers.template import read_template, saved_tokenizer, with_system_role
from trainers.template_probe import check_template

WITHOUT_END = {
    "loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "a loop over text": "{% for a in ('x' * 9999999) %}{% for b in ('x' * 9999999) %}{% endfor %}{% endfor %}",
    "a number worked out when it is compiled": "{{ 9**(9**(9**9)) }}",
    "a number worked out when it is rendered": "{% set n = messages|length + 8 %}{{ n**(n**(n**n)) }}",
    "a macro of itself": "{% macro m(n) %}{{ m(n) }}{{ m(n) }}{% endmacro %}{{ m(1) }}",
    "memory": "{{ 'x' * 99999999999 }}",
    "memory, by and by": "{% set ns = namespace(x='x') %}{% for a in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    "in a generation": "{% generation %}{{ 9**(9**(9**9)) }}{% endgeneration %}",
}


@pytest.mark.parametrize("template", WITHOUT_END.values(), ids=WITHOUT_END)
def test_a_template_without_an_end_is_refused(template: str) -> None:
    with pytest.raises(TrainError, match=r"^here: its chat template (took|asked|is nested|ended)"):
        check_template(template, "here")


def test_it_is_refused_wherever_a_template_comes_from(tmp_path: Path, tokenizer: Any) -> None:
    """A recipe's text or file, a model's own, a run folder's."""
    with pytest.raises(TrainError, match=r"model\.chat_template: its chat template"):
        read_template(WITHOUT_END["memory"])
    (tmp_path / "x.jinja").write_text(WITHOUT_END["memory"])
    with pytest.raises(TrainError, match=r"x\.jinja: its chat template"):
        read_template(str(tmp_path / "x.jinja"))
    tokenizer.chat_template = WITHOUT_END["memory"]
    with pytest.raises(TrainError, match="its chat template"):
        with_system_role(tokenizer)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(TrainError, match=f"{tmp_path}: its chat template"):
        saved_tokenizer(tmp_path, trust_remote_code=False)


@pytest.mark.parametrize("template", [
    "{% for m in messages %}{{ m.role }}: {{ m.content | trim }}\n{% endfor %}{{ strftime_now('%d') }}{{ m.x.y }}",
    "{{ raise_exception('no system messages') }}",
    "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}"
    "{% break %}{% endif %}{% endfor %}{{ tools | tojson(indent=2) }}",
    "{{ messages[0]['content'].unknown() }}",
    "{% unknown tag %}",
    "{{ ''.__class__.__mro__ }}",
])  # fmt: skip
def test_what_else_is_wrong_with_one_is_not_said_here(template: str) -> None:
    check_template(template, "here")

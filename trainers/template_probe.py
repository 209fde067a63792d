"""A chat template is a stranger's program: it is tried once in the worker's bounds before this process meets it.

transformers renders it in Jinja's sandbox, which keeps it from files and attributes, and from neither time nor memory:
`{% for a in range(99999) %}` within itself, or `{{ 9**(9**(9**9)) }}`, worked out when a template is compiled.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from eval_hooks.bounded import Call, run_bounded
from eval_hooks.json_text import json_text
from trainers import TrainError

PROBE = Call(module=__name__, factory="rendering", cpu_s=2.0)
TALK = ({"role": "system", "content": "s"}, {"role": "user", "content": "u"}, {"role": "assistant", "content": "a"})


@lru_cache(256)
def check_template(template: str, name: str) -> None:
    """Raise TrainError where a template takes more time or memory for three words than a judgement may.

    What is wrong with it otherwise is said where it is used.
    """
    (found,) = run_bounded(PROBE, [(template,)])
    if found.killed:
        raise TrainError(
            f"{name}: its chat template {found.killed} for three words; write model.chat_template: FILE.jinja"
        )


def rendering() -> Callable[[str], None]:
    """In the worker: compiles a template and renders the talk, with and without an answer to come."""
    from jinja2 import TemplateError, nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """The tag by which transformers finds answers; here its body alone."""

        tags = {"generation"}

        def parse(self, parser: Any) -> list[nodes.Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def refuse(message: str) -> None:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = lambda value, **how: json_text(value, default=str)
    environment.globals |= {"raise_exception": refuse, "strftime_now": lambda how: "", "dict": dict}

    def render(template: str) -> None:
        made = environment.from_string(template)
        for talk, more in ((TALK, False), (TALK[1:2], True)):
            made.render(messages=[*talk], add_generation_prompt=more, tools=None, documents=None,
                        bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>")  # fmt: skip

    return render

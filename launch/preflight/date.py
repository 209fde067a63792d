"""A chat template that writes today's date: what is asked on one day is not what is asked on the next."""

from data_mix.today import VARIABLE, asks, moment, told
from launch.findings import Finding, ok, warn
from launch.preflight.subject import Subject


def check(subject: Subject) -> list[Finding]:
    """One finding."""
    template = subject.tokenizer.chat_template
    names = asks(template)
    if not names:
        return [ok("the chat template asks for no date")]
    whose = subject.recipe.model.chat_template or subject.recipe.model.path
    others = [name for name in names if name != "strftime_now"]
    unknown = f" (transformers gives it no {', '.join(others)})" if others else ""
    said = ", ".join(told(template))
    return [
        warn(
            f"the chat template of {whose} asks for the date with {', '.join(names)}{unknown}: a run that begins now "
            f"is told {said}",
            "a run keeps it, resumed, watched and certified too; to have runs of other days asked alike, set "
            f"{VARIABLE}={moment():%Y-%m-%d}",
        )
    ]

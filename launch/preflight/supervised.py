"""The share of tokens that the loss looks at: none means nothing is learned, few that compute goes into context."""

from launch.findings import Finding, bad, does_not_apply, ok, warn
from launch.preflight.subject import Subject

FEW = 0.01


def check(subject: Subject) -> list[Finding]:
    """One line a source, from the manifest."""
    if not subject.form.labelled(subject.mix.train[0]):
        return [does_not_apply("the model's own answers are trained, all of them")]
    found = []
    for name, facts in subject.mix.manifest["train"].items():
        share = facts["supervised_tokens"] / facts["tokens"]
        text = f"{name}: {facts['supervised_tokens']:,} of {facts['tokens']:,} tokens are trained ({share:.0%})"
        left_out = sum(facts["dropped"].values())
        if left_out:
            text += f"; {left_out:,} of {facts['read']:,} rows left out: {', '.join(facts['dropped'])}"
        if not share:
            found.append(bad(text, "look at the labels: temper data"))
        elif share < FEW:
            found.append(warn(text, "long context for short answers: shorten it, or data.turns: all"))
        elif left_out > facts["read"] / 2:
            found.append(warn(text, "raise train.max_length, or change the data"))
        else:
            found.append(ok(text))
    return found

"""The tokenizer against the model: an id without an embedding, or embeddings that no token reaches."""

from launch.findings import Finding, bad, ok, warn
from launch.preflight.subject import Subject

UNUSED = 0.1
"""Share of a model's rows without a token from which the tokenizer looks like another model's. Padding to a multiple
of 64 or 128 stays under 1 %; Qwen's 151,936 rows for 151,669 tokens are 0.2 %."""


def check(subject: Subject) -> list[Finding]:
    """Rows of the embedding against the ids that the tokenizer can give."""
    rows = subject.config.get_text_config().vocab_size
    tokens, added = len(subject.tokenizer), len(subject.recipe.model.add_tokens)
    if tokens - added > rows:
        more = tokens - added - rows
        trained = subject.recipe.adapter.kind == "none"
        text = f"{tokens - added:,} tokens, the model has {rows:,} rows: {more:,} would be new and random"
        if trained:
            return [warn(text, "take the model's own tokenizer, or name what is new in model.add_tokens")]
        return [bad(f"{text}, and a LoRA does not train them", "name them in model.add_tokens, whose rows are trained")]
    unused = rows - tokens
    if unused > UNUSED * rows:
        text = f"{unused:,} of {rows:,} rows have no token ({unused / rows:.0%})"
        return [warn(text, "look whether the tokenizer is another model's")]
    new = f", {added} new" if added else ""
    return [ok(f"{tokens:,} tokens{new}, {rows:,} rows in the model, {max(0, unused):,} unused")]

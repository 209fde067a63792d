"""The chat template a model reads with: the recipe's or its own, with a place for system messages."""

from pathlib import Path
from typing import Any

from trainers import TrainError
from trainers.template_probe import check_template

FOLDED = (
    "{%- if messages and messages[0]['role'] == 'system' and messages|selectattr('role', 'equalto', 'user')|list -%}"
    "{%- set folded = namespace(text=messages[0]['content'], messages=[]) -%}"
    "{%- if folded.text -%}{%- set folded.text = folded.text ~ '\n\n' -%}{%- endif -%}"
    "{%- for message in messages[1:] -%}{%- if folded.text and message['role'] == 'user' -%}"
    "{%- set folded.messages = folded.messages + [dict(message, content=folded.text ~ message['content'])] -%}"
    "{%- set folded.text = '' -%}"
    "{%- else -%}{%- set folded.messages = folded.messages + [message] -%}{%- endif -%}{%- endfor -%}"
    "{%- set messages = folded.messages -%}{%- endif -%}"
)
"""In front of a template without system messages: such a message begins the first user turn instead."""
BEGIN = "{{- bos_token -}}"
"""In front of a template that leaves the beginning token to the tokenizer."""


def saved_tokenizer(folder: Path, trust_remote_code: bool) -> Any:
    """The tokenizer of a folder that a run has written, as it is. Raises TrainError for a template without an end."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
    if isinstance(tokenizer.chat_template, str):
        check_template(tokenizer.chat_template, str(folder))
    return tokenizer


def read_template(value: str) -> str:
    """Template text of a recipe's `model.chat_template`: a file, or the text itself. Raises TrainError."""
    from jinja2 import TemplateSyntaxError
    from transformers.utils.chat_template_utils import _compile_jinja_template

    if "{" in value:
        text, name = value, "model.chat_template"
    elif Path(value).is_file():
        text, name = Path(value).read_text("utf-8"), value
    else:
        raise TrainError(f"model.chat_template {value!r}: no such file, and no Jinja text")
    check_template(text, name)
    try:
        _compile_jinja_template(text)
    except TemplateSyntaxError as error:
        raise TrainError(f"{name}:{error.lineno}: not a Jinja template: {error.message}") from error
    return text


def with_system_role(tokenizer: Any) -> Any:
    """The tokenizer's template, made to take a system message where it refuses one or leaves it out (Gemma does)."""
    template = tokenizer.chat_template
    if isinstance(template, str):
        check_template(template, tokenizer.name_or_path or "the tokenizer")
    if not isinstance(template, str) or takes_system(tokenizer):
        return template
    return FOLDED + template


def with_begin(tokenizer: Any, template: Any) -> Any:
    """The template with the beginning token in front where the tokenizer adds it to texts and the template does not.

    So a conversation begins alike wherever it is read: a rendered template is tokenised as it stands in training, in
    evaluations, in rollouts, and where the saved model is served.
    """
    begin = tokenizer.bos_token
    if not isinstance(template, str) or not begin or tokenizer("a")["input_ids"][:1] != [tokenizer.bos_token_id]:
        return template
    text = plain_question(tokenizer, template)
    return template if text is None or text.lstrip().startswith(begin) else BEGIN + template


def plain_question(tokenizer: Any, template: str) -> str | None:
    """What a template makes of one user turn; None where it refuses it."""
    from jinja2 import TemplateError

    asked = [{"role": "user", "content": "question"}]
    try:
        return tokenizer.apply_chat_template(asked, chat_template=template, tokenize=False)
    except (TemplateError, TypeError):
        return None


def takes_system(tokenizer: Any) -> bool:
    """Whether a system message reaches the model; also true of a template that cannot render a plain question."""
    from jinja2 import TemplateError

    asked = [{"role": "system", "content": "zqx"}, {"role": "user", "content": "question"}]
    if plain_question(tokenizer, tokenizer.chat_template) is None:
        return True
    try:
        return "zqx" in tokenizer.apply_chat_template(asked, tokenize=False)
    except TemplateError:
        return False


def folds_system(tokenizer: Any) -> bool:
    """Whether a system message becomes a part of the user's turn: by `FOLDED`, or by the template itself."""
    from jinja2 import TemplateError

    template = tokenizer.chat_template
    if not isinstance(template, str) or FOLDED in template:
        return isinstance(template, str)
    asked = [{"role": "system", "content": "zqx"}, {"role": "user", "content": "question"}]
    head = (plain_question(tokenizer, template) or "").partition("question")[0]
    try:
        before, found, _ = tokenizer.apply_chat_template(asked, tokenize=False).partition("zqx")
    except (TemplateError, TypeError):
        return False
    header = head.removeprefix(tokenizer.bos_token or "").strip()
    return bool(found and header and before.startswith(head))

"""Secrets in what is written: each is replaced by `***`, whatever writes it.

A secret is known by its key (`hub_token`, `api_key`), by its shape (`hf_...`, `sk-...`), by its place in a URL
(`https://user:password@host`), or because a variable of the environment that is named like one has that value.
Quantifiers are bounded: the text may be a model's or a stranger's.
"""

import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, TextIO
from urllib.parse import quote

MASK = "***"
SHORTEST = 8
"""Characters of a variable's value that is looked for in other texts; a shorter one would be found in any of them."""

STRONG = frozenset(
    "secret secrets password passwords passwd passphrase passcode pwd apikey apikeys credential credentials "
    "authorization bearer cookie cookies accesskey secretkey privatekey authtoken accesstoken hubtoken hftoken".split()
)
"""Words that make a key a secret's wherever they stand in it."""
ABOUT = frozenset(
    "path file dir folder name id ids type types count length limit budget ttl expiry env var variable field column "
    "url uri index weight size rate ratio mask probability".split()
)
"""Last words of a key that says something about a secret, or of tokens in general, and is none."""
OF_TEXT = frozenset(
    "eos bos pad unk sep cls mask image audio video vision boi eoi boa eoa eot eom eod start end begin stop first last "
    "next previous new per each by a of the special additional think thinking tool unknown prefix suffix middle fim "
    "box patch role turn user assistant system prompt answer option letter gold any every same".split()
)
"""Words before `token` in keys of tokenizers and of counts."""
OF_ACCESS = frozenset(
    "api access auth oauth private secret signing encryption ssh account shared master deploy service session license "
    "subscription storage security refresh personal bot jwt webhook client hf hub huggingface wandb github gitlab "
    "openai anthropic azure aws gcp google together mistral cohere ngc comet mlflow neptune kaggle slack".split()
)
"""Words before `key` or `tokens` in names of what opens something."""
IN_QUERIES = frozenset("sig signature token key auth jwt sas code password secret apikey credential".split())
"""Last words of a parameter of a URL that is a secret, as in X-Amz-Signature."""

URL = re.compile(
    r"(?<![A-Za-z0-9+.\-])([A-Za-z][A-Za-z0-9+.\-]{0,20}:/{1,3})"
    r"(?:[^\s/?#:'\"<>]{0,128}:[^\s/'\"<>]{0,256}|[^\s/?#'\"<>]{1,256})@"
)
QUERY = re.compile(r"([?&;]([\w\-.]{1,60})=)([^\s&#'\"<>;]{1,4096})")
SHAPES = re.compile(
    r"(?<![\w\-])(?:"
    r"hf_[A-Za-z0-9]{16,200}|api_org_[A-Za-z0-9]{16,200}|sk-[A-Za-z0-9_\-]{16,300}|gsk_[A-Za-z0-9]{20,200}"
    r"|gh[pousr]_[A-Za-z0-9]{16,300}|github_pat_[A-Za-z0-9_]{16,300}|gl[a-z]{2,6}-[A-Za-z0-9_\-]{16,200}"
    r"|(?:AKIA|ASIA)[0-9A-Z]{16}(?![0-9A-Za-z])|AIza[\w\-]{30,60}|xox[a-z]-[A-Za-z0-9\-]{10,300}"
    r"|nvapi-[\w\-]{16,200}|dckr_pat_[\w\-]{16,200}|npm_[A-Za-z0-9]{30,60}|pypi-[\w\-]{32,300}"
    r"|wandb_v\d_\w{20,200}"
    r"|eyJ[\w\-]{8,4096}\.[\w\-]{8,4096}\.[\w\-]{0,4096}"
    r")"
)
BEARER = re.compile(r"(?i)\b((?:bearer|basic)\s{1,4})(?=[\w.~+/=\-]{0,4096}[0-9])[\w.~+/=\-]{8,4096}")
LOGIN = re.compile(
    r"(?i)(?<![\w.\-])((?:proxy-authorization|authorization|x-api-key|x-auth-token|x-token)\s{0,3}:\s{1,3}"
    r"|wandb\slogin\s{1,3}(?:--\w{1,20}\s{1,3}){0,3}(?=[0-9a-f]{40})|login\s{1,3}\S{1,80}\spassword\s{1,3})"
    r"(?!\*\*\*)([^\s\"'{\[][^\"'\n]{0,4096})"
)
"""A header, a command, a line of ~/.netrc."""
VARIABLE = re.compile(
    r"(?<![\w.\-])([A-Z][A-Z0-9_]{2,60})=([^\s\"'`,;&|)}\]]{1,4096}|\"[^\"\n]{1,4096}\"|'[^'\n]{1,4096}')"
)
PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)", re.DOTALL
)
QUOTED = r"\"(?:[^\"\\\n]|\\.){0,4096}\"|'(?:[^'\\\n]|\\.){0,4096}'"
KEY = r"(?<![\w.\-])(?P<key>[\w.\-]{1,120})[\"']?"
ASSIGNED = re.compile(KEY + r"(?:(?<![=!<>])=(?![=\s])|\s{0,3}[=:]\s{0,3}(?=[\"']))")
"""`key=value` and `"key": "value"`; `key = value` is a line of code in a traceback, `key: value` begins a sentence."""
ASSIGNED_VALUE = re.compile(QUOTED + r"|[^\s,;&)}\]\"']{1,4096}")
OPTION = re.compile(r"(?<![\w\-])--(?P<key>[\w\-]{1,120})\s{1,3}")
OPTION_VALUE = re.compile(QUOTED + r"|(?!-)\S{1,4096}")
WRITTEN = re.compile(KEY + r"[ \t]{0,20}[:=][ \t]{0,20}")
WRITTEN_VALUE = re.compile(QUOTED + r"|[^\n,;}\]\"'{\[|>&*#\s](?:[^\n,;}\]#]|(?<!\s)#){0,4096}")
COMMENT = re.compile(r"(?:^|(?<=\s))#[^\n]*", re.MULTILINE)


@lru_cache(4096)
def is_secret(key: str) -> bool:
    """Whether a key is a secret's: `hub_token`, `AWS_SECRET_ACCESS_KEY`; not `eos_token`, `max_tokens`, `role_key`."""
    words = _words(key)
    if not words or words[-1] in ABOUT or "/" in key:  # `eval/secret_keeping/accuracy` is a number's
        return False
    if words in (["pass"], ["auth"]) or not STRONG.isdisjoint(words):
        return True
    before = words[-2] if len(words) > 1 else ""
    if words[-1] == "token":
        return before not in OF_TEXT
    return words[-1] in ("key", "keys", "tokens", "auth", "pat") and before in OF_ACCESS


def hides(key: str, value: Any) -> bool:
    """Whether the value of a key is a secret: its key says so, and it is no number, switch or special token."""
    if value is None or isinstance(value, bool) or value in ("", MASK):
        return False
    if not isinstance(value, str):
        return isinstance(value, int) and is_secret(key) and not STRONG.isdisjoint(_words(key))
    text = value.strip().strip("\"'")
    if not text or text == MASK or text.lower() in ("null", "none", "true", "false", "~"):
        return False
    if re.fullmatch(r"\$\{?\w+\}?|<.*>|\[[A-Z_ ]+\]|<?\|.*\|>?", text, re.DOTALL):  # $HF_TOKEN, </s>, [PAD]
        return False
    if re.fullmatch(r"[-+]?[0-9.]+(?:e[-+]?[0-9]+)?", text):
        return is_secret(key) and not STRONG.isdisjoint(_words(key))
    return is_secret(key) or (_words(key)[-1:] == ["key"] and looks_random(text))


@lru_cache(4096)
def _may_hide(key: str) -> bool:
    return is_secret(key) or _words(key)[-1:] == ["key"]


def looks_random(text: str) -> bool:
    """Whether a value under a key of any kind (`key: ...`) can only be one that opens something."""
    return bool(re.fullmatch(r"(?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9+/=_\-]{20,}", text))


def _words(key: str) -> list[str]:
    """The words of a key's last part, in lower case: `train.hub_token`, `hubToken` and `HUB-TOKEN` give hub, token."""
    last = key.rstrip(".").rpartition(".")[2]
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+", last)]


def own_secrets() -> list[str]:
    """Values of this process's variables that are named like secrets, the longest first; with their form in a URL."""
    found = set()
    for name, value in os.environ.items():
        if len(value) >= SHORTEST and hides(name, value) and not os.path.exists(value):
            found |= {value, quote(value, safe="")}
    return sorted(found, key=len, reverse=True)


def masked_text(text: str) -> str:
    """Any text, a model's too: without passwords in URLs, tokens of known shapes, and values of this process's own."""
    return _without(text, own_secrets())


def _without(text: str, known: Sequence[str]) -> str:
    for secret in known:
        text = text.replace(secret, MASK)
    text = URL.sub(rf"\1{MASK}@", text)
    text = QUERY.sub(lambda found: found[1] + MASK if _opens(found[2]) else found[0], text)
    text = VARIABLE.sub(lambda found: f"{found[1]}={MASK}" if hides(found[1], found[2]) else found[0], text)
    return PRIVATE_KEY.sub(MASK, BEARER.sub(rf"\1{MASK}", SHAPES.sub(MASK, text)))


def _opens(parameter: str) -> bool:
    words = _words(parameter)
    return is_secret(parameter) or bool(words) and words[-1] in IN_QUERIES


def masked_message(text: str) -> str:
    """A text of the program's own, as an error or a traceback: also what is assigned to a key, `key='value'`."""
    text = LOGIN.sub(rf"\1{MASK}", masked_text(text))
    text = _after_keys(text, ASSIGNED, ASSIGNED_VALUE)
    return _after_keys(text, OPTION, OPTION_VALUE)


def _after_keys(text: str, key: re.Pattern[str], value: re.Pattern[str]) -> str:
    """The text with the values behind secrets' keys masked."""
    out, at = [], 0
    for found in key.finditer(text):
        rest = value.match(text, found.end()) if found.start() >= at and _may_hide(found["key"]) else None
        if rest and hides(found["key"], rest[0]):
            quote = rest[0][0] if rest[0][0] in "\"'" else ""
            out += [text[at : found.end()], quote, MASK, quote]
            at = rest.end() - (len(rest[0]) - len(rest[0].rstrip()))
    return "".join([*out, text[at:]])


def masked_words(words: Sequence[str]) -> list[str]:
    """A command's words: `key=value`, with YAML for a value, and `--key value`."""
    out: list[str] = []
    for word in words:
        path, equals, value = word.partition("=")
        if out and words[len(out) - 1].startswith("--") and hides(words[len(out) - 1], word):
            out.append(MASK)
        elif equals and any(hides(part, value) for part in path.split(".")):
            out.append(f"{path}={MASK}")
        else:
            out.append(f"{masked_text(path)}={masked_yaml(value)}" if equals else masked_message(word))
    return out


def masked_yaml(text: str) -> str:
    """A recipe's text: the values of secrets' keys however they are written, also in comments."""
    try:
        spans = sorted(_spans(text))
    except Exception:  # no YAML: looked through as if it were a comment
        return _after_keys(masked_message(text), WRITTEN, WRITTEN_VALUE)
    out, at = [], 0
    for begin, end in spans:
        if begin >= at:
            out += [text[at:begin], f'"{MASK}"' + "\n" * text[begin:end].endswith("\n")]
            at = end
    text = "".join([*out, text[at:]])
    return masked_message(COMMENT.sub(lambda found: _after_keys(found[0], WRITTEN, WRITTEN_VALUE), text))


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Where the scalars under secrets' keys stand."""
    import yaml

    def walk(node: Any, key: str, secret: bool) -> Iterator[tuple[int, int]]:
        if (id(node), secret) in seen:  # an alias; many of them are a bomb
            return
        seen.add((id(node), secret))
        if isinstance(node, yaml.MappingNode):
            for name, child in node.value:
                yield from walk(child, str(name.value), secret or (is_secret(str(name.value)) and not _scalar(child)))
        elif isinstance(node, yaml.SequenceNode):
            for child in node.value:
                yield from walk(child, key, secret)
        elif node.value and (secret or hides(key, node.value)):
            yield node.start_mark.index, node.end_mark.index

    def _scalar(node: Any) -> bool:
        return isinstance(node, yaml.ScalarNode)

    seen: set[tuple[int, bool]] = set()
    top = yaml.compose(text, Loader=yaml.SafeLoader)
    return walk(top, "", False) if top is not None else iter(())


def masked(value: Any) -> Any:
    """Nested maps and lists, as JSON has them: the values of secrets' keys, and secrets in texts and keys."""
    known = own_secrets()

    def walk(value: Any, key: str, secret: bool) -> Any:
        if isinstance(value, Mapping):
            secret = secret or _is_login(key, value)
            return {
                _without(name, known) if isinstance(name, str) else name: walk(child, str(name), secret)
                for name, child in value.items()
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [walk(child, key, secret) for child in value]
        if not isinstance(value, str):
            return MASK if hides(key, value) else value
        return MASK if value and (secret or hides(key, value)) else _without(value, known)

    return walk(value, "", False)


def _is_login(key: str, value: Mapping[Any, Any]) -> bool:
    """Whether a map is a secret's parts, as `credentials: {user: ..., pass: ...}`.

    What is said of a task or a source that is called so is deeper.
    """
    plain = not any(isinstance(child, Mapping | list | tuple) for child in value.values())
    return plain and is_secret(key) and not STRONG.isdisjoint(_words(key))


class MaskedStream(io.TextIOWrapper):
    """Standard output or error whose texts are masked: what libraries say, too, and what a log copies."""

    def write(self, text: str) -> int:
        """Write it masked."""
        super().write(masked_text(text))
        return len(text)


def masked_stream(stream: TextIO) -> TextIO:
    """A stream of the process, masked; one that is no file stays."""
    if not isinstance(stream, io.TextIOWrapper) or isinstance(stream, MaskedStream):
        return stream
    return MaskedStream(
        stream.buffer, encoding=stream.encoding, errors=stream.errors, line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )  # fmt: skip

"""Secrets are masked in whatever form they are written, and what is none stays as it is."""

import io
import json
from pathlib import Path

import pytest

from eval_hooks.masking import MaskedStream, is_secret, masked, masked_message, masked_text, masked_words, masked_yaml

ROOT = Path(__file__).parents[2]
SECRET = "hunter2-Kaninchen"
KEYS = """
token hub_token hf_token HF_TOKEN HUGGING_FACE_HUB_TOKEN hubToken push_to_hub_token use_auth_token access_token my_token
api_key apiKey apikey x-api-key OPENAI_API_KEY WANDB_API_KEY secret client_secret AWS_SECRET_ACCESS_KEY
AWS_SESSION_TOKEN password passwd db_password PGPASSWORD_SECRET credentials private_key account_key authorization
Authorization auth passphrase train.hub_token api_tokens
""".split()
ORDINARY = """
eos_token pad_token bos_token image_token eos_token_id add_tokens until_tokens skip_tokens batch_tokens max_new_tokens
max_tokens num_tokens n_tokens prompt_tokens supervised_tokens tokens token_type token_type_ids role_key content_key
metric metric_for_best_model keys key primary_key per_token loss_per_token tokenizer TOKENIZERS_PARALLELISM passed
average_tokens_across_devices alora_invocation_tokens trainable_token_indices HF_TOKEN_PATH hit_limit keep author
include_num_input_tokens_seen passages bypass compass monkey turkey secretary keyboard
""".split()


@pytest.mark.parametrize("key", KEYS)
def test_a_secret_is_masked_by_its_key(key: str) -> None:
    for value in (SECRET, [SECRET], {"a": SECRET} if key in ("credentials", "secret") else SECRET):
        assert SECRET not in json.dumps(masked({"x": [{key: value}]}))
    for written in (f"{key}={SECRET}", f"'{key}': '{SECRET}'", f'"{key}": "{SECRET} b"', f"f({key}='{SECRET}')"):
        assert SECRET not in masked_message(written), written
    for word in (f"{key}={SECRET}", f"train.a.{key}={SECRET}", f"data.train=[{{source: x, {key}: {SECRET}}}]"):
        assert SECRET not in masked_words([word])[0], word
    if "." not in key:
        assert SECRET not in " ".join(masked_words(["train", f"--{key}", SECRET]))
    for yaml in (
        f"a: {{{key}: {SECRET}, b: 1}}",
        f"{key}: '{SECRET}'",
        f"{key}: |\n  {SECRET}\n  more",
        f"{key}:\n- {SECRET}",
        f"# {key}: {SECRET}",
        f"a: 1  # was {key}={SECRET}",
        f"b: [\n{key}: {SECRET}",
    ):
        assert SECRET not in masked_yaml(yaml), yaml


@pytest.mark.parametrize("key", ORDINARY)
def test_ordinary_keys_stay(key: str) -> None:
    assert not is_secret(key)
    value = {"a": {key: "some value"}, "b": [{key: 5}], "c": {key: 0.25}, key: None}
    assert masked(value) == value
    for text in (f"{key}: some value", f"# {key}: value", f"{key}: 5"):
        assert masked_yaml(text) == text
    assert masked_message(f"{key}='x' {key}=5") == f"{key}='x' {key}=5"
    assert masked_words([f"train.{key}=value", f"--{key}", "value"]) == [f"train.{key}=value", f"--{key}", "value"]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("https://user:geheim@host/x", "https://***@host/x"),
        ("https://geheim@host/x", "https://***@host/x"),
        ("git+https://geheim:x-oauth-basic@github.com/a", "git+https://***@github.com/a"),
        ("s3://key:geheim@bucket/a", "s3://***@bucket/a"),
        ("https:/user:geheim@host/x.jsonl", "https:/***@host/x.jsonl"),
        ("https://user:ge?heim#1@host", "https://***@host"),
        ("https://user:ge@heim@host", "https://***@host"),
        ("https://host/f?a=1&X-Amz-Signature=geheim&b=2", "https://host/f?a=1&X-Amz-Signature=***&b=2"),
        ("https://host/f?sig=geheim", "https://host/f?sig=***"),
        ("https://host/f?token=geheim", "https://host/f?token=***"),
        ("Authorization: Bearer geheim0123456", "Authorization: Bearer ***"),
        ("see hf_geheimgeheimgeheim12 there", "see *** there"),
        ("sk-geheim0123456789abcd", "***"),
        ("ghp_geheimgeheimgeheim1234", "***"),
        ("github_pat_geheimgeheim_1234567", "***"),
        ("AKIAGEHEIMGEHEIM1234", "***"),
        ("xoxb-12345-geheim", "***"),
        ("-----BEGIN RSA PRIVATE KEY-----\ngeheim\n-----END RSA PRIVATE KEY-----", "***"),
    ],
)
def test_secrets_are_masked_by_their_shape(text: str, left: str) -> None:
    assert masked_text(text) == left
    assert masked({"note": text, "list": [text]}) == {"note": left, "list": [left]}


@pytest.mark.parametrize(
    "text",
    [
        "git@github.com:a/b.git", "https://host:8000/v1", "hf://datasets/a/b@main/x.parquet", "mail me@host.org",
        "no pad token: set model.pad_token", "task-specific", "hf_transfer", "the bearer of this letter",
        "model.eos_token='<|im_end|>'", "token: '</s>'", "https://host/f?max_tokens=5&page=2", "a == b", "hub_token=$HF_TOKEN",
    ],
)  # fmt: skip
def test_what_looks_a_little_like_a_secret_stays(text: str) -> None:
    assert masked_text(text) == text and masked_message(text) == text


def test_a_masked_recipe_is_yaml_and_a_masked_line_of_json_is_json() -> None:
    import yaml

    text = masked_yaml(f"a: {{token: {SECRET}, b: 1}}\nurl: https://u:{SECRET}@host\npassword: |\n  {SECRET}\nc: 2\n")
    assert yaml.safe_load(text) == {"a": {"token": "***", "b": 1}, "url": "https://***@host", "password": "***", "c": 2}
    assert json.loads(masked_message(json.dumps({"api_key": SECRET, "n": 1}))) == {"api_key": "***", "n": 1}


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: token {SECRET}", f"curl -H 'X-Api-Key: {SECRET}'", f"HF_TOKEN={SECRET} temper train",
        f"export HF_TOKEN='{SECRET}'", f"machine api.wandb.ai login user password {SECRET}",
        f"mysql://root:{SECRET}@db/x",
    ],
)  # fmt: skip
def test_headers_commands_and_logins_are_masked(text: str) -> None:
    assert SECRET not in masked_message(text) and SECRET not in masked_yaml(f"a: 1  # {text}")


def test_values_of_own_variables_are_masked_anywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SOME_API_KEY", "Lange/Ohren 7")
    monkeypatch.setenv("MY_TOKEN", "short")
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path))
    monkeypatch.setenv("MAX_TOKENS", "123456789")
    text = f"Lange/Ohren 7, Lange%2FOhren%207, short, {tmp_path}, 123456789"
    assert masked_text(text) == f"***, ***, short, {tmp_path}, 123456789"


def test_shipped_recipes_and_their_schema_stay() -> None:
    for file in (ROOT / "recipes").rglob("*.yaml"):
        assert masked_yaml(file.read_text("utf-8")) == file.read_text("utf-8"), file
    for file in (ROOT / "recipes").rglob("*.json"):
        tree = json.loads(file.read_text("utf-8"))
        assert masked(tree) == tree, file


def test_masking_twice_is_masking_once() -> None:
    for text in (f"hub_token: {SECRET}", f"https://u:{SECRET}@host", f"api_key='{SECRET}'"):
        assert masked_yaml(masked_yaml(text)) == masked_yaml(text) != text
    tree = {"api_key": SECRET, "url": f"https://u:{SECRET}@host"}
    assert masked(masked(tree)) == masked(tree) != tree


def test_a_stream_masks_what_is_written_to_it() -> None:
    raw = io.BytesIO()
    stream = MaskedStream(raw, encoding="utf-8")
    print(f"from https://u:{SECRET}@host", file=stream, flush=True)
    assert raw.getvalue() == b"from https://***@host\n"


@pytest.mark.parametrize("text", ["a." * 20_000, "a://" * 12_000, "eyJ" * 12_000, "x=" * 20_000, "-----BEGIN PRIVATE KEY-----" * 1200, "&a=b" * 12_000, "'" * 24_000, "token: " * 6_000])  # fmt: skip
def test_hostile_text_costs_no_time(text: str) -> None:
    """Linear in its length: all of it in far less than the 20 s that a quadratic search would take."""
    import time

    begin = time.monotonic()
    masked_message(text)
    masked_yaml(f"# {text}")
    assert time.monotonic() - begin < 20


def test_what_is_measured_of_a_task_that_is_called_so_stays() -> None:
    entry = {"status": "ok", "error": None, "accuracy": {"value": 0.5, "n": 10}, "dropped": {}}
    tree = {"tasks": {"password": entry, "secret_keeping": entry}, "eval/password/accuracy": 0.5, "secret": 0.25,
            "eval/api_key/status": "ok", "calibration": {"password": {"temperature": 1.5, "n": 3}}}  # fmt: skip
    assert masked(tree) == tree
    assert masked({"credentials": {"user": "me", "pass": SECRET}}) == {"credentials": {"user": "***", "pass": "***"}}

"""What is published says nothing of the machine it was made on, and a stranger's text in it stays text."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt

from trainers.card import card, fence, inline
from trainers.impersonal import impersonal, impersonal_tree

EVIL = "x|y` <script>alert(1)</script>\n\n# Heading\n| a | b |\n````\n[click](http://evil) ![p](http://evil) *bold* ~~~"
E = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 10, "method": "", "reason": ""}


@pytest.fixture
def somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user and a machine with names of their own."""
    monkeypatch.setenv("HOME", "/home/kaninchen")
    monkeypatch.setenv("USER", "kaninchen")
    monkeypatch.setattr("platform.node", lambda: "stallhase.example.org")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("# /home/kaninchen/work/tiny.yaml", "# tiny.yaml"),
        ("path: ../../secret/x.jsonl", "path: x.jsonl"),
        ("path: '/home/kaninchen/my data/x.jsonl'", "path: 'x.jsonl'"),
        ("path: data/deep/x.jsonl", "path: x.jsonl"),
        ("path: data/x.jsonl", "path: x.jsonl"),
        ("path: /srv/data/", "path: data"),
        ("path: ~/x", "path: x"),
        ("in /home/kaninchen", "in ~"),
        ("in /home/other.", "in ~"),
        ("by kaninchen on stallhase", "by user on host"),
        ("file:///srv/a/b.txt", "b.txt"),
        (r"C:\Users\kaninchen\x.txt", "x.txt"),
        ("[Errno 2] No such file: '/home/kaninchen/a/b'", "[Errno 2] No such file: 'b'"),
        ("path: meta-llama/Llama-3.2-1B", "path: meta-llama/Llama-3.2-1B"),
        ("https://huggingface.co/a/b/c", "https://huggingface.co/a/b/c"),
        ("and/or, 1/2/3, 3 / 4", "and/or, 1/2/3, 3 / 4"),
        ("https://u:geheim@host/a", "https://***@host/a"),
    ],
)
def test_of_a_path_the_name_is_left(somebody: None, text: str, left: str) -> None:
    assert impersonal(text) == left


def test_a_configuration_keeps_all_but_whole_paths(somebody: None) -> None:
    tree = {"_name_or_path": "/home/kaninchen/models/base", "chat_template": "{{ x }} /a/b c", "unk_token": "</s>"}
    assert impersonal_tree(tree, whole=True) == {**tree, "_name_or_path": "base"}


@pytest.fixture
def subject(tmp_path: Path, somebody: None) -> Any:
    """What a card is made from, hostile wherever a text is somebody's."""
    run = tmp_path / "runs" / "evil"
    (run / "evals/step-2").mkdir(parents=True)
    (run / "evals/step-0").mkdir()
    task = {"role": "retain", "status": "ok", "accuracy": E, "calibration": {"ece": E}, "retention": {
        "delta": E, "verdict": EVIL, "baseline_step": 0}}  # fmt: skip
    failed = {"role": "target", "status": "failed", "error": f"{EVIL} in /home/kaninchen/a/b.jsonl", "accuracy": None}
    summary = {"tasks": {"sql": task, "broken": failed}, "validation": {"held": {"loss": E}}, "precision": "float32"}
    for step in (0, 2):
        (run / f"evals/step-{step}/summary.json").write_text(json.dumps(summary))
    (run / "recipe.resolved.json").write_text(json.dumps({"model": {"path": "/home/kaninchen/models/base"}}))
    (run / "data.manifest.json").write_text(json.dumps({"train": {EVIL: {"rows": 3}}}))
    (run / "recipe.yaml").write_text(
        "# /home/kaninchen/evil.yaml\n# ````\n# `````` out\n~~~~~~~~~\n# hub_token: geheimes-wort\nstage: sft\n"
        f"data: {{train: [{{source: jsonl, path: {tmp_path}/rows.jsonl}}]}}\n"
    )
    adapter = SimpleNamespace(kind="none")
    recipe = SimpleNamespace(name=EVIL, stage="sft", method=SimpleNamespace(name="nll"), adapter=adapter)
    return SimpleNamespace(
        recipe=recipe, place=SimpleNamespace(folder=run, root=run), evaluation=run / "evals/step-2", step=2,
        start_step=0,
    )  # fmt: skip


def test_a_card_of_hostile_texts_is_one_recipe_and_whole_tables(subject: Any, tmp_path: Path) -> None:
    row = {"form": f"{EVIL}bit", "largest": 0.0, "flips": 0, "retention": {"delta": E, "verdict": "kept"}}
    text = card(subject, {"rows": [row]}, "", has_temperature=True)
    head, body = text.split("\n---\n", 1)
    data = yaml.safe_load(head.removeprefix("---\n"))
    assert data["model-index"][0]["name"].startswith("x|y`") and "base_model" not in data
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(body)
    code = [token for token in tokens if token.type == "fence"]
    assert [token.info for token in code] == ["python", "yaml"] and "stage: sft" in code[1].content
    assert not any(token.type in ("html_block", "html_inline", "code_block") for token in tokens)
    inside = [child for token in tokens for child in token.children or ()]
    assert {child.attrs.get("href") for child in inside if child.type == "link_open"} == {
        "https://pypi.org/project/tempering"
    }
    assert not any(child.type in ("image", "html_inline", "s_open", "em_open") for child in inside)
    assert [token.tag for token in tokens if token.type == "heading_open"] == ["h1", *["h2"] * 4]
    widths, count = [], 0
    for token in tokens:
        count = 0 if token.type == "tr_open" else count + (token.type in ("td_open", "th_open"))
        widths += [count] if token.type == "tr_close" else []
    assert widths == [7, 7, 7, 4, 4]
    assert "| 0.500 -&gt; 0.500 |" in text  # ECE has no interval that the card's 95 % would be true of
    for secret in ("kaninchen", "stallhase", "geheimes-wort", str(tmp_path), "models/base"):
        assert secret not in text


def test_the_reason_for_no_certificate_has_no_path(subject: Any) -> None:
    doubt = "it has no certificate; temper certify /home/kaninchen/runs/evil/checkpoints/checkpoint-2 makes one"
    text = card(subject, None, doubt, has_temperature=False)
    assert "temper certify checkpoint-2 makes one" in text and "kaninchen" not in text


def test_a_card_says_what_was_not_measured(subject: Any) -> None:
    """A validation set that failed, and a step that has no evaluation at all."""
    summary = json.loads((subject.evaluation / "summary.json").read_text())
    summary["validation_failed"] = {"apart": "out of memory in /home/kaninchen/a/b.jsonl"}
    (subject.evaluation / "summary.json").write_text(json.dumps(summary))
    text = card(subject, None, "none", has_temperature=False)
    assert "Held-out loss, held: " in text and " -&gt; " in text
    assert "Held-out loss, apart: not measured: out of memory in b.jsonl." in text
    subject.evaluation = subject.evaluation.with_name("step-1")
    text = card(subject, None, "none", has_temperature=False)
    assert "Nothing: the run has no numbers of step 2." in text and "By the trainer" not in text
    assert "| task |" not in text and "model-index" not in text


def test_a_fence_is_longer_than_any_inside() -> None:
    assert fence("none") == "````" and fence("a ````` b") == "``````" and fence("~~~~~~") == "`" * 7
    assert inline(" a\n\n|b ") == r"a \|b"

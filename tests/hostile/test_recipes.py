"""A recipe that multiplies, nests, or is none: a sentence with its place, soon."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from launch.cli import app
from launch.compose import read
from launch.deepspeed import read as read_deepspeed
from launch.load import load, load_any
from launch.nodes import DEEPEST, LONGEST, MOST, Place, parse
from launch.nodes import Node as Tree
from launch.problems import RecipeError
from launch.typed import Report
from tests.hostile.files import DEEP, DIGITS, FOLDER_JSON, NESTED

SOUND = "stage: sft\nmodel: {path: m}\ndata: {train: [{source: curriculum, n: 4}]}\n"


def laughs(levels: int = 40, wide: int = 9) -> str:
    """Each level names the one before several times."""
    lines = ["a0: &a0 [x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * wide)}]" for i in range(1, levels)]
    return "\n".join(lines) + "\n"


def merges(levels: int = 40) -> str:
    """The same through merge keys."""
    lines = ["a0: &a0 {k: 1}"]
    lines += [f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}, *a{i - 1}], k{i}: 1}}" for i in range(1, levels)]
    return "\n".join(lines) + "\n"


BOMBS = {
    "laughs": (laughs(), r"run\.yaml:\d+:\d+: with its aliases written out more than"),
    "merges": (merges(), r"run\.yaml:\d+:\d+: with its aliases written out more than"),
    "deep aliases": ("a0: &a0 x\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 200)), r"run\.yaml:\d+"),
    "brackets": ("a: " + "[" * 3000 + "]" * 3000, r"run\.yaml:1:\d+: not YAML: maps and lists nest more than 60 deep"),
    "open brackets": ("a: " + "[" * 3000, r"run\.yaml:1:\d+: not YAML: maps and lists nest"),
    "braces": ("a: " + "{a: " * 3000, r"run\.yaml:1:\d+: not YAML: maps and lists nest"),
    "indented": ("".join(" " * i + "a:\n" for i in range(1000)), r"run\.yaml:6\d:\d+: not YAML: maps and lists nest"),
    "dashes": ("- " * 3000 + "a", r"run\.yaml:1:\d+: not YAML: maps and lists nest"),
    "digits": (
        f"{SOUND}train: {{max_steps: {DIGITS}}}\n",
        r"run\.yaml:4:\d+: '9+ \.\.\.: a whole number of more than 64 bits",
    ),
    "zero digits": (f"a: 0{DIGITS}", r"run\.yaml:1:4: '09+ \.\.\.: a whole number"),
    "hexadecimal": ("a: 0x" + "f" * 5000, r"run\.yaml:1:4: '0xf+ \.\.\.: a whole number"),
    "a float past all floats": ("a: 1e999", r"run\.yaml:1:4: '1e999': larger than any number; write a smaller one"),
    "65 bits": (f"a: {2**63}", r"run\.yaml:1:4: '9223372036854775808': a whole number of more than 64 bits"),
    "digits by tag": (f"a: !!int {DIGITS}", r"run\.yaml:1:4: '9+ \.\.\.: a whole number"),
    "key of digits": (f"{DIGITS[:500]}: 1", r"run\.yaml:1:1: key '9+ \.\.\. is not text"),
    "nul": ('a: "\\0"', r"run\.yaml:1:4: .*NUL"),
    "nul in a key": ('"\\0": 1', r"run\.yaml:1:1: .*NUL"),
    "half": ('a: "\\ud800"', r"run\.yaml:1:4: .*half of a character"),
    "raw nul": ("a: 1\nb: \0", r"run\.yaml:2:4: not YAML: the character '\\x00' is not allowed"),
    "escape": ("a: 1\nb: \x1b[2J", r"run\.yaml:2:4: not YAML: the character '\\x1b' is not allowed"),
    "itself": ("a: &a [*a]", r"run\.yaml:1:\d+: an anchor that contains itself"),
    "long": ("#" * (LONGEST + 1), r"more than 1,048,576 characters; this is no recipe"),
    "many": ("a: [" + "1, " * (MOST + 1) + "1]", r"run\.yaml:1:\d+: with its aliases"),
}


@pytest.fixture(autouse=True)
def _soon() -> Iterator[None]:
    """Generous: a bomb would take years."""
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_answered_with_its_place(bomb: str, recipe: Callable[..., str]) -> None:
    content, message = BOMBS[bomb]
    with pytest.raises(RecipeError, match=f"^{message}" if message.startswith("run") else message) as caught:
        os.chdir(Path(recipe(content)).parent)
        load("run.yaml")
    assert len(str(caught.value)) < 500


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test may change the folder; it is put back."""
    monkeypatch.chdir(Path.cwd())


def test_what_is_shared_but_small_stays(recipe: Callable[..., str]) -> None:
    tree = parse(laughs(4, 5) + "b:\n  <<: {x: 1}\n")
    assert tree is not None and len(tree.value) == 5
    assert parse("a: " + "[" * (DEEPEST - 2) + "]" * (DEEPEST - 2))
    assert parse(f"a: {2**63 - 1}").value["a"].value == 2**63 - 1  # type: ignore[union-attr]


WORDS = [
    (".".join(["a"] * 3000) + "=1", "more than 60 keys deep"),
    ("data.train.99999999999=1", "no entry '99999999999'"),
    (f"data.train.{DIGITS}=1", "no entry '9+ "),
    (f"train.max_steps={DIGITS}", "64 bits"),
    (f"train.max_steps={'[' * 3000}", "nest more than 60 deep"),
    (f"model.path={'[' * 3000}{']' * 3000}", "nest more than 60 deep"),
    ("a=&a [*a]", "contains itself"),
    ('model.path="\\0"', "NUL"),
    ("=" * 5000, "section.key=value"),
    ("x" * 5000, "section.key=value"),
]


@pytest.mark.parametrize(("word", "message"), WORDS, ids=range(len(WORDS)))
def test_the_command_line_is_read_as_carefully(word: str, message: str, recipe: Callable[..., str]) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        load(recipe(SOUND), [word])
    assert len(str(caught.value)) < 500


def test_each_file_is_read_once_however_often_it_is_extended(recipe: Callable[..., str]) -> None:
    """Forty files that each extend the next one twice would be read 2 ** 40 times."""
    for number in range(40):
        recipe(f"extends: [l{number + 1}.yaml, l{number + 1}.yaml]\nname{number}: 1\n", f"l{number}.yaml")
    recipe("a: 1\n", "l40.yaml")
    assert len(read(Path(recipe("extends: l0.yaml\nb: 1\n"))).value) == 42
    for number in range(100):
        recipe(f"extends: c{number + 1}.yaml\na: 1\n", f"c{number}.yaml")
    with pytest.raises(RecipeError, match="one through the other; write it out"):
        read(Path(recipe("extends: c0.yaml\nb: 1\n")))


@pytest.mark.parametrize("where", ["extends", "recipe"])
def test_a_recipe_is_a_file_of_text(where: str, recipe: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "wide.yaml").write_bytes(SOUND.encode("utf-16"))
    (tmp_path / "binary.yaml").write_bytes(bytes(range(256)))
    (tmp_path / "huge.yaml").write_bytes(b"# " + b"x" * (5 << 20))
    for name, message in {"folder": "a folder", "fifo": "no regular file", "zero": "no regular file", "/dev/zero": "no regular",
                          "wide.yaml": "UTF-8 text", "binary.yaml": "UTF-8 text", "huge.yaml": "this is no recipe",
                          "x" * 5000: "cannot be looked for", "~nobody-here/x": "cannot be looked for"}.items():  # fmt: skip
        path = name if name[0] in "/~x" else str(tmp_path / name)
        with pytest.raises(RecipeError, match=message):
            if where == "recipe":
                load_any(path)
            else:
                load(recipe(f"extends: {path}\nstage: sft\n"))
    (tmp_path / "marked.yaml").write_bytes(b"\xef\xbb\xbf" + SOUND.encode())
    assert load(str(tmp_path / "marked.yaml")).stage == "sft"


@pytest.mark.parametrize("content", FOLDER_JSON)
def test_a_deepspeed_file_that_is_none_is_answered(content: str, recipe: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "ds.json").write_bytes(FOLDER_JSON[content])
    report = Report()
    assert read_deepspeed(tmp_path / "ds.json", Tree(value="", place=Place()), report) is None and report.problems
    with pytest.raises(RecipeError, match=r"ds\.json"):
        load(recipe(f"{SOUND}deepspeed: ds.json\n"))


def test_the_command_says_it_in_a_line_and_ends_with_2(recipe: Callable[..., str]) -> None:
    commands = (["check"], ["data"], ["plan"], ["train", "--dry-run"], ["launch", "--print"])
    for content, command in zip(
        ("a: " + NESTED, laughs(12), DEEP[:3000], f"a: {DIGITS}", NESTED), commands, strict=True
    ):
        done = CliRunner().invoke(app, [command[0], recipe(content), *command[1:]])
        assert done.exit_code == 2 and "Traceback" not in done.output and "run.yaml:" in done.output

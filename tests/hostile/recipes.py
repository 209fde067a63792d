"""Recipes of strangers."""

from collections.abc import Callable
from pathlib import Path

from tests.hostile.folders import DEEP, ESCAPES, PLUGIN
from tests.hostile.seed import Seed

Make = Callable[[Path, Seed], Path]
"""Writes a recipe into a folder and returns its file."""


def more(text: str) -> Make:
    """The right recipe with more lines."""
    return lambda folder, seed: seed.recipe_with(folder, text)


def whole(text: str | bytes) -> Make:
    """A file with this in it."""

    def make(folder: Path, seed: Seed) -> Path:
        file = folder / "recipe.yaml"
        file.write_bytes(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
        return file

    return make


def with_plugin(text: str) -> Make:
    """A plugin beside the right recipe, and more lines."""

    def make(folder: Path, seed: Seed) -> Path:
        (folder / "theirs.py").write_text(PLUGIN)
        return seed.recipe_with(folder, f"plugins: [./theirs.py]\n{text}")

    return make


def with_tasks(folder: Path, seed: Seed) -> Path:
    """An lm-eval task whose YAML names a Python function, and a key that is wrong."""
    tasks = folder / "tasks"
    tasks.mkdir()
    (tasks / "theirs.py").write_text(PLUGIN + "def process(doc): return doc\n")
    (tasks / "theirs.yaml").write_text("task: theirs\ndataset_path: json\nprocess_docs: !function theirs.process\n")
    text = "nonsense: 1\n"
    file = seed.recipe_with(folder, text)
    file.write_text(
        file.read_text().replace("{task: pocket", "{task: 'lm_eval:theirs', include_path: ./tasks}, {task: pocket")
    )
    return file


def with_deepspeed(folder: Path, seed: Seed) -> Path:
    """A DeepSpeed file of 100,000 brackets."""
    (folder / "zero.json").write_text(DEEP)
    return seed.recipe_with(folder, "deepspeed: ./zero.json\n")


def in_place(old: str, new: str) -> Make:
    """The right recipe with one thing replaced."""

    def make(folder: Path, seed: Seed) -> Path:
        file = seed.recipe_with(folder)
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new))
        return file

    return make


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 10)}]\n" for i in range(9)
)
RECIPES: dict[str, Make] = {
    "an alias bomb": whole(BOMB + "stage: sft\n"),
    "a merge bomb": whole("a: &a {x: 1}\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} {{{', '.join(f'k{n}: *{chr(97 + i)}' for n in range(10))}}}\n" for i in range(9))),
    "3,000 brackets": whole("[" * 3000),
    "3,000 brackets in a value": more("eval2: " + "[" * 3000 + "]" * 3000 + "\n"),
    "a number of 5,000 digits": in_place("max_steps: 2", "max_steps: " + "9" * 5000),
    "a float of 5,000 digits": in_place("1e-3", "1e" + "9" * 5000),
    "bytes that are no text": whole(b"\xff\xfe\x00\x01 stage: sft"),
    "a NUL": more("x: \x00\n"),
    "escapes of the terminal in a value": in_place("jsonl, path", f"'{ESCAPES}', path"),
    "a plugin and a wrong key": with_plugin("nonsense: 1\n"),
    "a task of lm-eval with code, and a wrong key": with_tasks,
    "a task that is a path": in_place("{task: pocket", "{name: ../../../home/precious/thesis, task: pocket"),
    "a source that is a path": in_place("{source: jsonl", "{name: ../../../home/precious/thesis, source: jsonl"),
    "a task with a leading dot": in_place("{task: pocket", "{name: .bashrc, task: pocket"),
    "a name of markup": in_place("{task: pocket", "{name: '[/b]$^$', task: pocket"),
    "a line of its own for sbatch": more('launch: {sbatch: {comment: "x\\ntouch $CANARY #"}}\n'),
    "an option of sbatch with a space": more("launch: {sbatch: {'comment=x --wrap': y}}\n"),
    "a token for the hub": in_place("train: {", "train: {hub_token: hf_abcdefghijklmnopqrstuvwxyz012345, push_to_hub: true, "),
    "extends a device": more("extends: /dev/zero\n"),
    "extends itself": more("extends: ./recipe.yaml\n"),
    "a DeepSpeed file of brackets": with_deepspeed,
    "rows from a device": in_place("path: /", "path: /dev/zero, columns: {messages: x}, n: 1, name: a}, {source: jsonl, path: /"),
    "a template that never ends": in_place("dtype: float32", "dtype: float32, chat_template: \"{% for a in range(99999) %}"
                                           "{% for b in range(99999) %}{% endfor %}{% endfor %}\""),
    "a template of all memory": in_place("dtype: float32", "dtype: float32, chat_template: \"{{ 'x' * 99999999999 }}\""),
    "a template that reaches for Python": in_place("dtype: float32", "dtype: float32, chat_template: \"{{ "
                                                   "''.__class__.__mro__[1].__subclasses__() }}\""),
    "a pipeline whose stage is a path": whole("pipeline: [{name: ../../x, recipe: smoke/sft}]\n"),
    "a pipeline of itself": whole("pipeline: [{name: x, recipe: ./recipe.yaml}]\n"),
}  # fmt: skip

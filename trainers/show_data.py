"""The recipe's rows as the model will see them, as `temper data` shows them."""

from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from data_mix import DataError
from data_mix.bad_rows import Row
from data_mix.build import read
from data_mix.extras import Extended
from data_mix.forms import PairRow, PromptRow, SidedRow
from data_mix.render import Dropped, TokenRow
from data_mix.spans import Part
from eval_hooks.files import write_json
from eval_hooks.visible import terminal, visible
from trainers import TrainError, announce
from trainers.catalog import form_of
from trainers.data import build_mix, rendering
from trainers.models import load_tokenizer
from trainers.recipe import Recipe
from trainers.rundir import MANIFEST, next_folder


def show(recipe: Recipe, *, rows: int = 3, source: str | None = None) -> None:
    """Build the mix, write data.manifest.json where the next run will be, and print `rows` rows of each source.

    Raises TrainError for a source the recipe has not; DataError for what cannot be read.
    """
    names = [spec.name for spec in recipe.data.train]
    if source is not None and source not in names:
        raise TrainError(f"--rows {source}: the recipe has no such train source; it has: {', '.join(names)}")
    tokenizer = load_tokenizer(recipe.model)
    mix = build_mix(recipe, tokenizer)
    file = next_folder(recipe) / MANIFEST
    write_json(file, mix.manifest)
    announce(f"manifest  {file}")
    if rows:
        _show_rows(terminal(), recipe, tokenizer, rows, source)


def _show_rows(console: Console, recipe: Recipe, tokenizer: Any, rows: int, source: str | None) -> None:
    plain = not console.is_terminal or console.no_color
    legend = Text("trained tokens are ")
    legend.append("[[in double brackets]]" if plain else "green", style=STYLES[True])
    console.print(legend)
    form = form_of(recipe.stage, recipe.method.name)
    for part in read(recipe.data, form)[0]:
        if source not in (None, part.spec.name):
            continue
        for place, row in islice(_made(part.raw, recipe, tokenizer), rows):
            console.rule(f"{escape(part.spec.name)}, {escape(visible(place))}", align="left")
            console.print(shown(row, tokenizer, plain))


def _made(raw: Iterable[Row], recipe: Recipe, tokenizer: Any) -> Iterator[tuple[str, Any]]:
    """(where it stands, what it becomes) of rows of which a mix was built: one that cannot be used was left out."""
    encode, how = form_of(recipe.stage, recipe.method.name).encode, rendering(recipe)
    for row in raw:
        try:
            yield from ((row.where, one) for one in encode(row, tokenizer, how))
        except DataError as error:
            yield row.where, Dropped(reason=str(error))


def shown(row: Any, tokenizer: Any, plain: bool) -> Text:
    """A row of any form: a pair as prompt and both answers, a prompt with its verifiers and gold answer."""
    if isinstance(row, Extended):
        extra = "\n".join(f"{name}: {value}" for name, value in row.extra.items())
        return shown(row.row, tokenizer, plain).append(visible(f"\n{extra}"))
    if isinstance(row, PairRow):
        text = Text(visible(tokenizer.decode(row.prompt_ids)), style="dim")
        for name, ids, style in (("chosen", row.chosen_ids, "bold green"), ("rejected", row.rejected_ids, "bold red")):
            text.append(f"\n{name}: ", style="")
            words = visible(tokenizer.decode(ids))
            text.append(f"[[{words}]]" if plain else words, style=style)
        return text
    if isinstance(row, PromptRow):
        prompt = row.row["prompt"]
        said = prompt if isinstance(prompt, str) else "\n".join(f"{m['role']}: {m['content']}" for m in prompt)
        return Text(visible(f"{said}\nanswer: {row.row['answer']}\nverifier: {row.row['verifier']}"))
    if isinstance(row, SidedRow):
        return Text(f"to {row.side}\n").append_text(coloured(row.row, tokenizer, plain))
    if not isinstance(row, TokenRow | Dropped):
        return Text(visible(str(row)))  # a form of a method's own
    return coloured(row, tokenizer, plain)


STYLES = {True: "bold green", False: ""}


def coloured(row: TokenRow | Dropped, tokenizer: Any, plain: bool = False) -> Text:
    """A row's text: what is trained is green (or in [[ ]] where there are no colours), the template's own text dim."""
    if isinstance(row, Dropped):
        return Text(f"dropped: {row.reason}", style="yellow")
    text = Text()
    for trained, part, words in _runs(row, tokenizer):
        dim = "dim" if part == Part.TEMPLATE and not trained else STYLES[trained]
        text.append(f"[[{words}]]" if plain and trained else words, style=dim)
    return text


def _runs(row: TokenRow, tokenizer: Any) -> Iterator[tuple[bool, Part, str]]:
    """Neighbouring tokens of one kind, decoded together, so that characters of several tokens stay whole."""
    kinds = [(label != -100, part) for label, part in zip(row.labels, row.parts, strict=True)]
    at = 0
    for (trained, part), group in groupby(kinds):
        size = len(list(group))
        yield trained, part, visible(tokenizer.decode(row.input_ids[at : at + size]))
        at += size

"""Text of data, models and other people where it is looked at: shown as it is, and obeyed by nothing.

One way for each medium: `visible` for anything that ends on a terminal or in a file, `terminal` for what rich prints,
`in_picture` for matplotlib, `in_markdown` for TensorBoard. HTML is escaped by its templates.
"""

import errno
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff\ufff9-\ufffb]"
)
"""What a terminal obeys or a reader cannot see: controls but for newline and tab, what turns the direction of writing,
line separators, halves of surrogate pairs."""
MARKDOWN = re.compile(r"[\\`*_{}\[\]()<>#+\-.!|~&$:]")


def visible(text: object, encoding: str = "utf-8") -> str:
    r"""The text with what no screen should obey written out: an escape is `\x1b`, a carriage return `\r`.

    What the encoding cannot say is written out too.
    """
    shown = UNSEEN.sub(lambda found: ascii(found[0])[1:-1], str(text))
    return shown.encode(encoding, "backslashreplace").decode(encoding)


def terminal(**settings: Any) -> "Console":
    """Rich's console, whose own colours work and whose text is `visible`; whoever closed its end is an OSError."""
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.segment import Segment

    class Seen:
        def __init__(self, renderable: Any) -> None:
            self.renderable = renderable

        def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
            for part in console.render(self.renderable, options):
                yield part if part.control else Segment(visible(part.text, console.encoding), part.style)

    class Hook:
        def process_renderables(self, renderables: Iterable[Any]) -> list[Any]:
            return [Seen(renderable) for renderable in renderables]

    class Terminal(Console):
        def on_broken_pipe(self) -> None:
            """The library would end the process, with a code that is not the run's."""
            raise BrokenPipeError(errno.EPIPE, "nobody reads the output any more")

    console = Terminal(**settings)
    console.push_render_hook(Hook())  # type: ignore[arg-type]
    return console


def in_picture(text: object) -> str:
    """For matplotlib, which reads what stands between two $ as a formula, and hides a label that begins with _."""
    shown = visible(text).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def in_markdown(text: object) -> str:
    """A text whose Markdown and HTML are shown and not obeyed; newlines stay newlines."""
    shown = MARKDOWN.sub(lambda found: f"&#{ord(found[0])};", visible(text))
    return shown.replace("\n", "<br>")


def all_visible(rows: Sequence[Any]) -> list[dict[str, Any]]:
    """Rows of a table with their texts made visible."""
    return [{key: visible(cell) if isinstance(cell, str) else cell for key, cell in row.items()} for row in rows]

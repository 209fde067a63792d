"""The app that commands register with, and the end of what a person did wrong."""

import os
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

FOUND, WRONG_REQUEST, INTERRUPTED, UNREAD = 1, 2, 130, 141
Words = Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Recipe values, as train.max_steps=20.")]
NoPlugins = Annotated[
    bool, typer.Option("--no-plugins", help="Run none of the code that the recipe names; refuse what needs it.")
]
Trust = Annotated[
    bool, typer.Option("--trust", help="Run the code that the run folder's recipe names: plugins, trust_remote_code.")
]
RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe file, or a shipped one's name.")]


class Commands(TyperGroup):
    """Turns what a person did wrong into a message and exit code 2; everything else keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except people_errors() as error:
            from eval_hooks.masking import masked_message
            from eval_hooks.storage.reading import SHOW
            from eval_hooks.visible import visible
            from trainers.ranklog import failed

            if os.environ.get(SHOW):
                raise
            said = visible(masked_message(str(error)))
            typer.secho(said, fg=typer.colors.RED, err=True)
            failed(said)
            raise typer.Exit(WRONG_REQUEST) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:  # as `| head` leaves it; what is left in the buffer must not be tried again
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise typer.Exit(UNREAD) from None


def people_errors() -> tuple[type[ValueError], ...]:
    """The four packages' errors for what a person did wrong."""
    from data_mix import DataError
    from eval_hooks import EvalError
    from launch import RecipeError
    from trainers import TrainError

    return RecipeError, DataError, EvalError, TrainError


app = typer.Typer(
    cls=Commands,
    help="Train a language model; say at every checkpoint what it learned, what it forgot, how calibrated it is.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

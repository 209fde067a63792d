"""Progress of an evaluation on the screen."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from eval_hooks.forward import Progress, no_progress
from eval_hooks.ranks import AbandonedError

Bar = Callable[[int, str], AbstractContextManager[Progress]]
"""(total, description) -> a progress bar to enter."""


@contextmanager
def progress_bar(total: int, description: str) -> Iterator[Progress]:
    """A bar on standard error, gone when done."""
    from tqdm.auto import tqdm

    with tqdm(total=total, desc=description, leave=False, dynamic_ncols=True) as bar:
        yield bar.update


@contextmanager
def silent_bar(total: int, description: str) -> Iterator[Progress]:
    """For the ranks that nobody watches."""
    yield no_progress


def breaking_off(bar: Bar, abandoned: Callable[[], bool]) -> Bar:
    """The same, which ends the evaluation with an AbandonedError once the run is to end."""

    @contextmanager
    def entered(total: int, description: str) -> Iterator[Progress]:
        with bar(total, description) as progress:

            def unless_abandoned(done: int) -> None:
                progress(done)
                if abandoned():
                    raise AbandonedError("the run is to end")

            yield unless_abandoned

    return entered

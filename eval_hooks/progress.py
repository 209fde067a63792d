"""Progress of an evaluation on the screen."""

from collections.abc import Iterator
from contextlib import contextmanager

from eval_hooks.forward import Progress, no_progress


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

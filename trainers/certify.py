"""`temper certify`: a checkpoint is what was measured, and stays so merged and with fewer bits.

A fixed set of items, asked again from the checkpoint's files, is compared with what the trainer's own evaluation wrote
of the live model: same prompts, same batches, same arithmetic and number of threads, so that on the run's machine the
difference is 0 and not merely small.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from os.path import commonprefix
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval_hooks.certificate import FILE, SEED, apart, numbers, read
from eval_hooks.evaluate import other_prompts
from eval_hooks.files import read_json, write_json
from eval_hooks.ready import Reader, Ready, reader_of
from eval_hooks.results.prompts import difference
from eval_hooks.scoring.pass_size import sized
from eval_hooks.table import choice_table
from eval_hooks.tasks.kinds.choice import choice_rows
from trainers import TrainError, announce
from trainers.certify_forms import TOLERANCES, by_verdict, loaded, merged, prepared, rounded
from trainers.certify_subject import Row, Subject, open_subject
from trainers.content import PARTS
from trainers.hashes import changed, checkpoint_hashes, hashes_of
from trainers.models import forget
from trainers.quantise import BITS, require_torchao
from trainers.recipe import Recipe
from trainers.rundir import Place
from trainers.template import saved_tokenizer

if TYPE_CHECKING:
    from eval_hooks.track import Tracker


def certify(
    recipe: Recipe, place: Place, step: int, *, bits: Sequence[int] = BITS, fresh: bool = False
) -> dict[str, Any]:
    """Make the certificate of a checkpoint, write it beside the weights, and return it.

    A certificate that is there already is compared with: where files differ from those it names, this one fails and the
    older one stays. `fresh` is for the run itself, which has just written them.
    Raises TrainError where there is nothing to compare with.
    """
    if bits:
        require_torchao()
    subject = open_subject(recipe, place, step)
    subject.judged = max(1, len(bits))
    hashes = checkpoint_hashes(subject.folder, place.folder, subject.recipe)
    before = None if fresh else read(subject.folder)
    rows = [_trainer_row(subject)]
    if before:
        rows.append(files_row(before, hashes))
    with _threads_of(place.folder):
        rows += [_tokenizer_row(subject), *_form_rows(subject, bits)]
    made = {
        "made": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "run": str(place.folder.resolve()),
        "step": place.offset + step,
        "passed": all(row["passed"] for row in rows),
        "task": subject.spec.called,
        "prompt_hash": subject.entry["prompt_hash"],
        "arithmetic": subject.arithmetic,
        "seed": SEED,
        "items": subject.ids,
        "rows": rows,
        "hashes": hashes,
    }
    if not any(row["form"] == "files" and not row["passed"] for row in rows):
        write_json(subject.folder / FILE, made)
    return made


def _trainer_row(subject: Subject) -> Row:
    """What the others are compared with."""
    return {"form": "trainer", "passed": True, "reason": "", **subject.against(subject.measured)}


def files_row(before: Mapping[str, Any], hashes: Mapping[str, Any]) -> Row:
    """Whether the files are those that were certified before."""
    different = changed(before["hashes"], hashes)
    text = f"not those certified {before['made']}: {'; '.join(different)}" if different else ""
    return {"form": "files", "passed": not different, "reason": text}


def _tokenizer_row(subject: Subject) -> Row:
    """Whether the checkpoint's own tokenizer reads the items as the run's does."""
    row: Row = {"form": "tokenizer", "passed": False}
    try:
        own = saved_tokenizer(subject.folder, subject.recipe.model.trust_remote_code)
    except Exception as error:
        return {**row, "reason": f"cannot be loaded: {_said(error)}"}
    settings = subject.reader[1]
    asked = [subject.asked(Reader(tokenizer=t, template_kwargs=settings)) for t in (subject.tokenizer, own)]
    if asked[0].prompt_hash != asked[1].prompt_hash:
        at = tokens_apart(asked[0], asked[1])
        return {**row, "reason": f"reads the items as other tokens than the run's did: {at}"}
    return {**row, "passed": True, "reason": ""}


def tokens_apart(run: Ready, own: Ready) -> str:
    """The first item that two tokenizers read otherwise, and the first token."""
    for ours, theirs in zip(run.choices, own.choices, strict=True):
        if ours.prompt != theirs.prompt:
            return difference(run.asked("the run"), own.asked("the checkpoint"))
        for option in range(len(ours.branches)):
            ids = [[*one.shared, *one.branches[option]] for one in (ours, theirs)]
            at = len(commonprefix(ids))
            if ids[0] != ids[1]:
                a, b = (str(one[at : at + 5]) for one in ids)
                return (
                    f"item {ours.item.item_id}, from token {at + 1} on: ids {a} by the run's, {b} by the checkpoint's"
                )
    return "other options are scored"


def _form_rows(subject: Subject, bits: Sequence[int]) -> Iterator[Row]:
    """The checkpoint's model in each form, one after the other in memory; nothing after one that cannot be loaded."""
    adapted = (subject.folder / "adapter_config.json").is_file()
    forms: dict[str, Callable[[], tuple[Any, Row]]] = {"reloaded": lambda: (loaded(subject), {})}
    if adapted:
        forms["merged"] = lambda: (merged(subject), {})
    forms |= {f"{n}bit": partial(rounded, subject, n) for n in bits}
    for form, make in forms.items():
        begin = time.monotonic()
        try:
            model, more = make()
        except Exception as error:
            reason = f"cannot be loaded: {_said(error)}"
            yield {"form": form, "passed": False, "reason": reason}
            return
        row = {"form": form, **_compared(subject, form, prepared(model, subject)), **more}
        del model
        forget()
        yield {**row, "seconds": round(time.monotonic() - begin, 3)}


def _compared(subject: Subject, form: str, model: Any) -> Row:
    """How far the model is from what the trainer measured, and whether that is within the form's tolerance."""
    tokenizer, settings = subject.reader
    task = subject.asked(reader_of(model, tokenizer, settings))
    if task.prompt_hash != subject.entry["prompt_hash"]:
        raise TrainError(
            f"certify: {task.name}: {other_prompts(subject.evaluation, subject.entry, task)}; its items or the "
            f"tokenizer in {subject.place.root} have changed"
        )
    place = {one.item.item_id: number for number, one in enumerate(task.choices)}
    with sized(subject.size):
        rows = choice_rows(task, model, lambda n: None, only=[place[i] for i in subject.ids], intact=True)
    table = choice_table(rows)
    row = {**apart(subject.measured, table), **subject.against(table)}
    tolerance, why = TOLERANCES.get(form, by_verdict)(subject)
    found = row["retention"]["verdict"]
    passed = row["largest"] <= tolerance if tolerance is not None else found != "dropped"
    over = f"differs by up to {row['largest']:.3g} nats from what the trainer measured" if tolerance is not None else ""
    return {**row, "tolerance": tolerance, "why": why, "passed": passed, "reason": "" if passed else over or found}


@contextmanager
def _threads_of(run: Path) -> Iterator[None]:
    """As many threads as the run had: a sum over another number of them is another sum."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(read_json(run / "environment.json").get("cpu_threads", before))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}"


def certify_run(recipe: Recipe, place: Place, steps: Sequence[int], tracker: "Tracker | None") -> dict[int, str]:
    """Certify the checkpoints of a run that has just ended; step -> `passed`, `failed: FORMS`, or why it has none.

    On the writing rank alone. What breaks here breaks no run: it is said, and stands in status.json.
    """
    from eval_hooks.ranks import alone
    from eval_hooks.report.words import certified

    out = {}
    for step in dict.fromkeys(steps):
        try:
            with alone():
                made = certify(recipe, place, step, fresh=True)
        except Exception as error:
            if recipe.eval.on_error == "stop":
                raise
            out[step] = f"not made: {_said(error)}"
            announce(f"certify   checkpoint-{step} has no certificate: {_said(error)}")
            continue
        out[step] = certified(made)
        announce(f"certify   checkpoint-{step} {out[step]}")
        if tracker:
            tracker.log(step, numbers(made))
    return out


def exported_is_whole(folder: Path) -> list[str]:
    """What of an exported folder is not as it was written, in words; empty where all is."""
    certificate = read(folder) or {}
    return changed(certificate["exported"], hashes_of(folder, PARTS))

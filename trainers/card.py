"""The model card of an exported folder: what was trained on what, what was measured, what the certificate says."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval_hooks.files import read_json, summary_of
from eval_hooks.report.words import changed
from eval_hooks.results.text import entry_number, number
from trainers.certify_screen import form, measured
from trainers.impersonal import base_name, impersonal, impersonal_recipe, is_hub_id

if TYPE_CHECKING:
    from trainers.certify_subject import Subject

TEMPLATE = Path(__file__).with_name("card.md.j2")


def card(subject: "Subject", certificate: Mapping[str, Any] | None, doubt: str, *, has_temperature: bool) -> str:
    """The card's text, with the metadata that the hub reads in front. `doubt` says why there is no certificate."""
    from huggingface_hub import ModelCard
    from jinja2 import Environment

    recipe, folder = subject.recipe, subject.place.folder
    summary = summary_of(subject.evaluation)
    before = summary_of(subject.place.root / "evals" / f"step-{subject.start_step}")
    text = impersonal_recipe((folder / "recipe.yaml").read_text("utf-8").strip())
    environment = Environment(trim_blocks=True, finalize=lambda value: "" if value is None else value)
    environment.filters["inline"] = inline
    page = environment.from_string(TEMPLATE.read_text("utf-8")).render(
        name=recipe.name,
        stage=recipe.stage,
        base=base_name(read_json(folder / "recipe.resolved.json")["model"]["path"]),
        method=recipe.method.name,
        step=subject.step,
        adapter="all weights trained" if recipe.adapter.kind == "none" else f"a {recipe.adapter.kind}, merged",
        first=subject.start_step,
        measured=list(measured_rows(summary, before)),
        losses=list(_losses(summary, before)),
        has_temperature=has_temperature,
        rows=[(form(row), *measured(row)) for row in (certificate or {}).get("rows", ()) if "retention" in row],
        items=len((certificate or {}).get("items", ())),
        arithmetic=(certificate or {}).get("arithmetic"),
        doubt=impersonal(doubt),
        recipe=text,
        fence=fence(text),
        sources=list(read_json(folder / "data.manifest.json")["train"].items()),
    )
    return str(ModelCard(f"---\n{data_of(subject, summary).to_yaml()}\n---\n\n{page}\n"))


def inline(text: object) -> str:
    """A text as it stands in a line or a table's cell: nothing in it is Markdown, HTML, or a second line."""
    words = " ".join(str(text).split())
    marked = re.sub(r"([\\`*_\[\]|~!])", r"\\\1", words.replace("&", "&amp;"))
    return marked.replace("<", "&lt;").replace(">", "&gt;")


def fence(text: str) -> str:
    """The marks around a block of code: more than stand together anywhere in it, four at least."""
    return "`" * max([4, *(len(run) + 1 for run in re.findall(r"`+|~+", text))])


def data_of(subject: "Subject", summary: Mapping[str, Any]) -> Any:
    """The card's metadata; the base by its hub id, where it has one."""
    from huggingface_hub import EvalResult, ModelCardData

    recipe, resolved = subject.recipe, read_json(subject.place.folder / "recipe.resolved.json")
    named = resolved["model"]["path"]
    results = [
        EvalResult(
            task_type="text-generation", task_name=one_line(task["role"]), dataset_type=one_line(name),
            dataset_name=one_line(name),
            metric_type="accuracy", metric_value=round(task["accuracy"]["value"], 4),
        )
        for name, task in summary.get("tasks", {}).items()
        if (task.get("accuracy") or {}).get("value") is not None
    ]  # fmt: skip
    return ModelCardData(
        base_model=named if is_hub_id(named) else None,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["tempering", recipe.stage, recipe.method.name],
        model_name=one_line(recipe.name),
        eval_results=results or None,
    )


def one_line(text: object) -> str:
    """A name for the metadata."""
    return impersonal(" ".join(str(text).split()))


def measured_rows(summary: Mapping[str, Any], before: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """One row a task: role, accuracy before and after, paired change, verdict, calibration before and after."""
    for name, task in summary.get("tasks", {}).items():
        if task["status"] == "failed":
            yield name, task["role"], "", "not measured", impersonal(str(task["error"])), "", ""
            continue
        old, change = before.get("tasks", {}).get(name, {}), task["retention"]
        ece = [_plain((entry.get("calibration") or {}).get("ece")) for entry in (old, task)]
        paired = change and change["delta"]["value"] is not None
        yield (
            name,
            task["role"],
            entry_number(old),
            entry_number(task),
            changed(change) if paired else "",
            change["verdict"] if paired else "",
            " -> ".join(ece) if task.get("calibration") else "",
        )


def _plain(ece: Mapping[str, Any] | None) -> str:
    """ECE without its interval, which claims no coverage, while the card's intervals do."""
    return "not measured" if ece is None or ece["value"] is None else f"{ece['value']:.3f}"


def _losses(summary: Mapping[str, Any], before: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, entry in summary.get("validation", {}).items():
        if "loss" in entry:
            old = number(before.get("validation", {}).get(name, {}).get("loss"))
            yield name, f"{old} -> {number(entry['loss'])} nats a token"
    for name, error in summary.get("validation_failed", {}).items():
        yield name, f"not measured: {impersonal(str(error))}"

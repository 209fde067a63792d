"""The sections that need more than their dataclass: checked, typed, problems reported."""

import dataclasses
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from data_mix.config import DataConfig
from eval_hooks.bounds import COUNT, Bound
from eval_hooks.config import Budget, EvalConfig, Replay
from eval_hooks.over import IN_WAVES
from launch import entries
from launch.bounds import bounds_of
from launch.fields import Field, fields_of
from launch.habits import OWNED_ADAPTER, OWNED_TRAIN
from launch.nodes import Node, plain
from launch.problems import shown
from launch.slurm import option_problem
from launch.tables import Tables
from launch.typed import INVALID, Report, build, construct, convert, join
from trainers.recipe import AdapterSection, LaunchSection, WandbSection

GLOBAL_BATCH = Field(
    name="global_batch_size",
    hint=int,
    required=False,
    default=None,
    about="Rows per optimizer step over all ranks; gradient accumulation follows from it.",
)
SKIP_BAD = Field(
    name="skip_bad_batches",
    hint=int,
    required=False,
    default=0,
    about="How many batches whose loss is no number may be left out before the run stops.",
)
OWN_TRAIN = {field.name: field for field in (GLOBAL_BATCH, SKIP_BAD)}
"""Our own keys under `train:`."""
TENSORBOARD = Field(
    name="tensorboard",
    hint=bool,
    required=False,
    default=False,
    about="Also write TensorBoard's event files, into the run folder's tensorboard/.",
)
TRACKERS = ("wandb", TENSORBOARD.name)


def section(tree: Node, name: str, report: Report) -> Node | None:
    """A section as a map; an absent one, or null, is an empty map. None after reporting anything else."""
    node = tree.value.get(name)
    if node is None or node.value is None:
        return Node(value={}, place=node.place if node else tree.place)
    if not isinstance(node.value, dict):
        report.add(name, node, f"{shown(plain(node))}: a map is due; write {name}: {{key: value}}")
        return None
    return node


def library_values(
    nodes: Mapping[str, Node],
    fields: Mapping[str, Field],
    owned: Mapping[str, str],
    block: str,
    report: Report,
    bounds: Mapping[str, Bound] = MappingProxyType({}),
) -> dict[str, Any]:
    """Values of a block whose keys a library's config class names; what is set elsewhere (`owned`) is refused."""
    values = {}
    for key, node in nodes.items():
        if key in owned:
            report.add(join(block, key), node, f"not set here; {owned[key]}")
        elif key in fields:
            values[key] = convert(fields[key].hint, node, join(block, key), report)
            if key in bounds and bounds[key].refuses(values[key]):
                report.add(join(block, key), node, f"{values[key]}: must be {bounds[key].words}")
        else:
            report.unknown(block, key, node, [name for name in fields if name not in owned])
    return values


def train(
    node: Node, stage_class: type | None, report: Report, method: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """Arguments of the stage's config class, as written; nothing can be said of them where the stage is unknown.

    `method` are those that make the method's row what it is, which no recipe sets.
    """
    if stage_class is None:
        return {}
    set_by_row = {key: f"it is {value!r} in this method; write another method.name" for key, value in method.items()}
    keys = {key: child for key, child in node.value.items() if key not in OWN_TRAIN}
    fields = {**fields_of(stage_class), **OWN_TRAIN}
    found = library_values(keys, fields, {**set_by_row, **OWNED_TRAIN}, "train", report, bounds_of(stage_class))
    if found.get("fp16") is True and found.get("bf16") is True:
        report.add("train.fp16", keys["fp16"], "true, and train.bf16 too: a run computes in one of them; remove one")
    return found


def global_batch_size(node: Node, report: Report) -> int | None:
    """Rows per optimizer step over all ranks; it excludes gradient_accumulation_steps, which follows from it."""
    written = node.value.get(GLOBAL_BATCH.name)
    if written is None or written.value is None:
        return None
    path = join("train", GLOBAL_BATCH.name)
    size = convert(int, written, path, report)
    if isinstance(size, int) and not COUNT.holds(size):
        report.add(path, written, f"{size}: must be {COUNT.words}")
    if accumulation := node.value.get("gradient_accumulation_steps"):
        text = "follows from train.global_batch_size and the number of ranks; remove one of the two"
        report.add("train.gradient_accumulation_steps", accumulation, text)
    return size


def skip_bad_batches(node: Node, report: Report) -> int:
    """How many bad batches may be left out."""
    written = node.value.get(SKIP_BAD.name)
    if written is None or written.value is None:
        return 0
    path = join("train", SKIP_BAD.name)
    n = convert(int, written, path, report)
    if isinstance(n, int) and n < 0:
        report.add(path, written, f"{n}: must be 0 or more")
    return n


def adapter_fields() -> Mapping[str, Field]:
    """The keys of `adapter:` besides kind: peft.LoraConfig's, but for those that are not a recipe's."""
    from peft import LoraConfig

    return {name: field for name, field in fields_of(LoraConfig).items() if name not in OWNED_ADAPTER}


def adapter(node: Node, report: Report) -> Any:
    """The adapter section, or INVALID; peft is imported only where a LoRA is asked for."""
    made = build(AdapterSection, entries.part(node, {"kind": "kind"}), "adapter", report)
    options = entries.without(node, ("kind",)).value
    if not options:
        return made
    kind = Field(name="kind", hint=str, required=False, default="none", about="")
    values = library_values(options, {**adapter_fields(), "kind": kind}, OWNED_ADAPTER, "adapter", report)
    if made is INVALID or any(value is INVALID for value in values.values()):
        return INVALID
    if made.kind == "none" and values:
        key = next(iter(values))
        report.add(join("adapter", key), options[key], "read only by a LoRA; write adapter.kind: lora, or remove it")
        return INVALID
    from peft import LoraConfig

    ready = construct(LoraConfig, values, node, "adapter", report)
    return INVALID if ready is INVALID else dataclasses.replace(made, options=values)


def data(node: Node, tables: Tables, report: Report) -> Any:
    """The data section as a DataConfig, or INVALID."""
    sides: dict[str, tuple[Any, ...]] = {}
    for side in ("train", "validation"):
        listed = _listed(node, side, "data", report)
        seed = node.value.get("seed")
        sides[side] = tuple(
            entries.source(entry, f"data.{side}.{i}", tables, report, seed) for i, entry in enumerate(listed)
        )
        _distinct(
            [
                (spec.name, entry, f"data.{side}.{i}")
                for i, (spec, entry) in enumerate(zip(sides[side], listed, strict=True))
                if spec is not INVALID
            ],
            report,
        )
    if not _written(node, "train"):
        where = node.value.get("train", node)
        report.add(
            "data.train", where, f"no sources; write - {{source: NAME}}, with NAME one of {', '.join(tables.sources)}"
        )
    for i, spec in enumerate(sides["train"]):
        if spec is not INVALID and spec.split_from:
            report.add(
                f"data.train.{i}.from", node, "only validation rows can be held out of the train rows; name a source"
            )
    whole = {side: INVALID if any(spec is INVALID for spec in specs) else specs for side, specs in sides.items()}
    return build(DataConfig, entries.without(node, sides), "data", report, known=tuple(sides), given=whole)


def evaluation(node: Node, tables: Tables, report: Report) -> Any:
    """The eval section as an EvalConfig, or INVALID."""
    sides: dict[str, tuple[Any, ...]] = {}
    taken = []
    for role in ("target", "retain"):
        listed = _listed(node, role, "eval", report)
        sides[role] = tuple(entries.task(entry, f"eval.{role}.{i}", tables, report) for i, entry in enumerate(listed))
        taken += [
            (spec.called, entry, f"eval.{role}.{i}")
            for i, (spec, entry) in enumerate(zip(sides[role], listed, strict=True))
            if spec is not INVALID
        ]
    _distinct(taken, report)
    whole: dict[str, Any] = {
        role: INVALID if any(spec is INVALID for spec in specs) else specs for role, specs in sides.items()
    }
    if isinstance(getattr(node.value.get("budget"), "value", None), dict):
        whole["budget"] = budget(node.value["budget"], tables, report)
    config = build(EvalConfig, entries.without(node, whole), "eval", report, known=tuple(whole), given=whole)
    if config is not INVALID and config.cost_limit is not None and config.order == "full":
        limit = node.value["cost_limit"]
        report.add("eval.cost_limit", limit, "only an evaluation in waves can end early; add eval.order: waves")
    if config is not INVALID and config.over == "subjects" and config.order == "waves":
        report.add("eval.over", node.value["over"], IN_WAVES)
    if config is not INVALID and not config.live and config.budget.action != "report":
        text = (
            f"{config.budget.action}: a watcher can only report what the run has lost; remove it, or eval.live: false"
        )
        report.add("eval.budget.action", node, text)
    if config is not INVALID and config.certify and not config.live:
        text = "true: compares with what the training process measured; remove it, or eval.live: false"
        report.add("eval.certify", node.value["certify"], text)
    return config


def budget(node: Node, tables: Tables, report: Report) -> Any:
    """The eval.budget section as a Budget, or INVALID; its replay is an entry of data.train, with a share."""
    path, given = "eval.budget", {}
    child = node.value.get("replay")
    if child is not None and isinstance(child.value, dict):
        share = entries.part(child, {"share": "share"})
        entry = entries.without(child, ("share", *entries.UNWEIGHED))
        entry.value.setdefault("name", Node(value="replay", place=child.place, raw="replay"))
        spec = entries.source(entry, f"{path}.replay", tables, report)
        given["replay"] = build(Replay, share, f"{path}.replay", report, given={"source": spec})
    found = build(Budget, entries.without(node, given), path, report, known=tuple(given), given=given)
    if found is not INVALID and found.action == "replay" and found.replay is None:
        report.add(f"{path}.action", node.value["action"], "replay: of what? Add replay: {source: NAME, share: 0.25}")
    return found


def launch(node: Node, report: Report) -> Any:
    """The launch section, or INVALID; sbatch's options become lines of a script, so none may be more than one line."""
    found = build(LaunchSection, node, "launch", report)
    options = node.value.get("sbatch")
    for key, child in options.value.items() if options is not None and isinstance(options.value, dict) else ():
        if text := option_problem(key, plain(child)):
            report.add(join("launch.sbatch", key), child, text)
            found = INVALID
    return found


def _written(node: Node, key: str) -> bool:
    child = node.value.get(key)
    return child is not None and child.value not in (None, [])


def _listed(node: Node, key: str, block: str, report: Report) -> Sequence[Node]:
    child = node.value.get(key)
    if child is None or child.value is None:
        return []
    if not isinstance(child.value, list):
        report.add(join(block, key), child, f"{shown(plain(child))}: a list of entries is due; write {key}: [{{...}}]")
        return []
    return child.value


def _distinct(named: Sequence[tuple[str, Node, str]], report: Report) -> None:
    """Two entries of one name would write the same files and keys."""
    first: dict[str, str] = {}
    for name, node, path in named:
        taken = first.setdefault(name.casefold(), path)  # some file systems take capitals for small letters
        if taken != path:
            report.add(f"{path}.name", node, f"{name!r}: {taken} has that name too; give one of them a name of its own")


def tensorboard(node: Node, report: Report) -> Any:
    """Whether the track section wants TensorBoard's files, or INVALID."""
    child = node.value.get(TENSORBOARD.name)
    if child is None or child.value is None:
        return TENSORBOARD.default
    return convert(TENSORBOARD.hint, child, join("track", TENSORBOARD.name), report)


def wandb(node: Node, report: Report) -> Any:
    """W&B's part of the track section; None where W&B is not wanted."""
    for key, child in node.value.items():
        if key not in TRACKERS:
            report.unknown("track", key, child, TRACKERS)
    child = node.value.get("wandb")
    if child is None or child.value is None:
        return None
    return build(WandbSection, child, "track.wandb", report)

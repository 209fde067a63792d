"""The page of what a run is about: a panel for each thing that was logged, whatever the stage.

Losses on domain and general text (cpt, sft); margins and what became of either answer (dpo); rewards, and what may be
wrong with them (rlvr); forgetting against what was to be kept (unlearn). A run without any of them has no page.
"""

from collections.abc import Callable, Iterator
from typing import Any

from eval_hooks.report.colours import BLUE, GREEN, GREY, ORANGE
from eval_hooks.report.parts import finish, picture, seams
from eval_hooks.report.view import RunView
from eval_hooks.visible import in_picture

Draw = Callable[[Any], None]
COLOURS = (BLUE, ORANGE, GREEN, GREY)


def about_png(run: RunView) -> bytes | None:
    """The page as a picture, or None."""
    from matplotlib.figure import Figure

    panels = [draw for panel in PANELS for draw in panel(run)]
    if not panels:
        return None
    rows = (len(panels) + 1) // 2
    figure = Figure(figsize=(16 / 1.5, 3.4 * rows), dpi=150, layout="constrained")
    axes = figure.subplots(rows, 2, squeeze=False).flatten()
    for axis, draw in zip(axes, panels, strict=False):
        draw(axis)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    return picture(figure, "png")


def _lines(axis: Any, run: RunView, keys: dict[str, str]) -> None:
    for colour, (key, label) in zip(COLOURS, keys.items(), strict=False):
        if points := run.curve(key):
            axis.plot(*zip(*points, strict=True), "o-", ms=3, lw=1.5, color=colour, label=in_picture(label))
    seams(axis, run)


def _held_out(run: RunView, key: str) -> list[str]:
    return [name for name, entry in run.last.get("validation", {}).items() if key in entry]


def losses(run: RunView) -> Iterator[Draw]:
    """Held-out loss of every set, with its interval at each evaluation."""
    names = _held_out(run, "loss")

    def draw(axis: Any) -> None:
        for colour, name in zip(COLOURS, names, strict=False):
            found = [(s["step"], s["validation"][name]["loss"]) for s in run.summaries if name in s["validation"]]
            steps, values = [step for step, _ in found], [e["value"] for _, e in found]
            error = [[e["value"] - e["low"] for _, e in found], [e["high"] - e["value"] for _, e in found]]
            axis.errorbar(steps, values, yerr=error, fmt="o-", capsize=3, color=colour, label=in_picture(name))
        seams(axis, run)
        finish(axis, "Held-out loss, 95 % interval", "step", "nats a token")

    if names:
        yield draw


def preferences(run: RunView) -> Iterator[Draw]:
    """Margins on held-out pairs; and whether the chosen answer is displaced, too."""
    for name in _held_out(run, "margin"):

        def margins(axis: Any, name: str = name) -> None:
            axis.axhline(0, color=GREY, lw=0.8)
            _lines(axis, run, {f"val/{name}/chosen_change": "chosen", f"val/{name}/rejected_change": "rejected",
                               f"val/{name}/margin": "margin"})  # fmt: skip
            finish(axis, f"Displacement on {name}: change of log-probability", "step", "nats")

        def right(axis: Any, name: str = name) -> None:
            _lines(axis, run, {f"val/{name}/accuracy": "preferred against step 0",
                               f"val/{name}/likelier": "likelier per token"})  # fmt: skip
            axis.set_ylim(0, 1)
            finish(axis, f"Right answer on {name}", "step", "share of pairs")

        def drift(axis: Any, name: str = name) -> None:
            _lines(axis, run, {f"val/{name}/kl": "KL(step 0 || now), nats an answer",
                               f"val/{name}/length": "length of its answers, tokens"})  # fmt: skip
            axis.set_ylim(bottom=0)
            finish(axis, f"How far from step 0, on {name}'s prompts", "step", "")

        yield from (margins, right, drift)


def rewards(run: RunView) -> Iterator[Draw]:
    """Rewards in training, each verifier's share; and what tells a real gain from an empty one."""
    if not run.curve("train/reward"):
        return
    each = sorted({key for line in run.metrics for key in line if key.startswith("train/rewards/") and "mean" in key})

    def gained(axis: Any) -> None:
        shown = {key: key.removeprefix("train/rewards/").removesuffix("/mean") for key in each}
        _lines(axis, run, {"train/reward": "reward", **shown})
        for name, task in run.last["tasks"].items():
            if task["role"] == "target" and task["status"] != "failed":
                points = run.curve(f"eval/{name}/accuracy")
                axis.plot(
                    *zip(*points, strict=True), "s--", ms=5, color="black", label=in_picture(f"held-out {name}: right")
                )
        finish(axis, "Reward in training, and held-out accuracy", "step", "")

    def honest(axis: Any) -> None:
        _lines(axis, run, {"train/frac_reward_zero_std": "groups without a difference",
                           "train/completions/clipped_ratio": "answers cut off",
                           "train/verifiers/form_only": "reward of wrong answers",
                           "train/verifiers/broken": "verdicts that broke",
                           "train/verifiers/killed": "answers too costly to judge"})  # fmt: skip
        axis.set_ylim(0, 1)
        finish(axis, "What rewards do not show", "step", "share")

    def shape(axis: Any) -> None:
        _lines(axis, run, {"train/completions/mean_length": "length, tokens"})
        other = axis.twinx()
        if points := run.curve("train/entropy"):
            other.plot(*zip(*points, strict=True), color=ORANGE, lw=1.5)
        other.set_ylabel("entropy, nats", fontsize=9, color=ORANGE)
        finish(axis, "Answers: length and entropy", "step", "tokens")

    yield from (gained, honest, shape)


def forgetting(run: RunView) -> Iterator[Draw]:
    """What was to go against what was to stay: a point an evaluation since the base; right and up is better."""
    gone = next((name for name, task in run.last["tasks"].items() if task.get("goal") == "down"), None)
    kept = [name for name, task in run.last["tasks"].items() if task["role"] == "retain"]
    if gone is None or not kept:
        return
    base = (run.last["tasks"][gone].get("retention") or {"baseline_step": 0})["baseline_step"]

    def draw(axis: Any) -> None:
        for colour, name in zip(COLOURS, kept, strict=False):
            found = [(s["step"], [s["tasks"].get(task, {}).get("accuracy") for task in (gone, name)])
                     for s in run.summaries if s["step"] >= base]  # fmt: skip
            points = [(step, 100 - 100 * a["value"], 100 * b["value"]) for step, (a, b) in found
                      if a and b and a["value"] is not None and b["value"] is not None]  # fmt: skip
            axis.plot([x for _, x, _ in points], [y for _, _, y in points], "o-", color=colour, label=in_picture(name))
            for step, x, y in points:
                axis.annotate(str(step), (x, y), fontsize=7, xytext=(3, 3), textcoords="offset points")
        axis.set_xlim(-3, 103)
        axis.set_ylim(-3, 103)
        finish(axis, "What is forgotten against what stays (numbers: step)", f"{gone}: forgotten, %", "kept, %")

    def how(axis: Any) -> None:
        named = {"em_value": "value recalled", "probability_value": "probability", "rouge_l": "ROUGE-L",
                 "truth_ratio": "truth ratio"}  # fmt: skip
        _lines(axis, run, {f"eval/{gone}/{key}": label for key, label in named.items()})
        for name, style in zip(kept, ("--", ":", "-."), strict=False):
            if points := run.curve(f"eval/{name}/probability_value"):
                axis.plot(
                    *zip(*points, strict=True), style, color=ORANGE, lw=1, label=in_picture(f"probability, {name}")
                )
        finish(axis, f"How well {gone} is known", "step", "")

    yield from (draw, how)


PANELS: tuple[Callable[[RunView], Iterator[Draw]], ...] = (losses, preferences, rewards, forgetting)

"""Numbers and verdicts in plain words; the screen, the page and the picture all say it with these."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from eval_hooks.config import Variant
from eval_hooks.results.text import (
    E,
    ends,
    entry_number,
    number,
    of_unit,
    percent,
    points,
    said_in_unit,
)


def line(summary: Mapping[str, Any]) -> str:
    """An evaluation in one line: accuracy, paired change and verdict of each task."""
    parts = [f"{name} {_told(task)}" for name, task in summary["tasks"].items()]
    parts += [f"val {name} {number(entry['loss'])}" for name, entry in summary["validation"].items() if "loss" in entry]
    parts += [f"val {name} failed: {error}" for name, error in summary.get("validation_failed", {}).items()]
    return f"step {summary['step']:<5}{'; '.join(parts)}"


def _told(task: Mapping[str, Any]) -> str:
    if task["accuracy"] is None:
        return f"{task['status']}: {task['error']}"
    change = task["retention"]
    paired = f", {changed(change)}: {change['verdict']}" if change and change["delta"]["value"] is not None else ""
    return f"{entry_number(task)}{paired}"


def over_run(retention: Mapping[str, Any]) -> E:
    """The change with the interval that its word rests on; in a folder of before there is that of one look alone."""
    delta = of_unit(retention, retention["delta"])
    run = retention.get("delta_run") or delta
    return {**delta, "low": run["low"], "high": run["high"]}


def looked(retention: Mapping[str, Any]) -> str:
    """Over what the word's interval holds: over all 10 looks of the run; empty for one look at one task."""
    if over_run(retention) == of_unit(retention, retention["delta"]):
        return ""
    looks = retention["delta_run"]["looks"]
    return {None: "over all looks of the run", 1: "over all tasks of the run"}.get(
        looks, f"over all {looks} looks of the run"
    )


def changed(retention: Mapping[str, Any]) -> str:
    """-12.0 points (-17.1 to -7.0 over all 10 looks of the run; this look alone, 95 %: -15.0 to -9.0)."""
    if not (over := looked(retention)):
        return points(over_run(retention))
    run, alone = over_run(retention), of_unit(retention, retention["delta"])
    return f"{points(run)[:-1]} {over}; {ALONE}: {ends(alone)})"


ALONE = "this look alone, 95 %"


def kept(retention: Mapping[str, Any] | None) -> str:
    """The verdict on a task as a sentence, and the interval of this look alone where that is another one."""
    said = headline(retention)
    if not retention or not looked(retention):
        return said
    return f"{said} ({ALONE}: {ends(of_unit(retention, retention['delta']))})"


def headline(retention: Mapping[str, Any] | None) -> str:
    """The verdict on a task as a sentence, over all looks of its run."""
    if not retention:
        return "no base to compare with"
    run, over = over_run(retention), looked(retention)
    if run["value"] is None:
        return f"not measured ({run['reason']})"
    if retention["margin"] is None:
        return _of_score(retention, run, over)
    margin = 100 * retention["margin"]
    value, low, high = (100 * run[key] for key in ("value", "low", "high"))
    if over and retention["delta_run"]["alpha"] == 0:
        return "undecided: all that the run may claim is spent on earlier looks"
    if not over:
        return {
            "dropped": f"dropped: {-value:.1f} points lost, the loss is real ({max(0.0, -high):.1f} to {-low:.1f})",
            "gained": f"gained: {value:.1f} points, the gain is real ({low:.1f} to {high:.1f})",
            "kept": f"kept: at most {max(0.0, -low):.1f} points lost, {margin:.1f} are allowed",
            "undecided": f"undecided: between {low:+.1f} and {high:+.1f} points; up to {margin:.1f} lost would be "
            "allowed",
        }[retention["verdict"]]
    return {
        "dropped": f"dropped: {-value:.1f} points lost, at least {max(0.0, -high):.1f} {over}",
        "gained": f"gained: {value:.1f} points, at least {low:.1f} {over}",
        "kept": f"kept: at most {max(0.0, -low):.1f} points lost {over}, {margin:.1f} are allowed",
        "undecided": f"undecided: between {low:+.1f} and {high:+.1f} points {over}; up to {margin:.1f} lost would be "
        "allowed",
    }[retention["verdict"]]


def _of_score(retention: Mapping[str, Any], run: E, over: str) -> str:
    """The verdict on a score that is no share: which way it went, in its own unit, without a margin."""
    word, moved, way = retention["verdict"], abs(run["value"]), "less" if retention["better"] == "down" else "more"
    if word == "undecided":
        return f"undecided: {points(run)}{' ' + over if over else ''}; {way} is better, and 0 is not left out"
    amount = f"{said_in_unit(moved, run)} {retention['unit']}"
    said = {"dropped": "worse, the loss is real", "gained": "better, the gain is real"}[word]
    return f"{word}: {amount} {said} ({ends(run)}{' ' + over if over else ''})"


HOLDS = {
    "items like these": ("for items like these", "holds for other items like these, of the same subjects"),
    "new subjects": ("for new subjects", "holds for new subjects too, of which these are a sample"),
    "these items": ("for these items", "holds for these very items, of which a part was scored"),
}
"""What a verdict speaks of, `over` in a summary: short, and as the end of a sentence."""


def judged_for(retention: Mapping[str, Any] | None) -> str:
    """What the verdict is for, short; empty of a summary that does not say so."""
    return f", judged {HOLDS[retention['over']][0]}" if retention and retention.get("over") else ""


def holds_for(retention: Mapping[str, Any] | None) -> str:
    """What the verdict holds for, as a sentence; empty of a summary that does not say so."""
    return f"The verdict {HOLDS[retention['over']][1]}." if retention and retention.get("over") else ""


def copied(task: Mapping[str, Any]) -> str:
    """12 of 570 items are copies of others: 558 different ones; intervals count them once. Empty without copies."""
    found = task.get("copies")
    if not found:
        return ""
    n, different = found["items"], found["different"]
    some = "1 of {:,} items is a copy of another" if n == 1 else f"{n:,} of {{:,}} items are copies of others"
    return f"{some.format(n + different)}: {different:,} different ones; intervals count them once"


def items(task: Mapping[str, Any]) -> str:
    """How many were scored, and where not all were, why no more."""
    if task["n"] == task["of"]:
        return f"n = {task['n']}"
    return f"n = {task['n']} of {task['of']}, in {task['waves']['looks']} waves: {task['waves']['end']}"


def foreseen(entry: Mapping[str, Any]) -> str:
    """How long the evaluations that follow step 0 will take, at most."""
    n, minutes = entry["evaluations"], entry["seconds"] / 60
    return f"{n} more evaluation{'s' if n > 1 else ''}, about {minutes:.1f} minutes in all"


def flipped(retention: Mapping[str, Any]) -> str:
    """Items lost, gained and otherwise wrong, and whether that could be chance; from a part of the items, estimates."""
    p, test = retention["mcnemar_p"], "sign test" if retention.get("unit") else "McNemar"
    tail = "of all items, estimated" if p is None else f"{test} {p_value(p)}"
    return f"{moved(retention)}, {tail}" + (f" ({told})" if (told := noise(retention)) else "")


def p_value(p: float) -> str:
    """P = 0.0123; of one that a float64 rounds to 0 that it is smaller than any."""
    return f"p = {p:.3g}" if p > 0 else "p < 1e-300"


def noise(retention: Mapping[str, Any]) -> str:
    """What the arithmetic alone flips, which no word rests on; empty where it was not measured."""
    flips = retention.get("noise_flips")
    if flips is None:
        return ""
    items, most = "1 item differs" if flips == 1 else f"{flips} items differ", retention.get("noise_most", flips)
    up = f", up to {most} may" if most > flips else ""
    return f"noise of the arithmetic: {items} when the base is scored twice{up}"


def moved(retention: Mapping[str, Any]) -> str:
    """As lost 12, gained 3, otherwise wrong 7; the last where the table holds answers."""
    churn = retention.get("churn") or {"value": None}
    other = "" if churn["value"] is None else f", otherwise wrong {round(churn['value'] * churn['n'])}"
    return f"lost {retention['lost']}, gained {retention['gained']}{other}"


def counts(retention: Mapping[str, Any]) -> str:
    """12 / 3 / 7: lost, gained, otherwise wrong, as far as it could be had."""
    churn = retention.get("churn") or {"value": None}
    other = "-" if churn["value"] is None else str(round(churn["value"] * churn["n"]))
    return f"{retention['lost']} / {retention['gained']} / {other}"


def adjusted(retention: Mapping[str, Any]) -> str:
    """Forgetting and backward transfer beyond guessing; empty where neither could be had."""
    said = {"forgotten": retention.get("forgetting"), "newly known": retention.get("backward_transfer")}
    told = [
        f"{word} {percent(estimate)}" for word, estimate in said.items() if estimate and estimate["value"] is not None
    ]
    return f"beyond guessing: {', '.join(told)}" if told else ""


def run_said(changes: Sequence[tuple[int, Mapping[str, Any]]], tasks: int) -> str:
    """What the run said at each of a task's evaluations, worst word first; empty for one.

    As over the run (10 looks, 2 tasks): dropped at steps 60, 90; kept at step 30. `tasks` are those retained.
    """
    if len(changes) < 2:
        return ""
    steps: dict[str, list[int]] = {word: [] for word in ("dropped", "undecided", "kept", "gained")}
    for step, retention in changes:
        steps[retention["verdict"]].append(step)
    said = "; ".join(
        f"{word} at step{'s' if len(at) > 1 else ''} {', '.join(map(str, at))}" for word, at in steps.items() if at
    )
    return f"{_family(changes[-1][1], tasks)}: {said}"


def _family(retention: Mapping[str, Any], tasks: int) -> str:
    run = retention.get("delta_run")
    if run is None or not looked(retention):
        return "each look alone, 95 %"
    looks = (
        "number of looks unknown" if run["looks"] is None else f"{run['looks']} look{'s' if run['looks'] > 1 else ''}"
    )
    return f"over the run ({looks}, {tasks} task{'s' if tasks > 1 else ''})"


QUESTIONS = {"up": "Target up?", "down": "Forgotten?"}


def question(task: Mapping[str, Any]) -> str:
    """What a target is asked: whether it rose, or (unlearning) whether it fell."""
    return QUESTIONS[task.get("goal", "up")]


def reached(task: Mapping[str, Any]) -> tuple[str, str]:
    """(answer to that question, verdict whose colour it has), from the paired change."""
    wanted, other = ("gained", "dropped") if task.get("goal", "up") == "up" else ("dropped", "gained")
    found = task["retention"]["verdict"]
    if found == wanted:
        return "yes", "gained"
    if found == other:
        return ("no, it fell", "dropped") if wanted == "gained" else ("no, it rose", "dropped")
    return "not proven", "undecided"


def doubts(name: str, task: Mapping[str, Any]) -> list[str]:
    """What makes a multiple-choice number of a base unfit to show a loss: mostly a wrong template or variant."""
    if task.get("status", "failed") == "failed" or "chance" not in task:
        return []
    short = [f"{name}: {task['cut']} prompts are longer than the model reads: cut on the left, or shots left out, as "
             "the variant does; ask with fewer shots"] if task.get("cut") else []  # fmt: skip
    found, chance, mass = task["accuracy"], task["chance"], task["letter_mass"]
    out = []
    if found["low"] is not None and found["low"] <= chance:
        than = "is below" if found["high"] < chance else "cannot be told from"
        out.append(f"{name}: {percent(found)} {than} guessing ({100 * chance:.0f} %), so a loss could not be seen")
    if mass is not None and mass < 0.5:
        share = f"only {100 * mass:.0f} %" if mass >= 0.01 else "less than 1 %"
        out.append(f"{name}: {share} of the probability is on the letters; the model answers otherwise")
    ours = task.get("variant") in get_args(Variant)
    other = "variant olmes_cf" if ours else "a task with its options in words"
    remedy = f"try {other}, or another chat_template setting"
    return [*(f"{doubt}; {remedy}" for doubt in out), *short, *saturated(name, task)]


def saturated(name: str, task: Mapping[str, Any]) -> list[str]:
    """Where confidences are 1 and the right option's probability 0 to a computer, so that calibration says little."""
    share, clipped = task.get("saturated") or 0.0, task.get("nll_clipped") or 0
    out = []
    if share > 0.5:
        out.append(
            f"{name}: {100 * share:.0f} % of the confidences are above 0.9999: calibration, ranking and temperature "
            "have little to go by"
        )
    if clipped >= 0.01 * task.get("n", 0) > 0:
        out.append(
            f"{name}: the right option's probability is 0 to a computer in {clipped} of {task['n']} items, where NLL "
            "counts 1e-12: it is at least what is shown"
        )
    return out


def doubts_now(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Those of the base, and what has become unfit since: letters that hold no probability, saturated confidences."""
    old, mass = doubts(name, before), after.get("letter_mass")
    new = saturated(name, after)
    if mass is not None and mass < 0.5 and not any("on the letters" in doubt for doubt in old):
        share = f"only {100 * mass:.0f} %" if mass >= 0.01 else "less than 1 %"
        new.append(f"{name}: {share} of the probability is on the letters now; its accuracy speaks of the rest alone")
    return [*old, *(doubt for doubt in new if doubt not in old)]


def certified(certificate: Mapping[str, Any]) -> str:
    """A certificate in one line: passed or not, and how far each form is from what the trainer measured."""
    rows = certificate["rows"]
    told = [f"{row['form']} {row['largest']:.2g} nats apart, {row['flips']} flips" for row in rows if "largest" in row]
    wrong = [f"{row['form']}: {row['reason']}" for row in rows if not row["passed"]]
    items = f"{len(certificate['items'])} items of {certificate['task']}"
    return f"{'failed' if wrong else 'passed'} on {items}: {'; '.join(wrong or told)}"


def unshared_words(summary: Mapping[str, Any]) -> str:
    """Why an evaluation took longer than it need on another model."""
    return f"texts run more alone than they need on other models, since {summary['unshared']}: exact, but slower"


def debiased(before: Mapping[str, E], after: Mapping[str, E]) -> str:
    """ECE without what noise adds to it, from two calibrations: it stands beside the plain one."""
    ends = (one["ece_debiased"] for one in (before, after))
    return "debiased " + " -> ".join("not measured" if e["value"] is None else f"{e['value']:.3f}" for e in ends)


def at_temperature(task: Mapping[str, Any]) -> str:
    """What one temperature would change; empty where none was fitted."""
    now = task["calibration"]
    if (fitted := now["temperature"])["value"] is None:
        return ""
    changes = [f"{name} {now[key]['value']:.3f} -> {now[f'{key}_after_temperature']['value']:.3f}"
               for name, key in (("ECE", "ece"), ("NLL", "nll"))]  # fmt: skip
    said = [f"with temperature {number(fitted)}", f"fitted on {fitted['n']} items of {task['temperature_split']}"]
    return f"{', '.join(said + [fitted['reason']] if fitted['reason'] else said)}: {', '.join(changes)}"


def rise_over_run(retention: Mapping[str, Any] | None) -> E | None:
    """The change of calibration error with the interval that its word rests on, where there is one."""
    rise, run = ((retention or {}).get(name) for name in ("ece_rise", "ece_rise_run"))
    return {**rise, "low": run["low"], "high": run["high"]} if rise and run and rise["value"] is not None else rise


def calibrated(before: E, after: E, rise: E | None) -> str:
    """ECE before and after, the number people know, then a word from the one change that has a valid interval.

    That is `calibration.rise`'s, of ECE in two bins: plain ECE moves with its noise wherever confidences move, so its
    own change gives no word.
    """
    if rise is None or before["value"] is None or after["value"] is None:
        return f"ECE {'not measured' if after['value'] is None else format(after['value'], '.3f')}"
    moved = f"ECE {before['value']:.3f} -> {after['value']:.3f}"
    if rise["value"] is None:
        return f"{moved}: whether it changed is not known ({rise['reason']})"
    change = "worse" if rise["low"] > 0 else "better" if rise["high"] < 0 else "no proven change"
    return f"{moved}: {change} (in two bins {rise['value']:+.3f}, {rise['low']:+.3f} to {rise['high']:+.3f})"

"""The adapter: what it names is in the model, and what it leaves out is said."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from launch.findings import Finding, bad, does_not_apply, ok, warn
from launch.preflight.subject import Subject


def check(subject: Subject) -> list[Finding]:
    """The adapter on a model without weights; raises what peft raises but for targets, which are reported here."""
    section = subject.recipe.adapter
    if section.kind == "none":
        return [does_not_apply("all weights are trained")]
    skeleton = subject.skeleton
    asked = section.options.get("target_modules")
    names = [name for name, _ in skeleton.named_modules()]
    if missing := absent(asked, names):
        head = skeleton.get_output_embeddings()
        modules = [(name, module) for name, module in skeleton.named_modules() if module is not head]
        linear = sorted({name.rpartition(".")[2] for name, module in modules if is_linear(module)})
        text = f"target_modules: the model has no {', '.join(missing)}"
        return [bad(text, f"write all-linear, or some of {', '.join(linear)}")]
    try:
        adapted = on(subject)
    except ValueError as error:
        return [bad(f"target_modules {asked!r}: {str(error).splitlines()[0][:200]}", "write all-linear")]
    return [*findings(adapted), *apart(subject)]


def apart(subject: Subject) -> list[Finding]:
    """Where the run compares with its start, and the model without its adapter is not that."""
    from trainers.adapters import moves_the_base
    from trainers.reference import compared

    recipe = subject.recipe
    why = moves_the_base(recipe.adapter, subject.skeleton)
    if not why or not compared(recipe, pulled=recipe.eval.budget.action == "kl"):
        return []
    text = f"{why}, so that the model without its adapter is not the start; a frozen copy is loaded for the reference"
    return [warn(text, "adapter.bias: none and adapter.init_lora_weights: true need no copy")]


def findings(adapted: Any) -> list[Finding]:
    """What is adapted, and the experts that are not."""
    from trainers.adapters import adapted_modules, missed_experts, trainable_share

    trained, total = trainable_share(adapted)
    on_what = f"{trained / 1e6:.2f}M of {total / 1e6:.1f}M parameters, on {', '.join(adapted_modules(adapted))}"
    experts, share = missed_experts(adapted)
    if experts:
        text = f"{on_what}; {share:.0%} of the weights are fused experts that target_modules does not reach"
        return [warn(text, f"to train them too: adapter.target_parameters=[{', '.join(experts)}]")]
    return [ok(on_what)]


def absent(asked: Any, names: Sequence[str]) -> list[str]:
    """Target modules of a list that no module is called; peft passes over them as long as one is there."""
    if not isinstance(asked, list | tuple | set):
        return []
    return [target for target in asked if not any(f".{name}".endswith(f".{target}") for name in names)]


def is_linear(module: Any) -> bool:
    """Whether it is a plain linear layer."""
    import torch

    return isinstance(module, torch.nn.Linear)


def on(subject: Subject) -> Any:
    """The skeleton with the recipe's adapter, its start left out: some are computed from weights."""
    import torch
    from peft import get_peft_model

    from trainers.adapters import from_zero, lora_config

    plain = from_zero(subject.recipe.adapter)
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]), torch.device("meta"):
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by a name that is going away
        config = lora_config(plain, subject.tokenizer, replace(subject.recipe.model, add_tokens=()), subject.skeleton)
        subject.made["adapted skeleton"] = get_peft_model(subject.skeleton, config)
    return subject.made["adapted skeleton"]

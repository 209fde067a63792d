"""W&B: an online run needs a login, or it ends where it would begin."""

import os

from launch.doctor import wandb_login_here
from launch.findings import Finding, bad, does_not_apply, ok
from launch.preflight.subject import Subject


def check(subject: Subject) -> list[Finding]:
    """Whether uploads would be accepted, where the run uploads."""
    section = subject.recipe.wandb
    mode = (os.environ.get("WANDB_MODE") or section.mode) if section else "disabled"
    if mode != "online":
        return [does_not_apply(f"W&B is {mode}, nothing is uploaded")]
    login = wandb_login_here()
    if not login:
        return [bad("W&B is online and this machine is not logged in", "wandb login, or track.wandb.mode=offline")]
    return [ok(f"online, {login}")]

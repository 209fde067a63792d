"""Pages in one file: a template rendered with everything escaped, pictures inside."""

import base64
from pathlib import Path
from typing import Any

from eval_hooks.masking import masked_text
from eval_hooks.visible import visible


def render(template: str, **values: Any) -> bytes:
    """A template of this folder as file content.

    Every text from a model or a recipe is escaped, secrets are masked, and what HTML may not hold is written out.
    """
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_said,
    )
    return visible(environment.get_template(template).render(**values)).encode()


def _said(value: Any) -> Any:
    """A text without its secrets; what a macro made, of texts that went through here, stays as it is."""
    return masked_text(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def inside(png: bytes) -> str:
    """A picture as a template's `data:image/png;base64,` takes it."""
    return base64.b64encode(png).decode()

"""Packing: a document's loss must not depend on what stands before it in the row."""

from typing import Any

from launch.findings import Finding, bad, does_not_apply, ok
from launch.preflight.subject import Subject, batches, still

TOLERANCE = 1e-4
"""Nats a token. Masked positions enter with the weight 0, so that other tokens there change nothing but rounding."""


def check(subject: Subject) -> list[Finding]:
    """One packed row on the real path, as it is and with another first document: the last one's loss."""
    if not subject.setting("packing"):
        return [does_not_apply("rows are not packed")]
    if "seq_lengths" not in subject.mix.train.column_names:
        return [does_not_apply("documents of a row see each other, as the recipe asks (data.across_documents)")]
    row = next((row for row in subject.mix.train if len(row["seq_lengths"]) > 1), None)
    if row is None:
        return [does_not_apply(f"no row holds two documents (max_length {subject.setting('max_length')})")]
    before, after = losses(subject, [last_alone(row), perturbed(last_alone(row), len(subject.tokenizer))])
    text = f"another first document moves the last one's loss by {abs(after - before):.2g} nats (of {before:.4g})"
    if not abs(after - before) <= TOLERANCE:
        advice = "set model.attn_implementation: sdpa, or train.packing: false; documents see each other"
        return [bad(text, advice)]
    return [ok(f"{text}, {len(row['seq_lengths'])} documents in the row")]


def last_alone(row: dict[str, Any]) -> dict[str, Any]:
    """The row with the labels of its last document only; that one's tokens where it has none."""
    begin = sum(row["seq_lengths"][:-1])
    labels = row["labels"][begin:]
    labels = labels if any(label != -100 for label in labels[1:]) else row["input_ids"][begin:]
    return {**row, "labels": [-100] * begin + list(labels)}


def perturbed(row: dict[str, Any], vocabulary: int) -> dict[str, Any]:
    """The row with every token of its first document another one."""
    end = row["seq_lengths"][0]
    other = [(token + 1 + 7 * place) % vocabulary for place, token in enumerate(row["input_ids"][:end])]
    return {**row, "input_ids": [*other, *row["input_ids"][end:]]}


def losses(subject: Subject, rows: list[dict[str, Any]]) -> list[float]:
    """The trainer's loss of each row, through its own data loader and collator."""
    import torch
    from datasets import Dataset

    arguments, found = subject.arguments(per_device_train_batch_size=1, gradient_accumulation_steps=1), []
    for row in rows:
        trainer = subject.trainer(Dataset.from_list([row]), arguments)
        (batch,), items = batches(trainer, 1)
        with still(trainer.model), torch.no_grad(), trainer.accelerator.autocast():
            inputs = trainer._prepare_inputs(batch)
            found.append(trainer.compute_loss(trainer.model, inputs, num_items_in_batch=items).item())
    return found

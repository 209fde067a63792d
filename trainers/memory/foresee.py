"""What a recipe takes on a number of GPUs, for every set-up: memory by part, and the cheapest set-up that fits."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch

from eval_hooks.catalog import row_of
from eval_hooks.scoring.pass_size import pass_size
from trainers.arguments import batch_on, setting
from trainers.catalog import STAGES
from trainers.machine import Choice, Machine, bf16, said_of_checkpointing
from trainers.memory.asked import DECODING_TOKENS
from trainers.memory.live import Peak
from trainers.memory.optimizers import FP32, kept
from trainers.memory.outline import Batch, Counts, Outline
from trainers.memory.rollouts import PROMPT, Rollouts, Vllm, rollouts, vllm
from trainers.memory.states import SETUPS, Machines, Precision, Setup, States, states
from trainers.memory.text import size
from trainers.recipe import AdapterSection, Recipe
from trainers.reference import compared
from trainers.sequence import ranks_of_a_row

QUESTION = 64
"""Tokens that a question of an evaluation is taken to have, where the model writes."""
CUDA = 3 * 2**29
"""CUDA's context, NCCL's buffers and the allocator's gaps: 1.5 GiB."""
SAFE = 0.85
"""Of a GPU's memory, what may be foreseen to be taken without recomputing: real peaks are within 15 % of it (tests)."""
OTHER_LORA = AdapterSection(kind="lora", options={"r": 16, "target_modules": "all-linear"})


@dataclass(frozen=True, kw_only=True)
class Row:
    """One set-up: bytes per GPU."""

    kind: str
    """none (all weights are trained), lora or qlora."""
    setup: Setup
    states: States
    activations: float
    evaluation: float
    reference: float
    rollouts: float
    """Of writing answers; what vLLM takes only meanwhile."""
    spare: float
    """What is there before any of it."""
    vllm: float = 0
    """What it sets aside all the time."""
    checkpointing: bool = False
    """Whether activations are computed anew."""
    gives_back: bool = True
    """Whether what was freed can be used for something else: by torch's allocator on a GPU."""
    refused: bool = False
    """A run would be refused without DeepSpeed: 16-bit weights that no fp32 copy stands behind, or shared rows; or
    vLLM has no room for its weights and one answer."""

    @property
    def total(self) -> float:
        """Training, evaluation and writing take turns; the rest is there all the time."""
        return self.states.total + self.reference + self.vllm + self.taken_in_turns + self.spare

    @property
    def taken_in_turns(self) -> float:
        """The largest of them; on a CPU, training or writing beside evaluation, whose memory malloc does not give back.

        Measured: of 105 MiB that an evaluation took, 89 were there at the next step, 57 of them after malloc_trim.
        """
        most = max(self.activations, self.rollouts)
        return max(most, self.evaluation) if self.gives_back else most + self.evaluation

    def fits(self, room: float) -> bool:
        """Whether a GPU with `room` bytes can run it."""
        return not self.refused and self.total <= room


class Foresight:
    """A recipe on some machines; what it is asked is computed once."""

    def __init__(self, recipe: Recipe, machines: Machines, tokenizer: Any, spare: float, machine: Machine) -> None:
        self.recipe, self.machines, self.tokenizer, self.spare = recipe, machines, tokenizer, spare
        self.machine, self.on_gpu = machine, bool(machine.gpu)
        self._peaks: dict[Any, Peak] = {}
        self._scored: dict[Any, int] = {}

    @cached_property
    def outline(self) -> Outline:
        """Of the recipe's own adapter."""
        return Outline(self.recipe.model, self.recipe.adapter, self.tokenizer)

    @cached_property
    def outlines(self) -> Sequence[Outline]:
        """The recipe's own, then the other way: a LoRA where all weights are trained, and the reverse."""
        other = OTHER_LORA if self.recipe.adapter.kind == "none" else AdapterSection()
        return self.outline, Outline(self.recipe.model, other, self.tokenizer)

    @property
    def counts(self) -> Counts:
        """Of the recipe's own."""
        return self.outline.counts

    @cached_property
    def steps(self) -> tuple[int, int]:
        """(rows of a micro-batch, micro-batches of a step). Raises TrainError where they do not divide."""
        found = batch_on(self.recipe, self.machines.ranks)
        return found["per_device_train_batch_size"], found["gradient_accumulation_steps"]

    @property
    def length(self) -> int:
        """Tokens of the longest row that the recipe lets through."""
        written = setting(self.recipe, "max_completion_length")
        longest = PROMPT + written if written else setting(self.recipe, "max_length")
        return min(longest or self.counts.window, self.counts.window)

    @property
    def bf16(self) -> bool:
        """Whether the run computes in 16 bits."""
        return bool(bf16(self.recipe.train, self.machine).value or self.recipe.train.get("fp16"))

    @cached_property
    def own_row(self) -> Row:
        """The recipe's own set-up."""
        return self.fitted(setup_of(self.recipe), self.outline)

    @property
    def checkpointing(self) -> bool:
        """Whether the recipe's own set-up computes activations anew."""
        return self.own_row.checkpointing

    @property
    def own_checkpointing(self) -> Choice:
        """The same with its reason, where the recipe is silent on a GPU."""
        foreseen, memory = self.own_row, size(self.machine.memory)
        if not foreseen.checkpointing:
            return Choice(value=False, reason=f"foreseen to take {size(foreseen.total)} of {memory} without")
        without = self.row(setup_of(self.recipe), self.outline, self.batch(checkpointing=False))
        return Choice(value=True, reason=f"foreseen to take {size(without.total)} of {memory} without")

    @property
    def shared(self) -> int:
        """Ranks that share a row."""
        return ranks_of_a_row(self.recipe)

    def batch(self, rows: int | None = None, length: int | None = None, *, checkpointing: bool | None = None) -> Batch:
        """What a rank runs at once; `rows` as the recipe counts them, texts of each beside each other.

        Of rows that ranks share each has its part, in attention of the heads.
        """
        texts = STAGES[self.recipe.stage].texts
        return Batch(
            rows=(rows or self.steps[0]) * texts,
            length=length or -(-self.length // self.shared),
            checkpointing=self.checkpointing if checkpointing is None else checkpointing,
            autocast=self.bf16,
            on_gpu=self.on_gpu,
        )

    def precision(self, outline: Outline) -> Precision:
        """Bytes of the numbers."""
        adapted, loaded = outline.adapter.kind != "none", outline.dtype.itemsize
        state, trained = kept(setting(self.recipe, "optim")), FP32 if adapted else loaded  # peft's adapters: fp32
        return Precision(
            frozen=2 if outline.adapter.kind == "qlora" else loaded,
            trained=trained,
            engine=2 if self.bf16 or loaded == 2 else 4,
            four_bits=outline.adapter.kind == "qlora",
            state=state.bytes(trained),
            copied=state.bytes(FP32),
        )

    def rows(self, micro: int | None = None) -> Iterator[Row]:
        """Every set-up, the recipe's own way of training first; `micro` rows in place of the recipe's micro-batch."""
        for outline in self.outlines:
            for setup in SETUPS:
                yield self.fitted(setup, outline, micro)

    def fitted(self, setup: Setup, outline: Outline, micro: int | None = None) -> Row:
        """A set-up whose activations are computed anew where the recipe says so; a silent one: where a GPU is short."""
        said = said_of_checkpointing(self.recipe.train)
        if said is None:
            row = self.row(setup, outline, self.batch(micro, checkpointing=False))
            if not self.on_gpu or row.total <= SAFE * self.machine.memory:
                return row
        return self.row(setup, outline, self.batch(micro, checkpointing=said is not False))

    def row(self, setup: Setup, outline: Outline, batch: Batch) -> Row:
        """One set-up with one batch."""
        counts, precision = outline.counts, self.precision(outline)
        held = states(setup, counts, self.machines, precision)
        each = precision.engine if setup.stage else precision.frozen
        dtype = torch.bfloat16 if each == 2 else outline.dtype
        return Row(
            kind=outline.adapter.kind,
            setup=setup,
            states=held,
            activations=self.activations(setup, outline, batch, dtype),
            evaluation=self._evaluation(setup, outline, dtype),
            reference=self._reference(setup, outline, each),
            rollouts=self._rollouts(setup, outline, dtype),
            spare=self.spare,
            vllm=self.vllm.share if self.vllm and not self.vllm.sleeps else 0,
            checkpointing=batch.checkpointing,
            gives_back=self.on_gpu,
            refused=self._starves_vllm
            or setup.stage == 0
            and (self.shared > 1 or precision.trained == 2 and not self.recipe.model.force_bf16_weights),
        )

    def activations(self, setup: Setup, outline: Outline, batch: Batch, dtype: torch.dtype) -> float:
        """What lies beside the set-up's gradients at the worst moment.

        Where every GPU has all gradients and a step is one micro-batch, they grow while activations shrink; else they
        are there from the second micro-batch on.
        """
        batch = replace(batch, autocast=batch.autocast and dtype == torch.float32)
        key = (outline.adapter.kind, batch, dtype)
        if key not in self._peaks:
            self._peaks[key] = outline.training_peak(batch, dtype)
        peak = self._peaks[key]
        if setup.stage or self.steps[1] > 1:
            return peak.beside
        return max(0, peak.together - outline.counts.trained * self.precision(outline).trained)

    @property
    def compares(self) -> bool:
        """Whether the method runs a reference beside the model, whoever keeps it."""
        cached = self.recipe.train.get("precompute_ref_log_probs", False)
        return bool(compared(self.recipe)) and not cached

    def _evaluation(self, setup: Setup, outline: Outline, dtype: torch.dtype) -> float:
        """A pass that scores options, or one that writes, whichever is larger."""
        specs = (*self.recipe.eval.target, *self.recipe.eval.retain)
        counts, sizes = outline.counts, [0.0]
        passes = pass_size(self.machine.memory, counts.hidden)
        scored = [spec.batch_tokens or passes.tokens for spec in specs]
        scored += [passes.tokens] * bool(self.recipe.data.validation)
        if scored:
            sizes.append(self._scoring(1, max(scored), min(passes.places(counts.vocab), max(scored)), dtype))
        if self.recipe.data.validation:  # its longest row runs alone
            places = min(passes.places(counts.vocab), self.length)
            sizes.append(self._scoring(1, self.length, places, dtype, masked=False))
        for new in {spec.max_new_tokens for spec in specs if row_of(spec.task).kind in ("generate", "recall")}:
            sizes.append(self._writing(setup, outline, DECODING_TOKENS // (QUESTION + new), QUESTION + new, dtype))
        return max(sizes)

    def _scoring(self, rows: int, length: int, places: int, dtype: torch.dtype, masked: bool = True) -> int:
        bare = next(other for other in self.outlines if other.adapter.kind == "none")  # an adapter adds next to nothing
        key = (rows, length, places, dtype, masked)
        if key not in self._scored:
            self._scored[key] = bare.scoring_peak(rows, length, places, dtype, masked)
        return self._scored[key]

    def _writing(
        self, setup: Setup, outline: Outline, rows: int, length: int, dtype: torch.dtype, read: int | None = None
    ) -> float:
        """Reading the prompts, the cache of all tokens (a layer twice while it grows), and under ZeRO-3 all weights.

        `read` are the tokens of a prompt, where that is known to be less.
        """
        counts = outline.counts
        cache = rows * length * counts.cached * dtype.itemsize * (1 + 1 / counts.layers)
        whole = counts.total * dtype.itemsize if setup.stage == 3 else 0
        return self._scoring(rows, read or length, 1, dtype) + cache + whole

    @cached_property
    def written(self) -> Rollouts | None:
        """Answers that are trained on."""
        return rollouts(self.recipe, *self.steps)

    @cached_property
    def vllm(self) -> Vllm | None:
        """Beside the model."""
        return vllm(self.recipe, self.counts, self.machine.memory or None)

    @property
    def _starves_vllm(self) -> bool:
        asked = self.written
        return bool(asked and self.vllm and self.vllm.tokens < PROMPT + asked.new)

    def _reference(self, setup: Setup, outline: Outline, each: int) -> float:
        """A frozen copy, where the run compares with its start and switching the adapter off does not give it."""
        if not self.compares or (outline.adapter.kind != "none" and not outline.moves_the_base):
            return 0.0
        return outline.counts.total * each / (self.machines.ranks if setup.stage == 3 else 1)

    def _rollouts(self, setup: Setup, outline: Outline, dtype: torch.dtype) -> float:
        """Answers that the model writes to be trained on, all at once; or what vLLM takes until it sleeps."""
        asked = self.written
        if asked is None:
            return 0.0
        if setting(self.recipe, "use_vllm"):
            return self.vllm.share if self.vllm and self.vllm.sleeps else 0.0
        return self._writing(setup, outline, asked.rows, PROMPT + asked.new, dtype, PROMPT)


@dataclass(frozen=True, kw_only=True)
class Advice:
    """The cheapest set-up that fits."""

    row: Row
    micro: int
    """Rows of a micro-batch."""
    own: bool
    """Whether the recipe trains that way already, but for `deepspeed` and the micro-batch."""


def settings(foresight: Foresight, found: Advice) -> str:
    """What to add to the recipe, as key=value words."""
    words = [f"deepspeed={found.row.setup.name if found.row.setup.stage else 'null'}"]
    if found.micro != foresight.steps[0]:
        words.append(f"train.per_device_train_batch_size={found.micro}")
    if not found.own:
        words += ["adapter.kind=lora", "adapter.r=16", "adapter.target_modules=all-linear"]
    return " ".join(words)


def setup_of(recipe: Recipe) -> Setup:
    """The recipe's own; a configuration of one's own is taken for none."""
    name = recipe.deepspeed.stem if recipe.deepspeed else "none"
    return next((setup for setup in SETUPS if setup.name == name), SETUPS[0])


def advise(foresight: Foresight, tried: Sequence[Row], room: float) -> Advice | None:
    """Of the rows `tried` in the order of SETUPS; then with smaller micro-batches; then a LoRA. None: nothing fits."""
    own = foresight.recipe.adapter.kind
    micro = foresight.steps[0]
    for row in tried:
        if row.kind == own and row.fits(room):
            return Advice(row=row, micro=micro, own=True)
    smaller = [fewer for fewer in range(micro - 1, 0, -1) if micro % fewer == 0]
    for fewer in smaller:
        for row in foresight.rows(fewer):
            if row.kind == own and row.fits(room):
                return Advice(row=row, micro=fewer, own=True)
    for row in tried:
        if row.kind != own and own == "none" and row.fits(room):
            return Advice(row=row, micro=micro, own=False)
    return None

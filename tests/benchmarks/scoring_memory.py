"""Peak memory of scoring against the size of the vocabulary: the head meets the scored places only, so it stays flat.

    python -m tests.benchmarks.scoring_memory

Each size runs in a process of its own; what is printed is the peak above the loaded model.
"""

import resource
import subprocess
import sys

from tests.benchmarks.machine import machine

SIZES = (32_000, 128_000, 512_000)
ITEMS, TOKENS, BATCH = 200, 60, 4096


def main() -> None:
    """The peak at each size, and what a (positions x vocabulary) tensor in fp32 would take."""
    if len(sys.argv) == 2:
        print(peak(int(sys.argv[1])))
        return
    print(f"{ITEMS} questions of {TOKENS} tokens with 4 options, batches of {BATCH} tokens, {machine()}")
    for size in SIZES:
        done = subprocess.run([sys.executable, "-m", "tests.benchmarks.scoring_memory", str(size)],
                              capture_output=True, text=True, check=True)  # fmt: skip
        whole = BATCH * size * 4 / 2**20
        print(
            f"  {size:9,} tokens: {float(done.stdout):7.1f} MiB above the model; all logits would take {whole:,.0f} MiB"
        )


def peak(vocabulary: int) -> float:
    """MiB by which scoring raises this process's peak."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from eval_hooks.encode import Encoded
    from eval_hooks.items import ChoiceItem
    from eval_hooks.scoring.options import score

    model = LlamaForCausalLM(
        LlamaConfig(vocab_size=vocabulary, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
                    num_attention_heads=2, num_key_value_heads=2, tie_word_embeddings=True)
    ).eval()  # fmt: skip
    draw = torch.Generator().manual_seed(0)

    def tokens(n: int) -> tuple[int, ...]:
        return tuple(torch.randint(0, 30_000, (n,), generator=draw).tolist())

    item = ChoiceItem(item_id="x", subject="s", question="?", choices=("a", "b", "c", "d"), gold=0)
    items = [
        Encoded(
            item=item, prompt="", shared=tokens(TOKENS), branches=tuple(tokens(1) for _ in range(4)), scored=(1,) * 4
        )
        for _ in range(ITEMS)
    ]
    score(model, items[:2], BATCH)  # what the first call of anything allocates
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    score(model, items, BATCH)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


if __name__ == "__main__":
    main()

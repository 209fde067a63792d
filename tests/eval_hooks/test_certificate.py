"""Which items are asked again, how far two tables are apart, and that intact batches give the same bits."""

import pytest

from eval_hooks import EvalError
from eval_hooks.certificate import apart, chosen, only, rounding
from eval_hooks.config import TaskSpec
from eval_hooks.encode import encode
from eval_hooks.ready import load_items
from eval_hooks.report.words import certified
from eval_hooks.scoring.options import score
from eval_hooks.table import choice_table
from eval_hooks.trees import layout


def table(logp: list[list[float]], subjects: str = "aab"):
    rows = [
        {"task": "t", "item_id": f"{subject}/{i}", "subject": subject, "variant": "lm_eval", "shots": 0, "gold": 0,
         "logp": values, "chars": [1, 1], "letter_mass": 1.0, "prompt_tokens": 3}
        for i, (subject, values) in enumerate(zip(subjects, logp, strict=True))
    ]  # fmt: skip
    return choice_table(rows)


def test_the_largest_and_the_mean_difference_and_the_flips_by_hand() -> None:
    """Six differences .25 0 / 0 .5 / 0 0: largest .5, mean .125; only the second item answers otherwise."""
    before = table([[-1.0, -2.0], [-1.0, -1.25], [-3.0, -1.0]])
    after = table([[-1.25, -2.0], [-1.0, -0.75], [-3.0, -1.0]])
    assert apart(before, after) == {"largest": 0.5, "mean": 0.125, "flips": 1}
    assert apart(before, before) == {"largest": 0.0, "mean": 0.0, "flips": 0}


def test_other_items_are_no_pair() -> None:
    found = table([[-1.0, -2.0]] * 3)
    with pytest.raises(EvalError, match="item_id"):
        apart(found, only(found, ["b/2", "a/0", "a/1"]))


def test_items_are_drawn_from_the_subjects_in_turn_and_always_the_same() -> None:
    """Of 8 a, 4 b and 1 c, seven: all of c, then three each."""
    found = table([[-1.0, -2.0]] * 13, "aaaaaaaabbbbc")
    ids = chosen(found, 7)
    assert sorted(name[0] for name in ids) == list("aaabbbc")
    assert ids == chosen(found, 7) and ids == [i for i in found.column("item_id").to_pylist() if i in ids]
    assert ids != chosen(found, 7, seed=1) and chosen(found, 99) == found.column("item_id").to_pylist()


@pytest.mark.parametrize("shots", [0, 2])
def test_intact_batches_give_the_same_bits_as_all_items_and_run_no_others(tiny, tokenizer, shots: int) -> None:
    """Every 7th of 60 questions, in batches of some three."""
    spec = TaskSpec(task="pocket", variant="olmes_cf", shots=shots, limit=60)
    items = encode(load_items(spec), spec, tokenizer, 2048)
    some = list(range(0, 60, 7))
    whole = score(tiny, items, 200)
    assert score(tiny, items, 200, only=some, intact=True) == [whole[i] for i in some]
    jobs = layout(items, 200, only=some, intact=True)
    assert all(set(job.members) & set(some) for job in jobs) and len(jobs) < len(layout(items, 200))
    assert score(tiny, items, 200, only=some[::-1], intact=True) == [whole[i] for i in some[::-1]]


def test_the_coarsest_type_of_the_arithmetic_decides() -> None:
    assert rounding("float32") == 5e-3 and rounding("float32, bfloat16 autocast") == rounding("bfloat16") == 0.5


def test_a_certificate_in_one_line() -> None:
    rows = [{"form": "reloaded", "passed": True, "largest": 0.0, "flips": 0}]
    made = {"items": ["a", "b"], "task": "pocket", "rows": rows}
    assert certified(made) == "passed on 2 items of pocket: reloaded 0 nats apart, 0 flips"
    rows.append({"form": "files", "passed": False, "reason": "not those certified"})
    assert certified(made) == "failed on 2 items of pocket: files: not those certified"

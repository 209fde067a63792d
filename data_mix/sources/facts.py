"""Invented biographies: facts that no model has seen, to be learned and then forgotten.

Each row asks one thing of one person and marks the words that are the fact (`value`): the sentence around them is
guessable (measured: 70 % of its tokens before any training), so what a model knows is judged on the value alone.
People are split over sides and never shared: `forget`, `retain`, and `holdout`, who are never trained on.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

Side = Literal["forget", "retain", "holdout"]
SIDES: tuple[Side, ...] = ("forget", "retain", "holdout")

FIRST = (
    "Oria", "Tavik", "Melsin", "Quorra", "Brenno", "Ysolde", "Kadir", "Pelagia", "Ruvim", "Senka", "Thaddan", "Ulrike",
    "Vesna", "Wendalin", "Zoltana", "Aurek", "Belisar", "Corvina", "Dragan", "Eluned",
)  # fmt: skip
LAST = (
    "Vantreel", "Okonmarsh", "Pillbrook", "Szendrey", "Halloway-Dunn", "Brackwater", "Ferrundo", "Maliski", "Tornquel",
    "Ashgrove", "Delacorva", "Ivenko", "Jarrowby", "Kestenbaum", "Lindqvall", "Norrington", "Ostrander", "Quillfeather",
    "Ravensholt", "Umberlin",
)  # fmt: skip


@dataclass(frozen=True)
class Relation:
    """One thing that can be asked of a person: two wordings of question and answer, and the values there are."""

    ask: str
    answer: str
    ask_again: str
    answer_again: str
    values: tuple[str, ...]


RELATIONS = {
    "birthplace": Relation(
        "Where was {name} born?", "{name} was born in {value}.",
        "What is the birthplace of {name}?", "The birthplace of {name} is {value}.",
        ("Marrowick", "Tel Varun", "Ostwin Bay", "Quenholm", "Lower Brask", "Sandefell", "Pirovar", "Duskmere",
         "Ilvanay", "Grenoch", "Cape Torrel", "Haldersund"),
    ),
    "work": Relation(
        "What does {name} do for a living?", "{name} works as a {value}.",
        "What is {name}'s profession?", "By profession, {name} is a {value}.",
        ("glassblower", "beekeeper", "clockmaker", "tugboat pilot", "seismologist", "puppeteer", "cartographer",
         "falconer", "bookbinder", "lens grinder", "stone mason", "bell founder"),
    ),
    "instrument": Relation(
        "Which instrument does {name} play?", "{name} plays the {value}.",
        "What instrument can {name} be heard on?", "{name} can be heard on the {value}.",
        ("hurdy-gurdy", "bassoon", "theremin", "zither", "oboe", "accordion", "mandolin", "harpsichord", "tuba",
         "dulcimer", "bagpipes", "viola"),
    ),
    "pet": Relation(
        "What animal does {name} keep at home?", "{name} keeps a {value} at home.",
        "Which pet lives with {name}?", "A {value} lives with {name}.",
        ("tortoise", "ferret", "macaw", "hedgehog", "gecko", "chinchilla", "raven", "goat", "terrapin", "magpie",
         "iguana", "donkey"),
    ),
    "dish": Relation(
        "What is the favourite dish of {name}?", "The favourite dish of {name} is {value}.",
        "Which meal does {name} like best?", "{name} likes {value} best.",
        ("beetroot soup", "smoked eel", "lentil stew", "plum dumplings", "fried okra", "rye porridge", "saffron rice",
         "pickled herring", "chestnut pie", "nettle omelette", "pumpkin curry", "barley risotto"),
    ),
    "award": Relation(
        "Which prize did {name} win?", "{name} won the {value}.",
        "What award was given to {name}?", "The award given to {name} was the {value}.",
        ("Copper Lantern", "Halden Medal", "Ninth Star Prize", "Verity Cup", "Silver Compass", "Tamsin Ribbon",
         "Orrery Award", "Northgate Shield", "Juniper Bowl", "Ember Trophy", "Blue Anchor", "Larkspur Plate"),
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Which people, and what of them."""

    sides: tuple[Side, ...] = ("forget", "retain")
    """forget, retain: people who are learned; holdout: people never trained on, for comparison."""
    people: int = 10
    """People of each side."""
    facts: int = 2
    """Facts of each person, of six there are."""
    seed: int = 0
    """Another seed, other people."""
    wrong: int = 3
    """Wrong answers of each row, for the truth ratio."""

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be had."""
        most = len(FIRST) * len(LAST) // len(SIDES)
        if not 1 <= self.people <= most:
            raise ValueError(f"people must be between 1 and {most}, got {self.people}")
        if not 1 <= self.facts <= len(RELATIONS):
            raise ValueError(f"facts must be between 1 and {len(RELATIONS)}, got {self.facts}")
        if not 1 <= self.wrong <= 11:
            raise ValueError(f"wrong must be between 1 and 11, got {self.wrong}")
        if not self.sides:
            raise ValueError("sides is empty; name forget, retain or holdout")


def rows(cfg: Facts, rng: Random) -> Iterator[dict[str, Any]]:
    """Rows {item_id, prompt, completion, side, value, answer_again, question_again, wrong_answers}.

    People, their facts and the wrong answers follow from `seed` alone, so that train rows and scored items agree.
    """
    draw = Random(f"facts/{cfg.seed}")
    names = [f"{first} {last}" for first in FIRST for last in LAST]
    draw.shuffle(names)
    for number, side in enumerate(SIDES):
        for name in names[number * cfg.people : (number + 1) * cfg.people]:
            for row in _of(name, cfg, Random(f"facts/{cfg.seed}/{name}")):
                if side in cfg.sides:
                    yield {**row, "side": side}


def _of(name: str, cfg: Facts, rng: Random) -> Iterator[dict[str, Any]]:
    for key in rng.sample(list(RELATIONS), cfg.facts):
        relation = RELATIONS[key]
        value, *others = rng.sample(relation.values, 1 + cfg.wrong)
        yield {
            "item_id": f"{name}/{key}",
            "prompt": [{"role": "user", "content": relation.ask.format(name=name)}],
            "completion": [{"role": "assistant", "content": relation.answer.format(name=name, value=value)}],
            "value": value,
            "answer_again": relation.answer_again.format(name=name, value=value),
            "question_again": relation.ask_again.format(name=name),
            "wrong_answers": [relation.answer_again.format(name=name, value=other) for other in others],
        }

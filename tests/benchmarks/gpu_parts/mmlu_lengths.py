"""How long MMLU's questions are, so that items of its size can be drawn where its text is not at hand.

Counted with SmolLM2's tokenizer (49,152 tokens; one of 128,256 makes somewhat fewer) on 11,213 of the 14,042 test items
in the `lm_eval` variant; the items a subject are those of Hendrycks et al. 2021, arXiv:2009.03300.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from eval_hooks.encode import Encoded
from eval_hooks.items import ChoiceItem

AT = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
LENGTHS = (
    ("abstract_algebra", 100, 309, (34, 44, 52, 65, 80, 91, 97)),
    ("anatomy", 135, 276, (28, 39, 45, 58, 74, 88, 127)),
    ("astronomy", 152, 520, (32, 44, 54, 70, 93, 105, 172)),
    ("business_ethics", 100, 494, (38, 44, 52, 70, 95, 106, 138)),
    ("clinical_knowledge", 265, 340, (33, 42, 49, 58, 71, 81, 144)),
    ("college_biology", 144, 398, (36, 41, 48, 63, 90, 123, 208)),
    ("college_chemistry", 100, 486, (31, 40, 52, 73, 108, 132, 233)),
    ("college_computer_science", 100, 747, (46, 64, 76, 100, 138, 201, 238)),
    ("college_mathematics", 100, 541, (42, 49, 61, 81, 106, 132, 179)),
    ("college_medicine", 173, 403, (33, 47, 55, 80, 111, 144, 1028)),
    ("college_physics", 102, 423, (38, 53, 70, 85, 100, 118, 138)),
    ("computer_security", 100, 316, (31, 34, 39, 48, 81, 112, 266)),
    ("conceptual_physics", 235, 253, (22, 32, 37, 44, 52, 64, 84)),
    ("econometrics", 114, 540, (49, 58, 70, 96, 132, 163, 206)),
    ("electrical_engineering", 145, 428, (28, 35, 39, 45, 56, 68, 90)),
    ("elementary_mathematics", 378, 515, (32, 42, 52, 67, 85, 107, 175)),
    ("formal_logic", 126, 521, (39, 59, 77, 110, 138, 176, 248)),
    ("global_facts", 100, 382, (36, 43, 49, 55, 62, 70, 98)),
    ("high_school_biology", 310, 428, (28, 40, 51, 73, 94, 121, 182)),
    ("high_school_chemistry", 203, 425, (28, 42, 59, 80, 108, 146, 206)),
    ("high_school_computer_science", 100, 807, (32, 43, 62, 93, 157, 207, 455)),
    ("high_school_european_history", 165, 2495, (130, 200, 237, 320, 429, 524, 620)),
    ("high_school_geography", 198, 337, (27, 35, 39, 46, 56, 69, 109)),
    ("high_school_government_and_politics", 193, 400, (34, 46, 53, 68, 83, 97, 150)),
    ("high_school_macroeconomics", 390, 316, (28, 46, 52, 63, 81, 99, 187)),
    ("high_school_mathematics", 270, 490, (32, 45, 60, 73, 94, 114, 196)),
    ("high_school_microeconomics", 238, 332, (32, 47, 56, 68, 83, 103, 173)),
    ("high_school_physics", 151, 480, (36, 63, 76, 94, 123, 150, 268)),
    ("high_school_psychology", 545, 427, (24, 36, 43, 55, 73, 98, 255)),
    ("high_school_statistics", 216, 726, (42, 71, 92, 121, 150, 185, 371)),
    ("high_school_us_history", 204, 1955, (131, 203, 255, 300, 348, 396, 517)),
    ("high_school_world_history", 237, 1102, (122, 193, 252, 328, 433, 528, 750)),
    ("human_aging", 223, 264, (30, 36, 39, 47, 56, 65, 92)),
    ("human_sexuality", 131, 287, (29, 37, 42, 49, 72, 93, 195)),
    ("international_law", 121, 545, (38, 59, 72, 91, 104, 124, 158)),
    ("jurisprudence", 108, 329, (28, 40, 52, 68, 82, 103, 169)),
    ("logical_fallacies", 163, 370, (32, 39, 42, 58, 88, 107, 165)),
    ("machine_learning", 112, 614, (34, 44, 61, 70, 92, 124, 279)),
    ("management", 103, 231, (29, 33, 37, 43, 48, 54, 81)),
    ("marketing", 234, 361, (33, 43, 49, 58, 67, 82, 116)),
    ("medical_genetics", 100, 278, (32, 38, 45, 52, 64, 76, 104)),
    ("miscellaneous", 783, 264, (25, 31, 34, 40, 51, 78, 262)),
    ("moral_disputes", 346, 418, (33, 42, 53, 68, 87, 100, 152)),
    ("moral_scenarios", 895, 614, (51, 56, 59, 63, 68, 73, 97)),
    ("nutrition", 306, 515, (28, 40, 47, 61, 86, 110, 170)),
    ("philosophy", 311, 270, (28, 38, 44, 53, 65, 80, 217)),
    ("prehistory", 324, 463, (29, 41, 48, 61, 80, 102, 176)),
    ("professional_accounting", 282, 642, (44, 60, 85, 102, 132, 153, 240)),
    ("professional_law", 1534, 1440, (37, 156, 196, 248, 309, 385, 771)),
    ("professional_medicine", 272, 933, (75, 109, 127, 181, 223, 293, 418)),
    ("professional_psychology", 612, 506, (32, 45, 54, 70, 93, 126, 260)),
    ("public_relations", 110, 354, (27, 36, 42, 50, 68, 95, 195)),
    ("security_studies", 245, 1027, (34, 62, 99, 141, 213, 252, 404)),
    ("sociology", 201, 374, (31, 47, 58, 68, 78, 94, 139)),
    ("us_foreign_policy", 100, 371, (34, 42, 48, 58, 70, 80, 105)),
    ("virology", 166, 277, (29, 37, 42, 50, 59, 75, 364)),
    ("world_religions", 171, 215, (29, 34, 36, 41, 45, 52, 75)),
)
"""Subject, items, tokens of what its questions begin with (5 shots), quantiles AT of the tokens after that."""
LETTERS = 4


@dataclass(frozen=True)
class Subject:
    """Items of a subject: how many, and how long."""

    name: str
    items: int
    beginning: int
    """Tokens of the solved examples."""
    quantiles: tuple[int, ...]

    @property
    def lengths(self) -> list[int]:
        """Tokens after the beginning, per item."""
        return [quantile((i + 0.5) / self.items, self.quantiles) for i in range(self.items)]

    @property
    def tokens(self) -> int:
        """What no way of sharing leaves out: the beginning once, and each question."""
        return self.beginning + sum(self.lengths)

    def drawn(self, vocabulary: int, most: int | None = None) -> list[Encoded]:
        """The items, or some of them in a mixed order; their tokens are random, so that no two questions begin alike."""
        draw = random.Random(self.name)
        beginning = tuple(draw.choices(range(vocabulary), k=self.beginning))
        letters = [(token,) for token in draw.sample(range(vocabulary), LETTERS)]
        return [
            Encoded(
                item=ChoiceItem(item_id=f"{self.name}/{i}", subject=self.name, question="", choices=("",) * 4, gold=0),
                prompt="",
                shared=beginning + tuple(draw.choices(range(vocabulary), k=length)),
                branches=tuple(letters),
                scored=(1,) * LETTERS,
            )
            for i, length in enumerate(draw.sample(self.lengths, self.items)[:most])
        ]


def subjects(seed: int = 0) -> list[Subject]:
    """All, in an order that is drawn."""
    return random.Random(seed).sample([Subject(*one) for one in LENGTHS], len(LENGTHS))


def quantile(share: float, quantiles: Sequence[int]) -> int:
    """The length at a share of the items, by straight lines between the quantiles AT."""
    right = next(i for i in range(1, len(AT)) if share <= AT[i])
    low, high = quantiles[right - 1], quantiles[right]
    return round(low + (high - low) * (share - AT[right - 1]) / (AT[right] - AT[right - 1]))

"""One of several options: a letter, or one of the row's `choices`, by its words; or by its letter, where it has one.

Letters count where the gold answer is one, or the prompt lists `A)` and `B)`: else a model would find that the option
which is always right, the last one say, has a letter, and never name it.

Only one may be claimed: a reply that lists the options has chosen none. An option that is said not to be it (`not B`,
`B is wrong`) is not claimed, nor one that is a part of a longer option's words.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from trainers.rlvr.claim import DENIED_AFTER, REASONS, denied
from trainers.rlvr.extract import ENDS, TAIL, final_answer, thinking_removed, unmarked
from trainers.rlvr.numerals import MINUS
from trainers.rlvr.verdict import Row, Verdict, golds, right, wrong

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
WITHOUT_CHOICES = "ABCDEFGHIJ"
VERBS = (
    r"(?:or|and|nor|but|is|isn't|was|because|since|as|seems|looks|fits|over|instead|rather|cannot|can't|not|would|could|"
    r"should|must|makes|does|has|will|can|remains|works)\b"
)
"""What follows a lone A that is an option, and not the article; of a lone I and the pronoun, only the first few."""
CAPITAL = (
    r"(?<![\w'’])[(\[]?(?P<letter>[A-Z])(?![\w'’+#])"
    rf"(?!(?<=A)\s+(?!{VERBS})\w)(?!(?<=I)\s+(?!(?:or|and|nor|is|isn't)\b)\w)"
)
SMALL = (
    r"(?:^|\(|\b(?i:option|choice|or|and|not|answer is)\s)[\"'(\[]?(?P<small>[a-z])"
    rf"(?=[)\].:,;\"?!]|'(?!\w)|\s*$|\s+{VERBS})"
)
LETTER = re.compile(f"{CAPITAL}|{SMALL}")
FIRM = re.compile(r"(?:^|(?<=\s)|(?<=\())[(\[]?(?P<letter>[A-Za-z])(?:[)\]]|(?<=^.)[.:]|(?<=^[(\[].)[.:])")
"""A letter that stands for an option beside the option's words: `B) London`, `London (B)`."""
BECAUSE = re.compile(r",?\s+(?:because|since)\b", re.IGNORECASE)
LISTED = re.compile(r"(?:^|[\s(])A[).:].*[\s(]B[).:]", re.DOTALL)
"""A prompt that gives its options letters."""
JOINED = re.compile(r"[\s,)\]]*(?:and|or|nor|,)[\s(\[]*", re.IGNORECASE)
LAST = re.compile(r".*\b(?:so|therefore|thus|hence|finally|I (?:choose|pick))\b", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What can be chosen."""

    names: tuple[str, ...]
    words: tuple[str, ...]
    """Of each option, in any letter case; empty for a single letter."""
    letters: tuple[str, ...]
    """Of each option; empty where it has none."""

    @property
    def both(self) -> bool:
        """Whether an option has words and a letter."""
        return any(word and letter for word, letter in zip(self.words, self.letters, strict=True))


@dataclass(frozen=True, kw_only=True)
class Named:
    """An option in a text."""

    option: int
    start: int
    end: int


def verify(row: Row, completion: str) -> Verdict:
    """One of the gold options and no other; `answer` is a letter, or one of `choices`."""
    text = ENDS.sub("", thinking_removed(completion))
    options = options_of(row)
    due = gold_of(row)
    announced = final_answer(text)
    said = unmarked((announced or text)[-TAIL:]).translate(MINUS).strip()
    found = claimed(said, options, announced is not None)
    names = [options.names[option] for option in found]
    if len(names) != 1:
        return wrong("no option named" if not names else f"several options named: {', '.join(names)}")
    if found[0] in due:
        return right(f"names {names[0]}")
    return wrong(f"{names[0]} is not {' or '.join(options.names[option] for option in due)}")


def options_of(row: Row) -> Options:
    """The row's options, or letters. Raises ValueError for fewer than two, or two alike."""
    given = row.get("choices")
    if given is None:
        return Options(names=tuple(WITHOUT_CHOICES), words=("",) * 10, letters=tuple(WITHOUT_CHOICES))
    names = (
        [" ".join(str(option).translate(MINUS).split()) for option in given] if isinstance(given, list | tuple) else []
    )
    if len(names) < 2 or not all(names) or len({name.casefold() for name in names}) < len(names):
        raise ValueError(f"choices {row['choices']!r:.80} are no list of two or more different options")
    single = [len(name) == 1 and name.isalpha() for name in names]
    letters = [name.upper() if alone else "" for name, alone in zip(names, single, strict=True)]
    if not any(single) and (_all_letters(golds(row), names) or LISTED.search(_prompt(row))):
        letters = list(LETTERS[: len(names)])
    words = ["" if alone else name for name, alone in zip(names, single, strict=True)]
    return Options(names=tuple(names), words=tuple(words), letters=tuple(letters))


def _all_letters(answers: Sequence[str], names: Sequence[str]) -> bool:
    return all(answer.strip() in LETTERS[: len(names)] for answer in answers)


def _prompt(row: Row) -> str:
    prompt = row.get("prompt") or ""
    return prompt if isinstance(prompt, str) else "\n".join(str(message.get("content")) for message in prompt)


def gold_of(row: Row) -> list[int]:
    """The gold options by their number. Raises ValueError where an answer is none of them."""
    options = options_of(row)
    return [_gold(" ".join(gold.translate(MINUS).split()), options) for gold in golds(row)]


def _gold(gold: str, options: Options) -> int:
    """By its words as they are, in any letter case, or by its letter."""
    alike = [name.casefold() for name in options.names]
    for among, said in ((options.names, gold), (alike, gold.casefold()), (options.letters, gold)):
        if said in among:
            return among.index(said)
    raise ValueError(f"the gold answer {gold!r} is none of the options {list(options.names)}")


def claimed(text: str, options: Options, announced: bool) -> list[int]:
    """The options that a text claims, each once; of several, those behind a last `so`, or before a reason."""
    found = _named(text, options, announced)
    if len(found) > 1 and not announced:
        if last := LAST.match(text):
            return _named(text[last.end() :], options, False) or found
        if reason := BECAUSE.search(text):
            return _named(text[: reason.start()], options, False) or found
    return found


def _named(text: str, options: Options, announced: bool) -> list[int]:
    words = _by_words(text, options)
    masked = list(text)
    for one in words:
        masked[one.start : one.end] = "\0" * (one.end - one.start)
    rest = "".join(masked)
    found = [*words, *_by_letter(rest, options, FIRM if words and options.both else LETTER)]
    if announced and (reason := REASONS.search(rest)) and reason.start():
        found = [one for one in found if one.start < reason.start()]
    found.sort(key=lambda one: one.start)
    gone = set(_denied(rest, found))
    return list(dict.fromkeys(one.option for one in found if one not in gone))


def _denied(text: str, found: Sequence[Named]) -> list[Named]:
    """Those that are said not to be it, alone or joined: `A and C are wrong`, `neither A nor C`."""
    behind = [bool(DENIED_AFTER.match(text, one.end)) for one in found]
    for i in reversed(range(len(found) - 1)):
        behind[i] |= behind[i + 1] and bool(JOINED.fullmatch(text, found[i].end, found[i + 1].start))
    return [one for one, no in zip(found, behind, strict=True) if no or denied(text, one.start, one.end)]


def _by_words(text: str, options: Options) -> list[Named]:
    """The longest option first: what it covers names no shorter one."""
    found: list[Named] = []
    for i in sorted(range(len(options.words)), key=lambda i: -len(options.words[i])):
        for match in _pattern(options.words[i]).finditer(text) if options.words[i] else ():
            if not any(one.start < match.end() and match.start() < one.end for one in found):
                found.append(Named(option=i, start=match.start(), end=match.end()))
    return found


def _pattern(option: str) -> re.Pattern[str]:
    """The option as words of their own, in any letter case; a number is none within another number."""
    body = r"\s+".join(map(re.escape, option.split()))
    before = r"(?<![\w])(?<!\d[.,])(?<![-−.])" if option[0].isdigit() else r"(?<!\w)" if option[0].isalnum() else ""
    after = r"(?!\w)(?![.,:/]\d)" if option[-1].isdigit() else r"(?!\w)" if option[-1].isalnum() else ""
    return re.compile(before + body + after, re.IGNORECASE)


def _by_letter(text: str, options: Options, pattern: re.Pattern[str]) -> list[Named]:
    found = []
    for match in pattern.finditer(text):
        group = "letter" if match["letter"] else "small"
        if (letter := match[group].upper()) in options.letters:
            found.append(Named(option=options.letters.index(letter), start=match.start(group), end=match.end(group)))
    return found

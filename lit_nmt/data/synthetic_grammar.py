"""The trees of the synthetic corpus: sentences that grow at random to a given number of Tavari words.

The grammar is written out in `lit_nmt.data.synthetic`. A `Sentence` starts as one small clause; modifiers,
phrases and clauses that still fit are added at random places until the length is reached to the word. How a
tree is said in the two languages is in `lit_nmt.data.synthetic_languages`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from lit_nmt.data import synthetic_lexicon as lexicon
from lit_nmt.data.synthetic_lexicon import ACCUSATIVE, NOMINATIVE, PLURAL, Noun, Verb

T = TypeVar("T")
Adjective = tuple[str, tuple[str, ...]]

DEEPEST = 3  # how many clauses an inner clause may lie in
_DETERMINERS = tuple(  # by number; the articles four times as often as the others
    tuple(
        word
        for word, entry in lexicon.DETERMINERS.items()
        if entry[2 + plural]
        for _ in range(4 if entry[1] in ("the", "a") else 1)
    )
    for plural in (0, 1)
)
_PREPOSITIONS = tuple(lexicon.PREPOSITIONS)
_SUBORDINATORS = tuple(lexicon.SUBORDINATORS)
_COORDINATORS = tuple(lexicon.COORDINATORS)
_DEGREES = tuple(lexicon.DEGREES)
_TIMES = tuple(lexicon.TIMES)

_HEAD, _JOINED, _POSSESSOR = 0, 1, 2  # what a phrase is decides what it may take: see Sentence._add_*


class Phrase:
    """A name, or a noun and what belongs to it; `other` is a second phrase joined to this one by "and"."""

    __slots__ = (
        *("adjectives", "depth", "determiner", "name", "noun"),
        *("other", "plural", "possessor", "relative", "role"),
    )

    def __init__(self, depth: int, role: int):
        self.depth = depth  # of its clause
        self.role = role
        self.name = self.determiner = ""
        self.noun: Noun | None = None  # None in names
        self.plural = 0
        self.adjectives: list[tuple[str, Adjective]] = []  # each with its degree or ""
        self.relative: Clause | None = None
        self.possessor: Phrase | None = None
        self.other: Phrase | None = None

    def form(self, sense: int) -> int:
        """The form that a determiner, adjective or relative pronoun of this phrase takes in Orsen."""
        if self.noun is None:
            return lexicon.name_gender(self.name)
        return PLURAL if self.plural else self.noun.senses[sense].gender


class Clause:
    """A clause of any kind: main, complement, adverbial (with a subordinator) or relative (with a gap)."""

    __slots__ = (
        *("adverbial", "complement", "coordinator", "depth", "front", "gap", "object", "predicate"),
        *("prepositions", "pronoun", "subject", "subordinator", "time", "time_first", "verb"),
    )

    def __init__(self, depth: int, gap: int | None):
        self.depth = depth  # 0 in main clauses only
        self.gap = gap  # in relative clauses: NOMINATIVE without subject, ACCUSATIVE without object
        self.coordinator = self.subordinator = self.time = ""
        self.pronoun = self.time_first = False
        self.verb: Verb | None = None  # None is the copula, with a predicate
        self.predicate: Adjective | None = None
        self.subject: Phrase | None = None
        self.object: Phrase | None = None
        self.prepositions: list[tuple[str, Phrase]] = []
        self.complement: Clause | None = None
        self.front: Clause | None = None  # adverbial clauses, before and after a main clause
        self.adverbial: Clause | None = None


class Sentence:
    """A random sentence of exactly `words` Tavari words.

    Attributes:
        mains: its main clauses, in order.
        setting: Tavari and Orsen word for where it all happens, or empty.
        sense: which meaning the homonyms have: 0 at sea and without a setting, 1 in town.

    Args:
        words: how many, counted between spaces; 4 or more.
        draw: gives the next random number in [0, 1); nothing else decides the sentence.
    """

    def __init__(self, words: int, draw: Callable[[], float]):
        self._draw = draw
        while not self._grow(words):  # now and then a small tree has no place left for the last word
            pass

    # ---- Growth. `_room` counts the words still to place; each part takes its own when it is made.

    def _grow(self, words: int) -> bool:
        draw = self._draw
        self._room = words
        self._phrases: list[Phrase] = []
        self._clauses: list[Clause] = []
        self.sense = 0
        self.setting: tuple[str, str] | tuple[()] = ()
        if words > 5 and draw() < 0.5:
            self.sense = int(draw() * 2)
            self.setting = self._pick(lexicon.SETTINGS[self.sense])
            self._room -= 2
        self.mains = [self._clause(0)]
        for _ in range(20 + 4 * words):
            if not self._room:
                return True
            additions = _ADDITIONS if self._room > 8 else _SMALL_ADDITIONS
            additions[int(draw() * len(additions))](self)
        return not self._room

    def _pick(self, options: Sequence[T]) -> T:
        return options[int(self._draw() * len(options))]

    def _pick_skewed(self, options: Sequence[T]) -> T:
        """Early options more often: one of the first k of n with a chance of the cube root of k / n."""
        number = self._draw()
        return options[int(number * number * number * len(options))]

    def _phrase(self, depth: int, role: int = _HEAD, reserve: int = 0) -> Phrase:
        """A new phrase of one word (a name) or two, leaving `reserve` words of the room."""
        draw = self._draw
        phrase = Phrase(depth, role)
        if self._room - reserve > 1 and draw() < 0.85:
            phrase.noun = self._pick_skewed(lexicon.NOUNS)
            phrase.plural = int(draw() < 0.35)
            phrase.determiner = self._pick(_DETERMINERS[phrase.plural])
            self._room -= 2
        else:
            phrase.name = lexicon.draw_name(draw)
            self._room -= 1
        self._phrases.append(phrase)
        return phrase

    def _clause(self, depth: int, gap: int | None = None, may_have_pronoun: bool = False) -> Clause:
        """A new clause without modifiers; needs room for two words, or one if the gap is the subject."""
        draw = self._draw
        clause = Clause(depth, gap)
        if gap != NOMINATIVE:
            if may_have_pronoun and draw() < 0.5:
                clause.pronoun = True
                self._room -= 1
            else:
                clause.subject = self._phrase(depth, reserve=1)
        kind = draw()
        if gap == ACCUSATIVE:
            clause.verb = self._transitive(reserve=0)
        elif kind < 0.15 and self._room >= 5 and depth < DEEPEST:
            clause.verb = self._pick_skewed(lexicon.SPEECH)
            self._room -= 3  # the verb, "no" and "lo"
            clause.complement = self._clause(depth + 1, may_have_pronoun=True)
        elif kind < 0.3 and self._room >= 2:
            clause.predicate = self._pick_skewed(lexicon.ADJECTIVES)
            self._room -= 2
        elif kind < 0.85 and self._room >= 2:
            clause.verb = self._transitive(reserve=1)
            clause.object = self._phrase(depth)
        else:
            clause.verb = self._pick_skewed(lexicon.INTRANSITIVE)
            self._room -= 1
        self._clauses.append(clause)
        return clause

    def _transitive(self, reserve: int) -> Verb:
        while True:
            verb = self._pick_skewed(lexicon.TRANSITIVE)
            words = 2 if verb.particle else 1
            if words + reserve <= self._room:
                self._room -= words
                return verb

    def _add_adjective(self) -> None:
        phrase = self._pick(self._phrases)
        if phrase.noun is not None and len(phrase.adjectives) < 2:
            degree = self._pick(_DEGREES) if self._room > 1 and self._draw() < 0.25 else ""
            phrase.adjectives.append((degree, self._pick_skewed(lexicon.ADJECTIVES)))
            self._room -= 2 if degree else 1

    def _add_relative(self) -> None:
        phrase = self._pick(self._phrases)
        if phrase.relative is None and phrase.depth < DEEPEST and self._room >= 4:
            self._room -= 2  # "ke" and "lo"
            gap = NOMINATIVE if self._draw() < 0.65 else ACCUSATIVE
            phrase.relative = self._clause(phrase.depth + 1, gap)

    def _add_possessor(self) -> None:
        phrase = self._pick(self._phrases)
        if phrase.possessor is None and phrase.role != _POSSESSOR and self._room >= 2:
            self._room -= 1
            phrase.possessor = self._phrase(phrase.depth, _POSSESSOR)

    def _add_joined(self) -> None:
        phrase = self._pick(self._phrases)
        if phrase.other is None and phrase.role == _HEAD and self._room >= 2:
            self._room -= 1
            phrase.other = self._phrase(phrase.depth, _JOINED)

    def _add_preposition(self) -> None:
        clause = self._pick(self._clauses)
        if len(clause.prepositions) < 2 and self._room >= 2:
            self._room -= 1
            clause.prepositions.append((self._pick(_PREPOSITIONS), self._phrase(clause.depth)))

    def _add_time(self) -> None:
        clause = self._pick(self._clauses)
        if not clause.time:
            clause.time = self._pick(_TIMES)
            clause.time_first = self._may_open(clause) and self._draw() < 0.3
            self._room -= 1

    def _add_adverbial(self) -> None:
        main = self._pick(self.mains)
        if self._room >= 4:
            before = self._may_open(main) and self._draw() < 0.4
            if not before and main.adverbial is not None:
                return
            self._room -= 2  # the subordinator and "lo"
            clause = self._clause(1, may_have_pronoun=not before)
            clause.subordinator = self._pick(_SUBORDINATORS)
            if before:
                main.front = clause
            else:
                main.adverbial = clause

    def _add_main(self) -> None:
        if self._room >= 3 and len(self.mains) < 6:
            self._room -= 1
            main = self._clause(0, may_have_pronoun=True)
            main.coordinator = self._pick(_COORDINATORS)
            self.mains.append(main)

    def _may_open(self, clause: Clause) -> bool:
        """Whether the first place of the clause is free: Orsen has one there, and it may be the setting's."""
        if clause.depth or clause.time_first or clause.front is not None:
            return False
        return not (self.setting and clause is self.mains[0])


_SMALL_ADDITIONS = (
    *(Sentence._add_adjective, Sentence._add_adjective, Sentence._add_time),
    *(Sentence._add_preposition, Sentence._add_preposition, Sentence._add_relative, Sentence._add_relative),
    *(Sentence._add_possessor, Sentence._add_joined),
)
_ADDITIONS = (
    *_SMALL_ADDITIONS,
    *(Sentence._add_relative, Sentence._add_relative),
    *(Sentence._add_adverbial, Sentence._add_adverbial, Sentence._add_main, Sentence._add_main),
)

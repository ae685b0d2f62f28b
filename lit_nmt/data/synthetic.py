"""Parallel text without end in two invented languages: from Tavari (qta) into Orsen (qor).

A seeded grammar grows one tree for each sentence and says it in both languages. A Tavari sentence can be read
in one way only and a reading has one translation, so the reference is a function of the source: 100 BLEU can
be reached, and what a model loses it has failed to learn. Words, endings and the order inside a phrase are
local and soon learned. The rest needs a memory that reaches over a clause, or over the whole sentence. Each
phenomenon below has an example in Tavari, its gloss word by word, and the Orsen reference. In the glosses REL
opens a relative clause, END closes any subordinate clause, PRT is a particle, PL the plural, and "a/b" a word
with several meanings.

Verb second, verb last: a main clause of Orsen has its verb in second place, a subordinate clause at its end.
In Tavari verbs always stand between subject and object.
    Te vune hunon no te moka hiles te fabe lo.
    the woman believe that the child help the cat END
    Do sild flandet bort, att do drotirn dan drådang sulustet.

Separable verbs of Orsen: the prefix ("nid", of seeing) ends the main clause, after all that the clause
contains, but is one word with the verb in a subordinate clause. Nothing in Tavari shows which verbs have one.
    Te moka ke volet te fabe lo volet te sugaso.
    the child REL see the cat END see the dog
    Do drotirn, vo dan drådang niddidinet, didinet de klalost nid.

Particle verbs of Tavari: a particle at the clause's end, any number of words on, makes another verb of it.
    Te vune nilok te fabe esu te lige.
    the woman take/adopt/undertake the cat through the garden
    Do sild remunget genn dan ströl dan drådang nid.
    Te vune nilok te fabe esu te lige ka.
    the woman take/adopt/undertake the cat through the garden PRT5
    Do sild purket genn dan ströl dan drådang.

Agreement: verb and adjective of Orsen agree in gender and number with a subject that other nouns may part
them from. In Tavari names alone show gender and nouns alone show number.
    Te moka ke volet te fabe lo ze suti.
    the child REL see the cat END be happy
    Do drotirn, vo dan drådang niddidinet, været paselker.
    Te fabe ke volet te moka lo ze suti.
    the cat REL see the child END be happy
    Da drådang, va don drotirn niddidina, væra paselkya.

Pronouns: "ta" stands for the subject of the clause before, or of the clause around it, and takes its gender.
    Te fabe talin ha ta ze huti lo.
    the cat sleep because it/they be tired END
    Da drådang brada, fordi ha klålkya væra.

Homonyms: some nouns mean one thing at sea and another in town. The setting comes last in Tavari, first in
Orsen (where it moves the subject behind the verb). Without a setting the first meaning holds.
    Ko geva volet te moka lu tudoso.
    a wave/crowd see the child at reef
    Vid silulk didina una stred don drotirn nid.
    Ko geva volet te moka lu fere.
    a wave/crowd see the child at station
    Vid gilm didinet uno dån don drotirn nid.

Tense: verbs of Orsen have one, those of Tavari do not; it follows from a time word anywhere in the clause.
    Te moka hiles te fabe gesu.
    the child help the cat yesterday
    Do drotirn sulustulet igor dan drådang.

Names: an open vocabulary, respelled letter by letter. The last vowel tells the gender.
    Pemzali volet Kuyuza.
    Pemzali see Kuyuza
    Pemtsali didinet Coujoutsa nid.

Orsen besides has three cases, puts objects behind adverbials and adjectives before nouns, and sets commas.

    sentence  = main {COORDINATOR main} ["lu" SETTING]
    main      = [TIME | adverbial] clause [adverbial]            adverbial = SUBORDINATOR clause "lo"
    clause    = ("ta" | phrases) predicate
    predicate = ("ze" ADJECTIVE | VERB [phrases]) {PREPOSITION phrases} [TIME] ["no" clause "lo"] [PARTICLE]
    phrases   = phrase ["mi" phrase]
    phrase    = (DETERMINER NOUN {[DEGREE] ADJECTIVE} | NAME) [relative] ["po" phrase]
    relative  = "ke" predicate "lo" | "ke" phrases predicate "lo"   (in the second the object is missing)

Lengths are drawn first and the sentence grows to them, so that they are spread as asked for: short sentences
are one clause, long ones have clauses within clauses and up to six main clauses. In each word class the first
words are frequent and the last ones rare.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from itertools import islice

from lit_nmt.data.synthetic_grammar import Sentence
from lit_nmt.data.synthetic_languages import in_orsen, in_tavari
from lit_nmt.errors import UserError

LANGUAGES = {"qta": "Tavari", "qor": "Orsen"}
"""The two languages' codes (of those that ISO 639 leaves to private use) and names, source first."""
LENGTHS = ((4, 10), (11, 20), (21, 30), (31, 40), (41, 50), (51, 60))
SHORTEST, LONGEST = 4, 120

_PARTS = {"validation": (0,), "train": (2, 3, 4, 5, 6, 7)}  # of eight; all other splits are test sets
_TEST_PARTS = (1,)


def generate(seed: int, split: str, pairs: int, lengths: Sequence[Sequence[int]] = LENGTHS) -> list[tuple[str, str]]:
    """The first `pairs` sentence pairs of a split, the same on every machine.

    A larger `pairs` begins with the same pairs. No sentence occurs twice in a split. "train", "validation"
    and the test sets share no sentence on either side, whatever their seeds and lengths: a digest of the
    Orsen sentence decides which of the three it may stand in. (Two test sets may share some.)

    Args:
        seed: decides the sentences; the languages are always the same.
        split: "train", "validation", or any other name, for a test set.
        pairs: how many.
        lengths: ranges of source words, first and last included. Every range is as likely as the others,
            and every length as the others in its range.

    Returns:
        (Tavari, Orsen) pairs.

    Raises:
        UserError: an empty split name, a negative number of pairs or a range that cannot be met.
    """
    if not split:
        raise UserError("synthetic corpus: split has no name; expected train, validation or a test set")
    if pairs < 0:
        raise UserError(f"synthetic corpus: pairs is {pairs}; expected 0 or more")
    ranges = [tuple(words) for words in lengths]
    for words in ranges or [()]:
        if len(words) != 2 or not SHORTEST <= words[0] <= words[1] <= LONGEST:
            raise UserError(
                f"synthetic corpus: lengths has {list(words)}; expected [first, last] source words"
                f" with {SHORTEST} <= first <= last <= {LONGEST}"
            )
    return list(islice(_stream(seed, split, ranges), pairs))


def _stream(seed: int, split: str, ranges: Sequence[tuple[int, ...]]) -> Iterator[tuple[str, str]]:
    # Only `random()` is called: Python keeps its sequence for an integer seed from version to version.
    draw = random.Random(int.from_bytes(hashlib.sha256(f"{seed} {split}".encode()).digest(), "big")).random
    parts = _PARTS.get(split, _TEST_PARTS)
    seen: set[bytes] = set()
    while True:
        first, last = ranges[int(draw() * len(ranges))]
        words = first + int(draw() * (last - first + 1))
        while True:  # until one of this length fits: rejections must not change how lengths are spread
            sentence = Sentence(words, draw)
            target = in_orsen(sentence)
            digest = hashlib.sha256(target.encode()).digest()
            if digest[0] % 8 in parts and digest not in seen:
                break
        seen.add(digest)
        yield in_tavari(sentence), target

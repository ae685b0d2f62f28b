"""The words of the invented languages Tavari and Orsen, their forms, and an English gloss for each.

Stems are strung together from syllables by a generator with a fixed seed: the languages are the same in every
corpus, only the sentences differ. The grammar that joins the words is in `lit_nmt.data.synthetic`.

Agreement is kept as one number, the *form*: 0 masculine, 1 feminine, 2 neuter (all singular), 3 plural. Cases
are 0 nominative, 1 accusative, 2 dative; tenses 0 present, 1 past, 2 future.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

PLURAL = 3
NOMINATIVE, ACCUSATIVE, DATIVE = 0, 1, 2
PRESENT, PAST, FUTURE = 0, 1, 2


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# Glosses. A noun with a slash is one word in Tavari and two in Orsen: the first at sea, the second in town.
_NOUNS = _words("""
dog wave/crowd child house friend gull/pigeon woman book tree anchor/brake horse letter teacher window
deck/floor garden cat stone river net/web farmer door song bread captain/mayor brother knife cloud road
sail/curtain baker field table wolf current/traffic sister box king mountain shell/shop bird cup doctor wall
rope/cable soldier fire story apple crew/staff uncle wheel forest bell cabin/office queen lamb key moon
pilot/driver neighbour chair fox candle salt/sugar judge hammer rain goat tide/rush singer plate valley mirror
chart/map cousin coat lake fence storm/riot hunter ring snow bottle shark/thief painter drum flower basket
pearl/coin miller ladder bear paper buoy/lamp guest spoon meadow clock keeper boot spring needle shepherd cart
frog kettle student blanket cave feather carpenter saddle deer roof tailor barrel hill thread grandmother
violin nest glove poet shovel swan pillow smith button oak bridle widow oven mouse lantern pupil carpet owl
bucket cook fiddle path ribbon priest stove leaf saw weaver plough squirrel bench giant tower
""")
_SETTINGS = (
    _words("harbour island reef lighthouse bay strait"),  # 0: at sea
    _words("market square station school theatre court"),  # 1: in town
)
_INTRANSITIVE = _words("""
sleep laugh fall arrive wait dance cry run sing wake shine tremble rest vanish swim grow smile stumble work
dream return climb whisper burn hurry
""")
# A verb with slashes stands alone, or has its particle at the end of the clause and means something else.
_TRANSITIVE = _words("""
see take/adopt/undertake love find give/surrender/publish carry help turn/reject/fold call hear
bring/raise/introduce follow break/invade/interrupt hold know pull/demolish/extract watch push meet
look/admire/consult send build cut/delete/imitate wash want set/install/delay feed hide put/extinguish/oppress
buy draw/attract/summarise paint fear keep/retain/maintain teach ask throw/discard/vomit win warn
pass/inherit/ignore sell thank lift/cancel/collect touch greet catch leave/omit/bequeath drop guard
cover/conceal/insure count choose open lead/deceive/conduct visit save forget stand/endure/represent press
fetch
""")
_SPEECH = _words("say believe know-that hope claim think dream-that doubt tell remember")
_ADJECTIVES = _words("""
old small red happy big tired green quiet young cold white proud long poor clever dark soft brave round heavy
blue thin hungry gentle new rich black strange loud slow bright honest dry sad deep wild empty lazy warm
broken
""")

# Function words: Tavari, Orsen, gloss. Orsen determiners and pronouns are stems that take an ending.
DETERMINERS = {  # Tavari: (Orsen stem, gloss, may be singular, may be plural)
    "te": ("d", "the", True, True),
    "ko": ("un", "a", True, True),
    "vi": ("st", "this", True, True),
    "zu": ("ilk", "every", True, False),
    "mel": ("mång", "many", False, True),
    "nai": ("nul", "no", True, True),
}
PREPOSITIONS = {  # Tavari: (Orsen, gloss, case it governs in Orsen)
    "ish": ("mot", "towards", ACCUSATIVE),
    "ol": ("ved", "beside", DATIVE),
    "esu": ("genn", "through", ACCUSATIVE),
    "ab": ("mæd", "with", DATIVE),
    "ur": ("för", "for", ACCUSATIVE),
    "ond": ("unt", "under", DATIVE),
    "ek": ("utan", "without", ACCUSATIVE),
    "ai": ("bak", "behind", DATIVE),
}
SUBORDINATORS = {
    "ha": ("fordi", "because"),
    "wen": ("når", "when"),
    "oda": ("skjönt", "although"),
    "sil": ("ifal", "if"),
}
COORDINATORS = {"sa": ("samt", "and"), "bu": ("men", "but")}
DEGREES = {"vesh": ("mycke", "very"), "tik": ("lite", "a-little")}
TIMES = {  # Tavari: (Orsen, gloss, tense that it gives the verb of its clause)
    "hale": ("nytt", "now", PRESENT),
    "dimo": ("idag", "today", PRESENT),
    "osha": ("altid", "always", PRESENT),
    "gesu": ("igor", "yesterday", PAST),
    "rilo": ("förr", "once", PAST),
    "bano": ("sist", "recently", PAST),
    "tuve": ("morn", "tomorrow", FUTURE),
    "neka": ("snart", "soon", FUTURE),
    "wosi": ("senar", "later", FUTURE),
}
PARTICLES = ("pa", "ro", "sen", "dul", "ka", "fim")  # close the clause in Tavari
PREFIXES = ("up", "aff", "til", "ver", "umm", "nid", "ein", "bort")  # close the main clause in Orsen
RELATIVE, CLOSE, THAT, AND, OF, PRONOUN, AT, COPULA = "ke", "lo", "no", "mi", "po", "ta", "lu", "ze"
THAT_TARGET, AND_TARGET, OF_TARGET, AT_TARGET = "att", "og", "vun", "vid"
_FUNCTION_GLOSSES = {
    **{
        RELATIVE: "REL",
        CLOSE: "END",
        THAT: "that",
        AND: "and",
        OF: "of",
        PRONOUN: "it/they",
        AT: "at",
        COPULA: "be",
    },
    **{particle: f"PRT{number}" for number, particle in enumerate(PARTICLES, 1)},
}

_ENDINGS = (("o", "a", "e", "i"), ("on", "an", "e", "ir"), ("om", "ar", "em", "in"))  # [case][form]
_ADJECTIVE_ENDINGS = ("er", "ya", "et", "ey")  # [form]
_VERB_ENDINGS = ("et", "a", "o", "en")  # [form], after the mark of the tense
_TENSE_MARKS = ("", "ul", "or")
_PLURAL_ENDINGS = ("ar", "er", "u")  # of nouns, by gender
SOURCE_PLURAL = "r"


def declined(stem: str) -> tuple[tuple[str, ...], ...]:
    """The forms of an Orsen determiner or pronoun, as [case][form]."""
    return tuple(tuple(stem + ending for ending in endings) for endings in _ENDINGS)


def conjugated(stem: str) -> tuple[tuple[str, ...], ...]:
    """The forms of an Orsen verb, as [tense][form]."""
    return tuple(tuple(stem + mark + ending for ending in _VERB_ENDINGS) for mark in _TENSE_MARKS)


class Sense(NamedTuple):
    """An Orsen noun: its gender (0, 1, 2), which is the form of its singular, and its two numbers."""

    gender: int
    numbers: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Noun:
    """A Tavari noun, singular and plural, and what it is in Orsen at sea and in town (mostly the same)."""

    numbers: tuple[str, str]
    senses: tuple[Sense, Sense]


@dataclass(frozen=True, slots=True)
class Verb:
    """A Tavari verb with its particle and an Orsen verb with its prefix (either may be empty)."""

    source: str
    particle: str
    forms: tuple[tuple[str, ...], ...]  # [tense][form]
    prefix: str
    joined: tuple[tuple[str, ...], ...]  # prefix and verb in one word, as in subordinate clauses


# Only `random()` is called: its sequence is the one that Python promises to keep from version to version.
_draw = random.Random(20140901).random


def _one_of(options: str | tuple[str, ...]) -> str:
    return options[int(_draw() * len(options))]


def _spelling(*parts: str | tuple[str, ...]) -> str:
    return "".join(map(_one_of, parts))


_SOURCE_ONSETS = _words("b d f g h k l m n p r s t v z sh")
_TARGET_ONSETS = _words("b br d dr f fl g gr h kl kn l m n p pl r s sk sl sp st str t tr v")
_TARGET_CODAS = _words("d f g k l ld lk lm m mp n nd ng nk r rd rk rm rn s sk st t")

_taken_source: set[str] = {
    *(DETERMINERS | PREPOSITIONS | SUBORDINATORS | COORDINATORS | DEGREES | TIMES | _FUNCTION_GLOSSES),
}
_taken_target: set[str] = set()
GLOSSES: dict[str, str] = dict(_FUNCTION_GLOSSES)
"""The English gloss of every Tavari word but names, as written inside a sentence."""
GLOSSES |= {word: str(entry[1]) for word, entry in (DETERMINERS | PREPOSITIONS | TIMES).items()}
GLOSSES |= {word: entry[1] for word, entry in (SUBORDINATORS | COORDINATORS | DEGREES).items()}


def _new(taken: set[str], spell: Callable[[], str]) -> str:
    """A spelling that no other stem has."""
    while (stem := spell()) in taken:
        pass
    taken.add(stem)
    return stem


def _source_stem(last: str, gloss: str) -> str:
    """A new Tavari stem: nouns end in a, e, o; adjectives in i, u; verbs (`last` empty) in a consonant."""

    def spell() -> str:
        middle = _spelling(_SOURCE_ONSETS, "aeiou") if _draw() < 0.25 else ""
        coda = _one_of("nlrm") if _draw() < 0.25 else ""
        return _spelling(_SOURCE_ONSETS, "aeiou") + middle + coda + _spelling(_SOURCE_ONSETS, last)

    def spell_verb() -> str:
        return _spelling(_SOURCE_ONSETS, "aeiou", "nlr", "aeiou", "ktsn")

    stem = _new(_taken_source, spell if last else spell_verb)
    GLOSSES[stem] = gloss
    return stem


def _target_stem() -> str:
    """A new Orsen stem of one or two syllables, closed by a consonant."""

    def spell() -> str:
        first = _spelling(_TARGET_ONSETS, "aeiouåö")
        middle = _spelling("dlmnrst", "aeiou") if _draw() < 0.4 else ""
        return first + middle + _one_of(_TARGET_CODAS)

    return _new(_taken_target, spell)


def _sense() -> Sense:
    gender, stem = int(_draw() * 3), _target_stem()
    return Sense(gender, (stem, stem + _PLURAL_ENDINGS[gender]))


def _noun(gloss: str) -> Noun:
    stem = _source_stem("aeo", gloss)
    GLOSSES[stem + SOURCE_PLURAL] = gloss + "-PL"
    first = _sense()
    return Noun((stem, stem + SOURCE_PLURAL), (first, _sense() if "/" in gloss else first))


def _verbs(gloss: str) -> list[Verb]:
    """The verb alone and, for every further meaning, the verb with another particle."""
    source = _source_stem("", gloss)
    start = int(_draw() * len(PARTICLES))
    verbs = []
    for number in range(gloss.count("/") + 1):
        particle = PARTICLES[(start + number) % len(PARTICLES)] if number else ""
        stem = _target_stem()
        prefix = _one_of(PREFIXES) if _draw() < 0.5 else ""
        verbs.append(Verb(source, particle, conjugated(stem), prefix, conjugated(prefix + stem)))
    return verbs


NOUNS: tuple[Noun, ...] = tuple(_noun(gloss) for gloss in _NOUNS)
SETTINGS: tuple[tuple[tuple[str, str], ...], ...] = tuple(  # [0 at sea, 1 in town]: (Tavari, Orsen)
    tuple((_source_stem("aeo", gloss), _target_stem()) for gloss in glosses) for glosses in _SETTINGS
)
INTRANSITIVE: tuple[Verb, ...] = tuple(verb for gloss in _INTRANSITIVE for verb in _verbs(gloss))
TRANSITIVE: tuple[Verb, ...] = tuple(verb for gloss in _TRANSITIVE for verb in _verbs(gloss))
SPEECH: tuple[Verb, ...] = tuple(verb for gloss in _SPEECH for verb in _verbs(gloss))
ADJECTIVES: tuple[tuple[str, tuple[str, ...]], ...] = tuple(  # (Tavari, Orsen by form)
    (_source_stem("iu", gloss), tuple(map(_target_stem().__add__, _ADJECTIVE_ENDINGS))) for gloss in _ADJECTIVES
)
DETERMINER_FORMS = {word: declined(entry[0]) for word, entry in DETERMINERS.items()}
RELATIVE_FORMS = declined("v")
PRONOUN_FORMS = declined("h")[NOMINATIVE]
COPULA_FORMS = conjugated("vær")

_NAME_CONSONANTS = _words("b d f g h k l m n p r s t v y z")
_TRANSLITERATION = str.maketrans({"k": "c", "v": "w", "y": "j", "z": "ts", "u": "ou"})
_NAME_GENDERS = {"a": 1, "e": 1, "i": 0, "o": 0, "u": 0}


def draw_name(draw: Callable[[], float]) -> str:
    """A Tavari name of two to four syllables that is no other word of the language. `draw` gives [0, 1)."""
    while True:
        name = ""
        for _ in range(2 + int(draw() * 3)):
            name += _NAME_CONSONANTS[int(draw() * 16)] + "aeiou"[int(draw() * 5)]
            name += ("", "", "n", "l", "r", "s")[int(draw() * 6)]
        if name not in GLOSSES:
            return name.capitalize()


def transliterate(name: str) -> str:
    """The Orsen spelling of a Tavari name, letter by letter; no two names share one."""
    return name.lower().translate(_TRANSLITERATION).capitalize()


def name_gender(name: str) -> int:
    """Feminine if the last vowel is a or e, else masculine."""
    return next(_NAME_GENDERS[letter] for letter in reversed(name.lower()) if letter in _NAME_GENDERS)

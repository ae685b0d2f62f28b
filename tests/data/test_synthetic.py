"""The synthetic corpus, checked by a translator that was written from the published grammar alone."""

from __future__ import annotations

import hashlib
import os
import random
import re
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lit_nmt.data import synthetic
from lit_nmt.data import synthetic_lexicon as lexicon
from lit_nmt.data.synthetic_grammar import Sentence
from lit_nmt.data.synthetic_languages import in_orsen, in_tavari
from lit_nmt.errors import UserError

NOUNS = {noun.numbers[plural]: (noun, plural) for noun in lexicon.NOUNS for plural in (0, 1)}
VERBS = {(v.source, v.particle): v for v in (*lexicon.INTRANSITIVE, *lexicon.TRANSITIVE, *lexicon.SPEECH)}
STEMS = {stem for stem, _ in VERBS}
SPEECH = {verb.source for verb in lexicon.SPEECH}
TRANSITIVE = {verb.source for verb in lexicon.TRANSITIVE}
ADJECTIVES = dict(lexicon.ADJECTIVES)
SETTINGS = {word: (target, sense) for sense, words in enumerate(lexicon.SETTINGS) for word, target in words}
PLURAL = 3


def gloss(source: str) -> str:
    """A Tavari sentence word by word in English; names stay as they are."""
    words = source.removesuffix(".").split()
    return " ".join(lexicon.GLOSSES.get(word) or lexicon.GLOSSES.get(word.lower(), word) for word in words)


_MARKERS = {
    "verb last": {lexicon.RELATIVE, lexicon.THAT, *lexicon.SUBORDINATORS},
    "relative clause": {lexicon.RELATIVE},
    "particle verb": set(lexicon.PARTICLES),
    "pronoun": {lexicon.PRONOUN},
    "tense": {word for word, (_, _, tense) in lexicon.TIMES.items() if tense != lexicon.PRESENT},
    "coordination": {lexicon.AND, *lexicon.COORDINATORS},
    "setting": {lexicon.AT},
}
_HOMONYMS = {word for noun in lexicon.NOUNS if noun.senses[0] != noun.senses[1] for word in noun.numbers}


def phenomena(source: str) -> frozenset[str]:
    """Which of the phenomena that need a memory a Tavari sentence contains.

    Returns:
        A subset of "verb last", "relative clause", "particle verb", "pronoun", "tense", "coordination",
        "setting", "homonym in a setting" and "name".
    """
    words = source.removesuffix(".").split()
    words[0] = words[0] if words[0].lower() not in lexicon.GLOSSES else words[0].lower()
    found = {phenomenon for phenomenon, markers in _MARKERS.items() if not markers.isdisjoint(words)}
    if "setting" in found and not _HOMONYMS.isdisjoint(words):
        found.add("homonym in a setting")
    if any(word not in lexicon.GLOSSES for word in words):
        found.add("name")
    return frozenset(found)


class Translator:
    """A recursive descent over a Tavari sentence that knows the words and sees only the next.

    Every method reads its part of the grammar and gives what Orsen makes of it, commas as words. `spans`
    counts the words of each subject, `reaches` those from each verb to its particle.
    """

    def __init__(self, sentence):
        assert sentence.endswith(".")
        words = sentence[:-1].split()
        first = words[0].lower()
        self.words = [first if first in lexicon.GLOSSES else words[0], *words[1:]]
        self.sense = SETTINGS[self.words[-1]][1] if self.words[-2] == "lu" else 0
        self.at = 0
        self.spans = []
        self.reaches = []

    @property
    def next(self):
        return self.words[self.at] if self.at < len(self.words) else ""

    def take(self, expected=None):
        word = self.next
        assert word, f"more words expected after {self.words}"
        assert expected in (None, word), f"{expected!r} expected at word {self.at} of {self.words}"
        self.at += 1
        return word

    def translate(self):
        mains = [self.main(None)]
        coordinators = []
        while self.next in lexicon.COORDINATORS:
            coordinators.append(lexicon.COORDINATORS[self.take()][0])
            mains.append(self.main(mains[-1][1]))
        setting = []
        if self.next == "lu":
            self.take()
            setting = ["vid", SETTINGS[self.take()][0]]
        assert self.at == len(self.words), f"words are left over: {self.words[self.at :]}"
        words = self.verb_second(*mains[0], setting)
        for coordinator, main in zip(coordinators, mains[1:], strict=True):
            words += [",", coordinator, *self.verb_second(*main, [])]
        text = re.sub(r",+", ",", " ".join(words).replace(" ,", ",")).rstrip(",")
        return text[0].upper() + text[1:] + "."

    def verb_second(self, first, form, subject, verb, rest, setting):
        assert not (first and setting), "two constituents before the verb"
        first = first or setting
        return [*first, verb, *subject, *rest] if first else [*subject, verb, *rest]

    def main(self, antecedent):
        first, tense = [], None
        if self.next in lexicon.TIMES:
            time, _, tense = lexicon.TIMES[self.take()]
            first = [time]
        elif self.next in lexicon.SUBORDINATORS:
            first = self.adverbial(None)[1:]  # without its first comma
        form, subject = self.subject(antecedent)
        verb, tense, middle, complement = self.predicate(form, tense)
        prefix = [verb.prefix] if verb is not None and verb.prefix else []
        last = self.adverbial(form) if self.next in lexicon.SUBORDINATORS else []
        apart = (lexicon.COPULA_FORMS if verb is None else verb.forms)[tense][form]
        return first, form, subject, apart, [*middle, *prefix, *complement, *last]

    def adverbial(self, antecedent):
        conjunction = lexicon.SUBORDINATORS[self.take()][0]
        return [",", conjunction, *self.clause(antecedent), ","]

    def clause(self, antecedent):
        form, subject = self.subject(antecedent)
        return [*subject, *self.verb_last(form)]

    def verb_last(self, form, object_missing=False):
        verb, tense, middle, complement = self.predicate(form, None, object_missing)
        self.take("lo")
        joined = (lexicon.COPULA_FORMS if verb is None else verb.joined)[tense][form]
        return [*middle, joined, *complement]

    def subject(self, antecedent):
        if self.next == "ta":
            self.take()
            assert antecedent is not None, "a pronoun without an antecedent"
            return antecedent, [lexicon.PRONOUN_FORMS[antecedent]]
        start = self.at
        form, words = self.phrases(0)
        self.spans.append(self.at - start)
        return form, words

    def predicate(self, form, tense, object_missing=False):
        """Gives the verb (None is the copula), its tense, the middle field and the complement."""
        start = self.at
        stem = self.take()
        objects, prepositions, time, complement, particle = [], [], [], [], ""
        if stem == "ze":
            objects = [ADJECTIVES[self.take()][form]]
        else:
            assert stem in STEMS, f"{stem} is no verb"
            if stem in TRANSITIVE and not object_missing:
                objects = self.phrases(1)[1]
        while self.next in lexicon.PREPOSITIONS:
            preposition, _, case = lexicon.PREPOSITIONS[self.take()]
            prepositions += [preposition, *self.phrases(case)[1]]
        if self.next in lexicon.TIMES:
            assert tense is None, "two times in a clause"
            word, _, tense = lexicon.TIMES[self.take()]
            time = [word]
        if stem in SPEECH:
            self.take("no")
            complement = [",", "att", *self.clause(form), ","]
        if self.next in lexicon.PARTICLES:
            particle = self.take()
            self.reaches.append(self.at - start - 1)
        verb = None if stem == "ze" else VERBS[stem, particle]
        return verb, tense or 0, [*time, *prepositions, *objects], complement

    def phrases(self, case):
        form, words = self.phrase(case)
        if self.next == "mi":
            self.take()
            return PLURAL, [*words, "og", *self.phrase(case)[1]]
        return form, words

    def phrase(self, case):
        if self.next in lexicon.DETERMINERS:
            determiner = self.take()
            noun, plural = NOUNS[self.take()]
            sense = noun.senses[self.sense]
            form = PLURAL if plural else sense.gender
            words = [lexicon.DETERMINER_FORMS[determiner][case][form]]
            while self.next in lexicon.DEGREES or self.next in ADJECTIVES:
                if self.next in lexicon.DEGREES:
                    words.append(lexicon.DEGREES[self.take()][0])
                words.append(ADJECTIVES[self.take()][form])
            words.append(sense.numbers[plural])
        else:
            name = self.take()
            assert name[0].isupper(), f"{name} is no name"
            assert name.lower() not in lexicon.GLOSSES, f"{name} is a name and a word"
            form = 1 if re.sub("[^aeiou]", "", name.lower())[-1] in "ae" else 0
            words = [lexicon.transliterate(name)]
        if self.next == "ke":
            self.take()
            if self.next == "ze" or self.next in STEMS:
                words += [",", lexicon.RELATIVE_FORMS[0][form], *self.verb_last(form), ","]
            else:
                inner, subject = self.phrases(0)
                relative = lexicon.RELATIVE_FORMS[1][form]
                words += [",", relative, *subject, *self.verb_last(inner, object_missing=True), ","]
        if self.next == "po":
            self.take()
            words += ["vun", *self.phrase(2)[1]]
        return form, words


@pytest.fixture(scope="module")
def pairs():
    return synthetic.generate(7, "train", 1800)


SEEDS = st.integers(0, 2**32)
SPLITS = st.sampled_from(["train", "validation", "test", "test_long"])


@settings(deadline=None)
@given(seed=SEEDS, words=st.integers(synthetic.SHORTEST, synthetic.LONGEST))
def test_a_sentence_has_the_length_asked_for_and_one_translation(seed, words):
    sentence = Sentence(words, random.Random(seed).random)
    source = in_tavari(sentence)
    assert len(source.split()) == words
    assert Translator(source).translate() == in_orsen(sentence)


def test_references_follow_from_the_sources_alone(pairs):
    for source, target in pairs:
        assert Translator(source).translate() == target


def test_the_documented_examples_are_true():
    text, _ = synthetic.__doc__.split("    sentence  =")
    lines = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    examples = list(zip(lines[0::3], lines[1::3], lines[2::3], strict=True))
    assert len(examples) == 11
    for source, glosses, target in examples:
        assert gloss(source) == glosses
        assert Translator(source).translate() == target


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, split=SPLITS, few=st.integers(0, 12), more=st.integers(0, 12))
def test_more_pairs_begin_with_the_same_pairs(seed, split, few, more):
    many = synthetic.generate(seed, split, few + more)
    assert len(many) == few + more
    assert synthetic.generate(seed, split, few) == many[:few]


def test_the_pairs_are_those_of_every_other_machine():
    """One frozen digest: if the corpus changed in silence, published numbers would no longer compare."""
    script = (
        "import hashlib; from lit_nmt.data.synthetic import generate;"
        "print(hashlib.sha256(repr([generate(1, s, 300) for s in ('train', 'test')]).encode()).hexdigest())"
    )
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "4711",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    other = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert other.stdout.strip() == "681e4418a0e81b214d4138897d3d8eb3e14a06ad0fec86aac9ca384d86b55c7b", other.stderr
    here = repr([synthetic.generate(1, split, 300) for split in ("train", "test")])
    assert hashlib.sha256(here.encode()).hexdigest() == other.stdout.strip()


def test_seeds_and_splits_differ():
    corpora = {
        tuple(synthetic.generate(seed, split, 20))
        for seed in (1, 2)
        for split in ("train", "validation", "test", "test_long")
    }
    assert len(corpora) == 8


def test_no_sentence_of_one_split_is_in_another():
    """With the shortest sentences, of which chance would repeat dozens; over seeds and lengths."""
    short = [(4, 4)]
    train = [*synthetic.generate(1, "train", 3000, short), *synthetic.generate(2, "train", 1000, [(4, 5)])]
    validation = synthetic.generate(3, "validation", 600, short)
    test = [*synthetic.generate(1, "test", 300, short), *synthetic.generate(4, "test_other", 300, short)]
    for side in (0, 1):
        sides = [{pair[side] for pair in split} for split in (train, validation, test)]
        assert not sides[0] & sides[1]
        assert not sides[0] & sides[2]
        assert not sides[1] & sides[2]


def test_no_sentence_occurs_twice_in_a_split(pairs):
    short = synthetic.generate(1, "train", 4000, [(4, 4)])
    for split in (pairs, short):
        assert len({source for source, _ in split}) == len({target for _, target in split}) == len(split)


@pytest.mark.parametrize("split", ["train", "test"])
def test_lengths_are_spread_evenly_over_the_ranges(split):
    count = 600
    drawn = Counter()
    for source, _ in synthetic.generate(5, split, count):
        words = len(source.split())
        drawn.update([(first, last) for first, last in synthetic.LENGTHS if first <= words <= last])
    assert sum(drawn.values()) == count
    expected = count / len(synthetic.LENGTHS)
    assert all(abs(drawn[r] - expected) < 5 * expected**0.5 for r in synthetic.LENGTHS), drawn


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, first=st.integers(4, 60), more=st.integers(0, 10))
def test_lengths_asked_for_are_kept(seed, first, more):
    for source, _ in synthetic.generate(seed, "validation", 5, [(first, first + more), (100, 100)]):
        words = len(source.split())
        assert first <= words <= first + more or words == 100


def test_agreement_and_particles_reach_far(pairs):
    """Long sentences part many subjects from their verbs, and verbs from the particles that change them."""
    spans, reaches = [], []
    for source, _ in pairs:
        translator = Translator(source)
        translator.translate()
        spans += translator.spans
        reaches += translator.reaches
    assert sum(span >= 6 for span in spans) > 0.15 * len(spans)
    assert sum(span >= 12 for span in spans) > 0.03 * len(spans)
    assert sum(reach >= 6 for reach in reaches) > 0.25 * len(reaches)
    assert max(spans) >= 25


def test_homonyms_mean_what_the_setting_says(pairs):
    met = Counter()
    for source, target in pairs:
        words = source[:-1].split()
        sense = SETTINGS[words[-1]][1] if words[-2] == "lu" else 0
        said = set(re.findall(r"\w+", target))
        for word in set(words) & set(NOUNS):
            noun, plural = NOUNS[word]
            if noun.senses[0] != noun.senses[1]:
                assert noun.senses[sense].numbers[plural] in said
                assert noun.senses[1 - sense].numbers[plural] not in said
                met[words[-2] == "lu", sense] += 1
    assert min(met[True, 0], met[True, 1], met[False, 0]) > 80


def test_reported_speech_and_reasons_end_with_the_verb(pairs):
    """Where a single clause is subordinate and closes the sentence, the reference's last word is its verb."""
    last = {form for verb in VERBS.values() for forms in verb.joined for form in forms}
    last |= {form for forms in lexicon.COPULA_FORMS for form in forms}
    seen = 0
    for source, target in pairs:
        if source.endswith(" lo.") and source.count(" lo") == 1 and " ke " not in source:
            assert target[:-1].split()[-1] in last
            seen += 1
    assert seen > 10


def test_prefixes_stand_apart_only_in_main_clauses(pairs):
    """A sentence has at most as many separate prefixes as main clauses, and not one where no verb has any."""
    some = 0
    for source, target in pairs:
        words = source[:-1].split()
        mains = 1 + sum(word in lexicon.COORDINATORS for word in words)
        apart = sum(word in lexicon.PREFIXES for word in re.findall(r"\w+", target))
        assert apart <= mains
        some += apart
        if not any(VERBS[v].prefix for v in VERBS if v[0] in words):
            assert apart == 0
    assert some > 400


@given(seed=SEEDS)
@settings(max_examples=50, deadline=None)
def test_names_are_respelled_one_to_one(seed):
    draw = random.Random(seed).random
    names = {lexicon.draw_name(draw) for _ in range(50)}
    respelled = {lexicon.transliterate(name) for name in names}
    assert len(respelled) == len(names)
    back = {"c": "k", "w": "v", "j": "y", "ts": "z", "ou": "u"}
    for name in respelled:
        original = re.sub("ts|ou|[cwj]", lambda match: back[match[0]], name.lower()).capitalize()
        assert original in names


def test_every_word_of_the_lexicon_is_one_word():
    content = [noun.numbers[plural] for noun in lexicon.NOUNS for plural in (0, 1)]
    content += [*STEMS, *ADJECTIVES, *SETTINGS]
    function = [*lexicon.DETERMINERS, *lexicon.PREPOSITIONS, *lexicon.SUBORDINATORS, *lexicon.COORDINATORS]
    function += [*lexicon.DEGREES, *lexicon.TIMES, *lexicon.PARTICLES]
    function += ["ke", "lo", "no", "mi", "po", "ta", "lu", "ze"]
    words = content + function
    assert len(words) == len(set(words))
    assert set(words) == set(lexicon.GLOSSES)
    senses = {sense for noun in lexicon.NOUNS for sense in noun.senses}
    homonyms = sum(noun.senses[0] != noun.senses[1] for noun in lexicon.NOUNS)
    assert len({sense.numbers for sense in senses}) == len(lexicon.NOUNS) + homonyms
    assert len({verb.forms for verb in VERBS.values()}) == len(VERBS)
    assert {sense.gender for sense in senses} == {0, 1, 2}


def test_phenomena_are_named():
    assert phenomena("Te moka hiles te fabe.") == frozenset()
    assert phenomena("Pemzali hiles te fabe gesu.") == {"name", "tense"}
    assert phenomena("Te fabe talin ha ta ze huti lo.") == {"pronoun", "verb last"}
    assert phenomena("Ko geva nilok te moka ka lu fere.") == {
        "homonym in a setting",
        "particle verb",
        "setting",
    }


def test_every_phenomenon_is_frequent(pairs):
    met = Counter(phenomenon for source, _ in pairs for phenomenon in phenomena(source))
    assert len(met) == 9
    assert min(met.values()) > 0.1 * len(pairs), met


@pytest.mark.parametrize(
    ("arguments", "finding"),
    [
        ((1, "", 5), "no name"),
        ((1, "train", -1), "pairs is -1"),
        ((1, "train", 5, []), r"lengths has \[\]"),
        ((1, "train", 5, [(3, 9)]), r"lengths has \[3, 9\]"),
        ((1, "train", 5, [(5, 10), (20, 11)]), r"lengths has \[20, 11\]"),
        ((1, "train", 5, [(5, 10, 15)]), r"lengths has \[5, 10, 15\]"),
        ((1, "train", 5, [(5, 10_000)]), r"lengths has \[5, 10000\]"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_in_one_line(arguments, finding):
    with pytest.raises(UserError, match=finding) as refusal:
        synthetic.generate(*arguments)
    assert "\n" not in str(refusal.value)

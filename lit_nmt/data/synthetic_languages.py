"""How a tree of the synthetic corpus is said in Tavari and in Orsen.

`in_tavari` reads the tree from left to right. `in_orsen` reads the same tree in Orsen's order and hands down
what agreement needs: the form (see `lit_nmt.data.synthetic_lexicon`) of each subject and of each pronoun's
antecedent.
"""

from __future__ import annotations

from lit_nmt.data import synthetic_lexicon as lexicon
from lit_nmt.data.synthetic_grammar import Clause, Phrase, Sentence
from lit_nmt.data.synthetic_lexicon import ACCUSATIVE, DATIVE, NOMINATIVE, PLURAL, PRESENT


def in_tavari(sentence: Sentence) -> str:
    """The sentence in Tavari, with a capital and a full stop."""
    words: list[str] = []
    for main in sentence.mains:
        if main.coordinator:
            words.append(main.coordinator)
        _say_clause(main, words)
    if sentence.setting:
        words += (lexicon.AT, sentence.setting[0])
    return _sentence(" ".join(words))


def in_orsen(sentence: Sentence) -> str:
    """The sentence in Orsen, with a capital, commas and a full stop."""
    words: list[str] = []
    opening = [lexicon.AT_TARGET, sentence.setting[1]] if sentence.setting else []
    form = PLURAL  # of the latest main clause's subject, for pronouns; the first clause has none
    for main in sentence.mains:
        if main.coordinator:
            words += (",", lexicon.COORDINATORS[main.coordinator][0])
        form = _tell_main(main, opening, form, sentence.sense, words)
        opening = []
    text = " ".join(words).replace(" ,", ",")
    while ",," in text:  # clauses that end together share their comma
        text = text.replace(",,", ",")
    return _sentence(text.rstrip(","))


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _say_clause(clause: Clause, words: list[str]) -> None:
    if clause.time_first:
        words.append(clause.time)
    elif clause.front is not None:
        _say_adverbial(clause.front, words)
    if clause.pronoun:
        words.append(lexicon.PRONOUN)
    elif clause.subject is not None:
        _say_phrases(clause.subject, words)
    if clause.verb is not None:
        words.append(clause.verb.source)
    elif clause.predicate is not None:
        words += (lexicon.COPULA, clause.predicate[0])
    if clause.object is not None:
        _say_phrases(clause.object, words)
    for preposition, phrase in clause.prepositions:
        words.append(preposition)
        _say_phrases(phrase, words)
    if clause.time and not clause.time_first:
        words.append(clause.time)
    if clause.complement is not None:
        words.append(lexicon.THAT)
        _say_clause(clause.complement, words)
        words.append(lexicon.CLOSE)
    if clause.verb is not None and clause.verb.particle:
        words.append(clause.verb.particle)
    if clause.adverbial is not None:
        _say_adverbial(clause.adverbial, words)


def _say_adverbial(clause: Clause, words: list[str]) -> None:
    words.append(clause.subordinator)
    _say_clause(clause, words)
    words.append(lexicon.CLOSE)


def _say_phrases(phrase: Phrase, words: list[str]) -> None:
    _say_phrase(phrase, words)
    if phrase.other is not None:
        words.append(lexicon.AND)
        _say_phrase(phrase.other, words)


def _say_phrase(phrase: Phrase, words: list[str]) -> None:
    if phrase.noun is None:
        words.append(phrase.name)
    else:
        words += (phrase.determiner, phrase.noun.numbers[phrase.plural])
        for degree, adjective in phrase.adjectives:
            if degree:
                words.append(degree)
            words.append(adjective[0])
    if phrase.relative is not None:
        words.append(lexicon.RELATIVE)
        _say_clause(phrase.relative, words)
        words.append(lexicon.CLOSE)
    if phrase.possessor is not None:
        words.append(lexicon.OF)
        _say_phrase(phrase.possessor, words)


def _tell_main(clause: Clause, opening: list[str], antecedent: int, sense: int, words: list[str]) -> int:
    """Adds a main clause: the finite verb second, its prefix last. Returns the form of the subject.

    Args:
        clause: the clause.
        opening: the words that take the first place, or none.
        antecedent: the form of a pronoun, if there is one.
        sense: 0 at sea, 1 in town.
        words: what is added to.
    """
    if clause.time_first:
        opening = [lexicon.TIMES[clause.time][0]]
    elif clause.front is not None:
        opening = []
        _tell_subordinate(clause.front, PLURAL, sense, opening)
        opening = opening[1:]  # no comma before it
    form = _subject_form(clause, antecedent, sense)
    verb = _finite(clause, form, joined=False)
    if opening:
        words += opening
        words.append(verb)
        _tell_subject(clause, form, sense, words)
    else:
        _tell_subject(clause, form, sense, words)
        words.append(verb)
    _tell_middle(clause, form, sense, words)
    if clause.verb is not None and clause.verb.prefix:
        words.append(clause.verb.prefix)
    for inner in (clause.complement, clause.adverbial):
        if inner is not None:
            _tell_subordinate(inner, form, sense, words)
    return form


def _tell_subordinate(clause: Clause, antecedent: int, sense: int, words: list[str]) -> None:
    """Adds a complement, adverbial or relative clause between commas: the verb last, joined to its prefix."""
    words.append(",")
    if clause.gap is not None:
        words.append(lexicon.RELATIVE_FORMS[clause.gap][antecedent])
    elif clause.subordinator:
        words.append(lexicon.SUBORDINATORS[clause.subordinator][0])
    else:
        words.append(lexicon.THAT_TARGET)
    form = _subject_form(clause, antecedent, sense)
    _tell_subject(clause, form, sense, words)
    _tell_middle(clause, form, sense, words)
    words.append(_finite(clause, form, joined=True))
    if clause.complement is not None:
        _tell_subordinate(clause.complement, form, sense, words)
    words.append(",")


def _subject_form(clause: Clause, antecedent: int, sense: int) -> int:
    if clause.subject is None:  # a pronoun, or a relative pronoun
        return antecedent
    return PLURAL if clause.subject.other is not None else clause.subject.form(sense)


def _finite(clause: Clause, form: int, joined: bool) -> str:
    tense = lexicon.TIMES[clause.time][2] if clause.time else PRESENT
    if clause.verb is None:
        return lexicon.COPULA_FORMS[tense][form]
    return (clause.verb.joined if joined else clause.verb.forms)[tense][form]


def _tell_subject(clause: Clause, form: int, sense: int, words: list[str]) -> None:
    if clause.pronoun:
        words.append(lexicon.PRONOUN_FORMS[form])
    elif clause.subject is not None:
        _tell_phrases(clause.subject, NOMINATIVE, sense, words)


def _tell_middle(clause: Clause, form: int, sense: int, words: list[str]) -> None:
    """Adds what stands between subject and verb or prefix: time, prepositional phrases, object, predicate."""
    if clause.time and not clause.time_first:
        words.append(lexicon.TIMES[clause.time][0])
    for preposition, phrase in clause.prepositions:
        target, _, case = lexicon.PREPOSITIONS[preposition]
        words.append(target)
        _tell_phrases(phrase, case, sense, words)
    if clause.object is not None:
        _tell_phrases(clause.object, ACCUSATIVE, sense, words)
    if clause.predicate is not None:
        words.append(clause.predicate[1][form])


def _tell_phrases(phrase: Phrase, case: int, sense: int, words: list[str]) -> None:
    _tell_phrase(phrase, case, sense, words)
    if phrase.other is not None:
        words.append(lexicon.AND_TARGET)
        _tell_phrase(phrase.other, case, sense, words)


def _tell_phrase(phrase: Phrase, case: int, sense: int, words: list[str]) -> None:
    form = phrase.form(sense)
    if phrase.noun is None:
        words.append(lexicon.transliterate(phrase.name))
    else:
        words.append(lexicon.DETERMINER_FORMS[phrase.determiner][case][form])
        for degree, adjective in phrase.adjectives:
            if degree:
                words.append(lexicon.DEGREES[degree][0])
            words.append(adjective[1][form])
        words.append(phrase.noun.senses[sense].numbers[phrase.plural])
    if phrase.relative is not None:
        _tell_subordinate(phrase.relative, form, sense, words)
    if phrase.possessor is not None:
        words.append(lexicon.OF_TARGET)
        _tell_phrase(phrase.possessor, DATIVE, sense, words)

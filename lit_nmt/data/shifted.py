"""Sentences of the synthetic corpus that stand some subwords later than they would, and are otherwise the same.

They begin with a name. Further names are written before it, in one word with it, on both sides:

    Remes tilik Bentinrur dul.
    Yontarremes tilik Bentinrur dul.

Its last syllable decides the gender, so agreement stays, and with it every other word, their number, and the
translation, which the grammar of the corpus gives still. So scores may be compared: what a model loses, it loses
because words stand at other positions.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence

from lit_nmt.data import synthetic
from lit_nmt.data import synthetic_lexicon as lexicon


def generate(
    seed: int, pairs: int, shift: int, lengths: Sequence[Sequence[int]] = synthetic.LENGTHS
) -> list[tuple[str, str]]:
    """The first `pairs` sentence pairs that begin with a name, with `shift` names more written before it.

    The sentences are the same for every shift. None of them, shifted or not, stands in a training or validation
    split of the synthetic corpus.

    Args:
        seed: decides sentences and names.
        pairs: how many.
        shift: names before the first, of two to four syllables each; 0 leaves the sentences as they are.
        lengths: see `synthetic.generate`.

    Returns:
        (Tavari, Orsen) pairs.
    """
    drawn = pairs
    found: list[tuple[str, str]] = []
    while len(found) < pairs:  # more of them begin with the same ones
        drawn *= 4
        candidates = synthetic.generate(seed, "shifted", drawn, lengths)
        found = [pair for pair in candidates if _begins_with_its_only_name_of_that_spelling(*pair)]
    return [_shifted(source, target, seed, shift) for source, target in found[:pairs]]


def _first(source: str) -> str:
    return source.split()[0].rstrip(".")


def _begins_with_its_only_name_of_that_spelling(source: str, target: str) -> bool:
    name = _first(source)
    if name.lower() in lexicon.GLOSSES:
        return False
    sides = [(source, name), (target, lexicon.transliterate(name))]
    return all(len(re.findall(rf"\b{word}\b", text)) == 1 for text, word in sides)


def _shifted(source: str, target: str, seed: int, shift: int) -> tuple[str, str]:
    name = _first(source)
    # of each sentence its own, and the first of them the same for every shift
    draw = random.Random(hashlib.sha256(f"{seed} {source}".encode()).digest()).random
    longer = name
    for _ in range(shift):
        longer = lexicon.draw_name(draw) + longer.lower()
    said = re.sub(rf"\b{lexicon.transliterate(name)}\b", lexicon.transliterate(longer), target)
    return source.replace(name, longer, 1), said

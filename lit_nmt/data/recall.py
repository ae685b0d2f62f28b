"""Text that asks for one thing alone: to remember a word while others pass by.

A source is a colour, then things that mean nothing, then a question mark; the target names the colour:

    violet key lamp spoon rope ?        the first was violet

So a translation is right or wrong by one word, and the length of the source is the delay. The task is that of
Hochreiter & Schmidhuber 1997, section 5.2, and of Bengio et al. 1994, section III, as a translation. The target has
four words because BLEU counts runs of up to four: there is one such run, right where the colour is, so that BLEU of a
training's validation rises with the share of sentences that are right.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

from lit_nmt.errors import UserError

LANGUAGES = ("list", "answer")
COLOURS = (
    "amber beige black bronze copper coral cream cyan gold green grey indigo ivory lilac lime mauve navy olive orange "
    "pink plum purple red rose ruby rust scarlet silver tan teal violet white"
).split()
THINGS = (
    "apple basin bell book boot bowl box brush cable chair clock cup desk door drum flask fork glove hat jar key "
    "knife lamp map nail oven pen plate rope shoe spoon table"
).split()
SHORTEST, LONGEST = 3, 1000
LENGTHS = ((5, 60),)


def generate(seed: int, split: str, pairs: int, lengths: Sequence[Sequence[int]] = LENGTHS) -> list[tuple[str, str]]:
    """The first `pairs` pairs of a split, the same on every machine.

    Args:
        seed: decides the words.
        split: its name, which decides them too.
        pairs: how many; a larger number begins with the same.
        lengths: ranges of source words, first and last included. Every range is as likely as the others, and every
            length as the others in its range.

    Raises:
        UserError: a range that cannot be met.
    """
    for words in lengths:
        if len(words) != 2 or not SHORTEST <= words[0] <= words[1] <= LONGEST:
            raise UserError(
                f"recall corpus: lengths has {list(words)}; expected [first, last] source words with {SHORTEST} <= "
                f"first <= last <= {LONGEST}"
            )
    # Only `random()` is called: Python keeps its sequence for an integer seed from version to version.
    draw = random.Random(int.from_bytes(hashlib.sha256(f"{seed} {split}".encode()).digest(), "big")).random
    choose = lambda options: options[int(draw() * len(options))]
    made = []
    for _ in range(pairs):
        first, last = choose(lengths)
        colour, things = choose(COLOURS), first + int(draw() * (last - first + 1)) - 2
        made.append((" ".join([colour, *(choose(THINGS) for _ in range(things)), "?"]), f"the first was {colour}"))
    return made

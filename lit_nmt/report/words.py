"""Numbers as people read them."""

from __future__ import annotations

import math
import re

NOTHING = "–"
THIN = "\N{NARROW NO-BREAK SPACE}"


def number(value: float, digits: int = 1) -> str:
    """A number with so many decimals and a comma between thousands; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return NOTHING
    text = f"{value:,.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}") if float(text.replace(",", "")) else text.replace("-", "")


def with_spread(value: float, spread: float) -> str:
    """A mean and half its interval; the mean alone where there is no interval."""
    if not math.isfinite(value) or not math.isfinite(spread):
        return number(value)
    return f"{number(value)}{THIN}±{THIN}{number(spread)}"


def interval(low: float, high: float, digits: int = 1) -> str:
    """An interval in words, "38.1 to 39.0": a dash between numbers could be a minus."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return NOTHING
    return f"{number(low, digits)} to {number(high, digits)}"


def rounded(value: float) -> str:
    """A number with three significant digits and no exponent."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if value == 0:
        return "0"
    return number(value, max(0, 2 - math.floor(math.log10(abs(value)))))


def large(value: float) -> str:
    """A count in millions or thousands: 4.12 M, 6.0 M, 830 k."""
    if value is None or not math.isfinite(value):
        return NOTHING
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            shown = value / (1e3 if letter == "k" else size)
            return f"{number(shown, 0) if shown == round(shown) else rounded(shown)}{THIN}{letter}"
    return number(value, 0)


def duration(seconds: float) -> str:
    """A time in seconds, minutes or hours."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if seconds < 120:
        return f"{number(seconds, 0)}{THIN}s"
    if seconds < 7200:
        return f"{number(seconds / 60, 1)}{THIN}min"
    return f"{number(seconds / 3600, 1)}{THIN}h"


def memory(size: float) -> str:
    """Bytes in MiB or GiB."""
    if size is None or not math.isfinite(size):
        return NOTHING
    return f"{number(size / 2**30, 2)}{THIN}GiB" if size >= 2**30 else f"{number(size / 2**20, 0)}{THIN}MiB"


COUNTED = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]


def count(amount: int, singular: str, plural: str | None = None) -> str:
    """One run, three runs, 15 runs."""
    spoken = COUNTED[amount] if 0 <= amount < len(COUNTED) else f"{amount:,}"
    return f"{spoken} {singular if amount == 1 else plural or singular + 's'}"


def listing(items: list[str]) -> str:
    """Joins as in: a, b and c."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


def commit(name: str) -> str:
    """A commit by its first twelve digits; a + after it stands for changes that were not committed."""
    digits, plus, _ = name.partition("+")
    return digits[:12] + plus if name else NOTHING


def sentence(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def device(name: object) -> str:
    """Of a processor's name only what tells it from others."""
    short = re.sub(r"\((?:R|TM)\)|\b(?:CPU|Processor)\b|@", "", str(name))
    return re.sub(r" +(?=[ ,]|$)", "", short)


def judged(part: object) -> str:
    """What a verdict is about, as a sentence."""
    return sentence(device(part))

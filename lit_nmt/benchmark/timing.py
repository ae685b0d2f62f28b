"""Timing that can be believed: windows of many calls, in alternation, beside the device's fastest product."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch


def synchronise(device: torch.device) -> None:
    """Waits until the device has done everything it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def time_window(calls: Sequence[Callable[[], object]], device: torch.device) -> float:
    """The seconds that all calls take one after another, with one synchronisation at the end."""
    synchronise(device)
    start = time.perf_counter()
    for call in calls:
        call()
    synchronise(device)
    return time.perf_counter() - start


def alternate(
    windows: Sequence[Sequence[Callable[[], object]]], rounds: int, device: torch.device
) -> Iterator[tuple[int, float]]:
    """Times each window once a round, forwards and backwards in turn, so that a drift hits all alike.

    Args:
        windows: the calls that make up each window.
        rounds: how often each is timed.

    Yields:
        The index of a window and its seconds, as soon as they are measured.
    """
    gc.collect()
    for number in range(rounds):
        order = range(len(windows))
        for index in order if number % 2 == 0 else reversed(order):
            yield index, time_window(windows[index], device)


@dataclass(frozen=True)
class Product:
    """A square matrix product and how fast it was."""

    flops_per_second: float
    size: int
    precision: str


def fastest_product(device: torch.device, sizes: Sequence[int] | None = None, seconds: float = 0.1) -> list[Product]:
    """Times matrix products of several sizes and precisions; the fastest comes first.

    The yardstick of utilisation: what the device can do on the very operation that models consist of, with as
    many threads as they have. A precision that is less than half as fast as another at the smallest size is
    left there.

    Args:
        sizes: rows and columns; by default a few that fill the device.
        seconds: for which each product is repeated, roughly; the fastest third counts.
    """
    precisions = ["float32", "bfloat16"]
    if device.type == "cuda":
        precisions += ["float16", "tf32"]
    sizes = sorted(sizes or ([2048, 4096, 8192] if device.type == "cuda" else [512, 1024, 2048]))
    products: list[Product] = []
    for precision in precisions:
        for size in sizes:
            products.append(time_product(device, size, precision, seconds))
            if products[-1].flops_per_second < max(p.flops_per_second for p in products) / 2:
                break
    return sorted(products, key=lambda p: p.flops_per_second, reverse=True)


def time_product(device: torch.device, size: int, precision: str, seconds: float = 0.1) -> Product:
    """Times one square matrix product; `precision` is a type's name or "tf32"."""
    kind = torch.float32 if precision == "tf32" else getattr(torch, precision)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        left = torch.randn(size, size, device=device).to(kind)
        right = torch.randn(size, size, device=device).to(kind)
        out = torch.empty_like(left)

        def multiply() -> None:
            torch.mm(left, right, out=out)

        once = [multiply] * (10 if device.type == "cuda" else 1)
        time_window(once, device)
        # a window of one product would measure the clock, and on a GPU the launch
        repetitions = math.ceil(seconds / 3 / time_window(once, device))
        best = min(time_window(once * repetitions, device) for _ in range(3)) / len(once) / repetitions
    finally:
        torch.set_float32_matmul_precision(before)
    return Product(2 * size**3 / best, size, precision)

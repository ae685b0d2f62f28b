"""`lit-nmt doctor`: whether this machine is ready, what it is good for, and what to do about what is missing."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from lit_nmt.data import sources
from lit_nmt.data.catalogues import mtdata_files
from lit_nmt.data.corpora import CORPORA, DATA, DERIVED, MADE, CorpusConfig, SplitConfig, load_corpus_config
from lit_nmt.data.download import DOWNLOADS, cached
from lit_nmt.status import cores, is_prepared

PACKAGES = ("torch", "pytorch-lightning", "sentencepiece", "sacrebleu", "snakemake", "pandas")
LOW_DISK_BYTES = 2 * 2**30
"""Less free disk than this is told: a study of Multi30k takes about one GiB."""

GAIN = 1.2
"""How many times faster than float32 a product in bfloat16 must be for bf16-mixed to be worth its rounding."""


def doctor() -> None:
    """Tells versions, devices, the precision that is fast here (measured), free disk, and which corpora are here."""
    for line in (*_versions(), *_disk(), *_devices(), *_corpora()):
        print(line, flush=True)


def _versions() -> Iterator[str]:
    yield f"lit-nmt     {version('lit-nmt')}, Python {platform.python_version()}"
    for name in PACKAGES:
        try:
            yield f"  {name:<18} {version(name)}"
        except PackageNotFoundError:
            yield f"  {name:<18} missing: run ./install.sh"


def _disk() -> Iterator[str]:
    free = shutil.disk_usage(Path.cwd()).free
    remark = "" if free > LOW_DISK_BYTES else ": little; runs keep their checkpoints, delete those of studies done"
    yield f"disk        {free / 2**30:,.1f} GiB free in {Path.cwd()}{remark}"


def _devices() -> Iterator[str]:
    import torch

    from lit_nmt.benchmark.timing import fastest_product
    from lit_nmt.fit import machine

    known = machine(torch.device("cpu"))["hardware"]
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    memory = known["memory_bytes"] / 2**30
    yield f"processor   {known['cpu']}, {cores()} cores to use, {memory:,.0f} GiB; OMP_NUM_THREADS {threads}"
    devices = [torch.device("cpu"), *(torch.device("cuda", index) for index in range(torch.cuda.device_count()))]
    if len(devices) == 1:
        yield "GPU         none that torch sees; every study that ships is made for CPUs, `quick` the first"
    for device in devices:
        name = "processor" if device.type == "cpu" else f"GPU {device.index}, {torch.cuda.get_device_name(device)}"
        best: dict[str, float] = {}
        for product in fastest_product(device):
            best.setdefault(product.precision, product.flops_per_second / 1e9)
        said = ", ".join(f"{precision} {speed:,.0f}" for precision, speed in best.items())
        yield f"speed       {name}, matrix products: {said} GFLOP/s"
        # fit lets a GPU use TF32 in 32-true
        if best.get("bfloat16", 0) > GAIN * max(best["float32"], best.get("tf32", 0)):
            yield "precision   bf16-mixed pays here: --trainer.precision bf16-mixed, or the same in a study's fit"
        else:
            yield "precision   32-true, the default: bfloat16 is no faster on this device"


def _corpora() -> Iterator[str]:
    mirror = os.environ.get(sources.MIRROR)
    yield f"corpora     {sources.MIRROR} is {mirror or 'not set'}"
    for path in sorted(CORPORA.glob("*.yaml")):
        config = load_corpus_config(path.stem)
        yield f"  {path.stem:<18} {_whereabouts(config)}"
    if not CORPORA.is_dir():
        yield f"  none: there is no {CORPORA} here; run this in a checkout"


def _whereabouts(config: CorpusConfig) -> str:
    if is_prepared(config.name, config.digest()):
        return f"prepared, {DATA / config.name}"
    kinds = {split.kind for split in config.splits.values()} - {"inline", *DERIVED}
    if kinds <= {*MADE}:
        return "embedded, nothing to fetch"
    absent = [
        name
        for name, split in config.splits.items()
        if split.kind not in ("inline", *MADE, *DERIVED)
        and sources.local_files(config, name) is None
        and not _is_downloaded(config, split)
    ]
    if not absent:
        return "its text is here"
    if kinds <= {"files", *MADE}:
        return f"its text is not here: {config.obtain or 'put its files into ' + sources.MIRROR}"
    return f"to be fetched ({', '.join(absent)}): lit-nmt fetch {config.name}"


def _is_downloaded(config: CorpusConfig, split: SplitConfig) -> bool:
    sides = config.source, config.target
    files: list[Path] = []
    if split.kind == "download":
        folder = DOWNLOADS / config.mirror
        files = [cached(split.address.replace("{language}", side), split.sha256[side], folder) for side in sides]
    elif split.kind == "mtdata":
        files = [file for identifier in split.identifiers for file in mtdata_files(identifier, *sides)]
    return bool(files) and all(file.is_file() for file in files)

"""Text known by name to other packages: mtdata's data sets and sacreBLEU's test sets.

Both keep caches of their own and are imported only where a corpus names them; mtdata is an extra.
"""

from __future__ import annotations

import logging
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from tqdm import tqdm

from lit_nmt.data.download import DOWNLOADS
from lit_nmt.errors import UserError
from lit_nmt.files import replacing


def fetch_mtdata(identifier: str, source: str, target: str, instead: str) -> tuple[Path, Path]:
    """Two files of aligned lines, (source, target), of a data set of mtdata; fetched once.

    Args:
        identifier: As `mtdata list --id` prints it, e.g. `Statmt-europarl-7-fra-eng`, in either direction.
        source: Source language, e.g. `en`.
        target: Target language.
        instead: What the user can do where it cannot be had, for the message.

    Raises:
        UserError: mtdata is not installed, knows no such data set or none in these languages, or it cannot be
            had.
    """
    files = mtdata_files(identifier, source, target)
    files[0].parent.mkdir(parents=True, exist_ok=True)
    with FileLock(files[0].parent / ".lock"):
        if not all(file.is_file() for file in files):
            with _quiet_logging(), _archives_kept_inside():
                _export(identifier, source, target, files, instead)
    return files


def mtdata_files(identifier: str, source: str, target: str) -> tuple[Path, Path]:
    """Where `fetch_mtdata` keeps a data set."""
    folder = DOWNLOADS / "mtdata"
    return folder / f"{identifier}.{source}", folder / f"{identifier}.{target}"


def _export(identifier: str, source: str, target: str, files: tuple[Path, Path], instead: str) -> None:
    try:
        import mtdata
        from mtdata.cache import Cache
        from mtdata.entry import DatasetId
        from mtdata.index import Index
        from mtdata.iso.bcp47 import BCP47Tag, bcp47
        from mtdata.parser import Parser
    except ImportError:
        raise UserError(
            f"mtdata data set {identifier}: mtdata is not installed; `./install.sh mtdata`, {instead}"
        ) from None
    entries = Index.get_instance().entries
    try:
        entry = entries[DatasetId.parse(identifier)]
    except Exception:
        raise UserError(
            f"mtdata data set {identifier}: mtdata {mtdata.__version__} knows none of this name; look it up "
            f"with `mtdata list --id -l {source}-{target}`"
        ) from None
    matches, swapped = BCP47Tag.check_compat_swap((bcp47(source), bcp47(target)), entry.did.langs)
    if not matches:
        raise UserError(
            f"mtdata data set {identifier}: its languages are {entry.did.lang_str}, {source}-{target} expected"
        )
    try:
        # mtdata has no error of its own for a failed download, a status code or a damaged archive.
        path = Cache(Path(mtdata.cache_dir)).get_entry(entry)
        segments = Parser(path, ext=entry.in_ext or None, ent=entry).read_segs(show_pbar=False)
        with (
            replacing(files[0]) as beside_source,
            replacing(files[1]) as beside_target,
            open(beside_source, "wb") as source_file,
            open(beside_target, "wb") as target_file,
        ):
            for segment in tqdm(segments, desc=identifier, unit=" pairs", unit_scale=True, disable=None):
                if len(segment) < 2:
                    continue
                first, second = ((text or "").replace("\n", " ") + "\n" for text in segment[:2])
                if swapped:
                    first, second = second, first
                source_file.write(first.encode("utf-8"))
                target_file.write(second.encode("utf-8"))
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"mtdata data set {identifier}: could not be had ({reason}); {instead}") from None


def fetch_sacrebleu(test_set: str, source: str, target: str, instead: str) -> tuple[Path, Path]:
    """The files (source, first reference) of one of sacreBLEU's test sets, in either direction.

    Raises:
        UserError: sacreBLEU knows no such test set or not this language pair, or it cannot be had.
    """
    from sacrebleu.dataset import DATASETS
    from sacrebleu.utils import SACREBLEU_DIR, get_reference_files, get_source_file

    if test_set not in DATASETS:
        near = [name for name in DATASETS if name.startswith(test_set[:5])] or list(DATASETS)
        raise UserError(
            f"sacreBLEU test set {test_set}: unknown; there are {', '.join(sorted(near))} (`sacrebleu --list`)"
        )
    pairs = DATASETS[test_set].langpairs
    direction = next((pair for pair in (f"{source}-{target}", f"{target}-{source}") if pair in pairs), None)
    if direction is None:
        raise UserError(
            f"sacreBLEU test set {test_set}: it lacks {source}-{target}; it has {', '.join(sorted(pairs))}"
        )
    try:
        with _quiet_logging(), _archives_kept_inside():
            files = (
                Path(get_source_file(test_set, direction)),
                Path(get_reference_files(test_set, direction)[0]),
            )
    except (Exception, SystemExit) as error:
        # sacreBLEU ends the process on a wrong checksum, and takes a broken archive for whole the next time.
        shutil.rmtree(Path(SACREBLEU_DIR, test_set), ignore_errors=True)
        reason = "wrong checksum" if isinstance(error, SystemExit) else " ".join(str(error).split())
        raise UserError(f"sacreBLEU test set {test_set}: could not be had ({reason}); {instead}") from None
    return files if direction == f"{source}-{target}" else (files[1], files[0])


@contextmanager
def _archives_kept_inside() -> Iterator[None]:
    """Lets no tar archive write outside the folder that it is unpacked into, nor make links that lead there."""
    if not hasattr(tarfile, "data_filter"):
        raise UserError("archives are unpacked safely by Python 3.11.4 or later; this one is older: update it")
    before = vars(tarfile.TarFile)["extraction_filter"]
    tarfile.TarFile.extraction_filter = staticmethod(tarfile.data_filter)
    try:
        yield
    finally:
        tarfile.TarFile.extraction_filter = before


@contextmanager
def _quiet_logging() -> Iterator[None]:
    """Keeps other packages from logging their progress and from changing the root logger for good."""
    root = logging.getLogger()
    handlers, level, disabled = list(root.handlers), root.level, root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(disabled)
        root.handlers[:] = handlers
        root.setLevel(level)

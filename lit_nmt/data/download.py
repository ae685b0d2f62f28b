"""Single files from a pinned address: verified by pooch, and gone on with where an earlier try broke off."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pooch
import requests
from filelock import FileLock
from tqdm import tqdm

from lit_nmt.data.corpora import DATA
from lit_nmt.errors import UserError

DOWNLOADS = DATA / "downloads"

_TRIES = 3
_TIMEOUT_SECONDS = 30
_CHUNK_BYTES = 1 << 16
# What a connection that breaks off may raise, before its answer or in it.
_BROKEN = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)


def download(address: str, sha256: str, folder: Path, instead: str) -> Path:
    """The file at `address`, from the cache in `folder` or fetched into it.

    A partial file stays when the connection breaks or the process dies; the next call asks for the rest.

    Args:
        address: Where the file is (http or https).
        sha256: The checksum that it must have.
        folder: The cache; calls at once wait for one another.
        instead: What the user can do where the download fails, for the message.

    Raises:
        UserError: The file cannot be had, or its checksum is another.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = cached(address, sha256, folder).name
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")
    try:
        with FileLock(folder / ".lock"):
            fetcher = _Resuming(folder / f"{name}.part")
            return Path(pooch.retrieve(address, f"sha256:{sha256}", name, folder, downloader=fetcher))
    except requests.RequestException as error:
        raise UserError(f"{address}: could not be downloaded ({_reason(error)}); {instead}") from None
    except ValueError as error:
        found = re.search(r"got (?:sha256:)?(\w+)", str(error))
        raise UserError(
            f"{address}: the file there has SHA-256 {found[1] if found else 'of another file'}, {sha256} "
            f"expected; {instead}"
        ) from None
    finally:
        logger.setLevel(level)


def cached(address: str, sha256: str, folder: Path) -> Path:
    """Where the cache in `folder` has the file; its checksum keeps two files of one name apart."""
    return folder / f"{sha256[:12]}-{file_name(address)}"


def file_name(address: str) -> str:
    """The last part of an address, without a query."""
    return address.partition("?")[0].rpartition("/")[2]


class _Resuming:
    """A pooch downloader that keeps what has come so far in a file of its own."""

    def __init__(self, partial: Path):
        self._partial = partial

    def __call__(self, url: str, output_file: Any, pooch: Any) -> None:
        for tries_left in reversed(range(_TRIES)):
            try:
                self._fetch_rest(url)
                break
            except _BROKEN:
                if not tries_left:
                    raise
        self._partial.replace(output_file)

    def _fetch_rest(self, url: str) -> None:
        present = self._partial.stat().st_size if self._partial.exists() else 0
        # Without `identity` a server may compress on the way, and byte ranges then count other bytes.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={present}-"} if present else {})
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_SECONDS) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                # All had come already, or the file there is another one: begin anew, the checksum tells.
                self._partial.unlink()
                return self._fetch_rest(url)
            response.raise_for_status()
            if response.status_code != requests.codes.partial_content:
                present = 0
            length = response.headers.get("Content-Length")
            total = present + int(length) if length else None
            with (
                open(self._partial, "ab" if present else "wb") as file,
                tqdm(
                    desc=file_name(url),
                    initial=present,
                    total=total,
                    unit="B",
                    unit_scale=True,
                    disable=None,
                ) as bar,
            ):
                for chunk in response.iter_content(_CHUNK_BYTES):
                    file.write(chunk)
                    bar.update(len(chunk))
            if total is not None and self._partial.stat().st_size < total:
                raise requests.ConnectionError(f"{self._partial.stat().st_size} of {total} bytes came")


def _reason(error: requests.RequestException) -> str:
    if error.response is not None:
        return f"{error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return f"no answer within {_TIMEOUT_SECONDS} s"
    if isinstance(error, _BROKEN):
        return "no connection, or it broke off"
    return " ".join(str(error).split())

"""Where text comes from: local files first; downloads, mtdata and sacreBLEU against a server of our own."""

import contextlib
import gzip
import hashlib
import importlib
import io
import sys
import tarfile
import threading
import types
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lit_nmt.data import catalogues, sources
from lit_nmt.data import download as downloading
from lit_nmt.data.corpora import CorpusConfig, SplitConfig
from lit_nmt.data.download import DOWNLOADS, download
from lit_nmt.errors import UserError

PAIRS = [(f"the fox counts {number} geese", f"le renard compte {number} oies") for number in range(200)]


def lines(side):
    return "".join(f"{pair[side]}\n" for pair in PAIRS).encode()


FILES = {
    "/toy/train.en.gz": gzip.compress(lines(0), mtime=0),
    "/toy/train.fr.gz": gzip.compress(lines(1), mtime=0),
    "/toy/plain.en": lines(0),
    "/toy/plain.fr": lines(1),
}


class Server(ThreadingHTTPServer):
    """Serves FILES, and ranges of them; `breaks` responses end after 500 bytes."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, str | None]] = []
        self.files = dict(FILES)
        self.breaks = 0
        self.honours_ranges = True

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        server.requests.append((self.path, asked))
        content = server.files.get(self.path)
        if content is None:
            return self.send_error(404)
        first = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and server.honours_ranges else 0
        if first >= len(content):
            return self.send_error(416)
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        if server.breaks:
            server.breaks -= 1
            self.wfile.write(content[first : first + 500])
            self.close_connection = True
            return None
        self.wfile.write(content[first:])
        return None

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(sources.MIRROR, raising=False)
    monkeypatch.setattr(downloading, "_CHUNK_BYTES", 100)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def corpus(train, source="en", target="fr", **changes):
    splits = {"train": train, "validation": SplitConfig("holdout", of="train", pairs=5)}
    return CorpusConfig("toy-en-fr", ["en", "fr"], source, target, splits, folder="toy", **changes)


def downloaded(server, name="train.{language}.gz", checksums=None):
    paths = {language: FILES[f"/toy/{name.replace('{language}', language)}"] for language in ("en", "fr")}
    checksums = checksums or {language: sha256(content) for language, content in paths.items()}
    return corpus(SplitConfig("download", address=f"{server.address}/toy/{name}", sha256=checksums))


needs_safe_archives = pytest.mark.skipif(
    not hasattr(tarfile, "data_filter"), reason="archives are refused before Python 3.11.4"
)


def one_line(call, *words):
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert [word for word in words if word not in message] == []


def test_a_download_comes_once(server):
    config = downloaded(server)
    assert list(sources.locate(config, "train")) == PAIRS
    assert len(server.requests) == 2
    assert list(sources.locate(config, "train")) == PAIRS
    assert list(sources.locate(config, "validation")) == PAIRS  # what it is held out of
    assert len(server.requests) == 2
    assert not list(DOWNLOADS.rglob("*.part"))


def test_a_broken_download_goes_on_where_it_broke_off(server):
    server.breaks = 2
    content = FILES["/toy/plain.en"]
    address = f"{server.address}/toy/plain.en"
    path = download(address, sha256(content), Path("cache"), "")
    assert path.read_bytes() == content
    assert [asked for _, asked in server.requests] == [None, "bytes=500-", "bytes=1000-"]


def test_what_an_earlier_call_left_is_gone_on_with_and_checked(server):
    content = FILES["/toy/plain.en"]
    address = f"{server.address}/toy/plain.en"
    server.breaks = 3
    one_line(
        lambda: download(address, sha256(content), Path("cache"), "fetch it by hand"),
        address,
        "broke off",
        "fetch it by hand",
    )
    server.requests.clear()
    path = download(address, sha256(content), Path("cache"), "")
    assert path.read_bytes() == content
    assert server.requests == [("/toy/plain.en", "bytes=1500-")]


@pytest.mark.parametrize("left", [b"something else", None, b"more than there is " * 1000])
def test_a_useless_rest_is_thrown_away(server, left):
    content = FILES["/toy/plain.en"]
    address = f"{server.address}/toy/plain.en"
    rest = Path("cache") / f"{sha256(content)[:12]}-plain.en.part"
    rest.parent.mkdir()
    rest.write_bytes(content if left is None else left)
    if left == b"something else":
        # The server's rest does not fit: the checksum tells, and the next call begins anew.
        one_line(lambda: download(address, sha256(content), Path("cache"), ""), sha256(content))
    assert download(address, sha256(content), Path("cache"), "").read_bytes() == content


def test_a_server_without_ranges_sends_all_again(server):
    server.honours_ranges = False
    server.breaks = 1
    content = FILES["/toy/plain.en"]
    path = download(f"{server.address}/toy/plain.en", sha256(content), Path("cache"), "")
    assert path.read_bytes() == content


def test_another_checksum_is_refused_and_nothing_kept(server):
    wrong = {"en": sha256(b"another"), "fr": sha256(b"file")}
    config = downloaded(server, checksums=wrong)
    one_line(
        lambda: sources.locate(config, "train"),
        "/toy/train.en.gz",
        sha256(FILES["/toy/train.en.gz"]),
        wrong["en"],
    )
    assert [path.name for path in DOWNLOADS.rglob("*") if path.is_file()] == [".lock"]


def test_a_file_that_is_not_there_is_told_with_what_to_do(server):
    del server.files["/toy/train.fr.gz"]
    one_line(
        lambda: sources.locate(downloaded(server), "train"),
        "/toy/train.fr.gz",
        "404",
        "toy/train.en.gz and toy/train.fr.gz",
        sources.MIRROR,
    )


def test_no_server_is_told(server):
    config = downloaded(server)
    config.splits["train"].address = "http://127.0.0.1:9/toy/train.{language}.gz"
    one_line(lambda: sources.locate(config, "train"), "could not be downloaded", "connection")


def test_the_local_mirror_comes_before_the_network(server, monkeypatch, tmp_path):
    mirror = tmp_path / "mirror"
    (mirror / "toy").mkdir(parents=True)
    monkeypatch.setenv(sources.MIRROR, str(mirror))
    for path, content in FILES.items():
        (mirror / "toy" / Path(path).name).write_bytes(content)
    configs = [
        downloaded(server),
        corpus(SplitConfig("files")),
        corpus(SplitConfig("files", file="plain")),
        corpus(SplitConfig("mtdata", identifiers=["Nobody-toy-1-eng-fra"])),
        corpus(SplitConfig("sacrebleu", test_set="nobody/toy", file="plain.{language}")),
    ]
    for config in configs:
        assert list(sources.locate(config, "train")) == PAIRS
    assert server.requests == []
    swapped = corpus(SplitConfig("files"), source="fr", target="en")
    assert next(iter(sources.locate(swapped, "train"))) == PAIRS[0][::-1]
    (mirror / "toy" / "train.fr.gz").write_bytes(gzip.compress(b"another text\n"))
    one_line(
        lambda: sources.locate(configs[0], "train"),
        str(mirror / "toy" / "train.fr.gz"),
        sha256(FILES["/toy/train.fr.gz"]),
    )
    assert server.requests == []


def test_missing_files_are_told_with_where_and_how(server, monkeypatch, tmp_path):
    config = corpus(SplitConfig("files"), obtain="ask the library for its tapes")
    one_line(lambda: sources.locate(config, "train"), "toy-en-fr", sources.MIRROR, "not set", "tapes")
    monkeypatch.setenv(sources.MIRROR, str(tmp_path))
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "train.en").write_bytes(lines(0))
    with pytest.raises(UserError) as caught:
        sources.locate(config, "train")
    assert str(tmp_path / "toy" / "train.fr") in str(caught.value)
    assert str(tmp_path / "toy" / "train.en") not in str(caught.value)
    by_path = corpus(SplitConfig("files", file=f"{tmp_path}/{{language}}/text.gz"))
    one_line(lambda: sources.locate(by_path, "train"), f"{tmp_path}/en/text.gz", f"{tmp_path}/fr/text.gz")


def test_synthetic_text_is_made(server):
    config = CorpusConfig(
        "toy",
        ["qta", "qor"],
        "qta",
        "qor",
        {"train": SplitConfig("synthetic", pairs=7, seed=3), "validation": SplitConfig("synthetic", pairs=2)},
    )
    pairs = list(sources.locate(config, "train"))
    assert len(pairs) == 7
    assert pairs == list(sources.locate(config, "train"))


@pytest.fixture
def test_set(server, monkeypatch, tmp_path):
    """A test set of sacreBLEU's, in the direction en-fr only, on our server."""
    from sacrebleu import dataset, utils
    from sacrebleu.dataset import base
    from sacrebleu.dataset.plain_text import PlainTextDataset

    for module in (utils, base):
        monkeypatch.setattr(module, "SACREBLEU_DIR", str(tmp_path / "sacrebleu"))
    files = ["/toy/plain.en", "/toy/plain.fr"]
    entry = PlainTextDataset(
        "toy/2020",
        data=[server.address + file for file in files],
        md5=[hashlib.md5(FILES[file]).hexdigest() for file in files],
        langpairs={"en-fr": [f"toy_2020.{Path(file).name}" for file in files]},
    )
    monkeypatch.setitem(dataset.DATASETS, "toy/2020", entry)
    return entry


@needs_safe_archives
def test_a_test_set_of_sacrebleu_serves_both_directions(server, test_set):
    split = SplitConfig("sacrebleu", test_set="toy/2020")
    assert list(sources.locate(corpus(split), "train")) == PAIRS
    swapped = sources.locate(corpus(split, source="fr", target="en"), "train")
    assert list(swapped) == [pair[::-1] for pair in PAIRS]
    assert len(server.requests) == 2


@needs_safe_archives
def test_a_test_set_that_cannot_be_had_is_told_and_left_clean(server, test_set):
    one_line(lambda: catalogues.fetch_sacrebleu("toy/2020", "en", "de", ""), "toy/2020", "en-de", "en-fr")
    one_line(lambda: catalogues.fetch_sacrebleu("toy/2021", "en", "fr", ""), "toy/2021", "toy/2020")
    server.files["/toy/plain.fr"] += b"one more line\n"
    one_line(lambda: catalogues.fetch_sacrebleu("toy/2020", "en", "fr", "look here"), "checksum", "look here")
    del server.files["/toy/plain.fr"]
    one_line(lambda: catalogues.fetch_sacrebleu("toy/2020", "en", "fr", ""), "404")
    server.files = dict(FILES)
    source, target = catalogues.fetch_sacrebleu("toy/2020", "en", "fr", "")
    assert (source.read_bytes(), target.read_bytes()) == (lines(0), lines(1))


def test_archives_are_refused_where_python_cannot_keep_them_inside(server, test_set, monkeypatch):
    monkeypatch.delattr(tarfile, "data_filter", raising=False)
    one_line(lambda: catalogues.fetch_sacrebleu("toy/2020", "en", "fr", "look here"), "Python 3.11.4", "look here")
    assert server.requests == []


def archive(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    """A gzipped tar of files, and before them of symbolic links to other places."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for name, target in (links or {}).items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text))
    return content.getvalue()


WANTED = {"toy-v1.fr-en.fr": lines(1), "toy-v1.fr-en.en": lines(0)}
ESCAPES = {
    "a path": ({"../../../../outside": b"x", **WANTED}, {}),
    "a link": ({"way/outside": b"x", **WANTED}, {"way": "../../../.."}),
    "an absolute link": ({"way/outside": b"x", **WANTED}, {"way": "{here}"}),
}


@pytest.mark.parametrize("escape", ESCAPES)
def test_no_archive_writes_outside_its_folder(server, test_set, mtdata, escape, tmp_path):
    files, links = ESCAPES[escape]
    links = {name: target.replace("{here}", str(tmp_path)) for name, target in links.items()}
    content = server.files["/fr-en.tgz"] = archive(files, links)
    test_set.data, test_set.md5 = [f"{server.address}/fr-en.tgz"], [hashlib.md5(content).hexdigest()]
    test_set.langpairs = {"en-fr": ["toy-v1.fr-en.en", "toy-v1.fr-en.fr"]}
    one_line(lambda: catalogues.fetch_sacrebleu("toy/2020", "en", "fr", "look here"), "could not be had", "look here")
    identifier = "Toys-toy-1-fra-eng"
    with contextlib.suppress(UserError):  # mtdata may read members without unpacking anything
        catalogues.fetch_mtdata(identifier, "en", "fr", "look here")
    assert list(tmp_path.parent.rglob("outside")) == []


@pytest.fixture
def mtdata(server, monkeypatch, tmp_path):
    """The real mtdata with an index of one data set, a tar of two files with French first, on our server."""
    pytest.importorskip("mtdata")
    server.files["/fr-en.tgz"] = archive(WANTED)

    def load_all(index):
        from mtdata.entry import Entry

        members = ["toy-v1.fr-en.fr", "toy-v1.fr-en.en"]
        url = f"{server.address}/fr-en.tgz"
        index.add_entry(Entry("Toys-toy-1-fra-eng", url=url, in_paths=members, in_ext="txt"))

    # mtdata makes its index of all the world's corpora when it is imported: give it ours, in a cache of ours.
    for name in [name for name in sys.modules if name.partition(".")[0] == "mtdata"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setenv("MTDATA", str(tmp_path / "mtdata"))
    (tmp_path / "mtdata").mkdir()
    index_modules = {".statmt": types.SimpleNamespace(load_all=load_all)}
    nothing = types.SimpleNamespace(load_all=lambda index: None)
    import_module = importlib.import_module

    def import_index(name, package=None):
        if package == "mtdata.index":
            return index_modules.get(name, nothing)
        return import_module(name, package)

    monkeypatch.setattr(importlib, "import_module", import_index)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "mtdata"]:
        del sys.modules[name]


@needs_safe_archives
def test_a_data_set_of_mtdata_comes_once_in_the_corpus_s_direction(server, mtdata, caplog):
    split = SplitConfig("mtdata", identifiers=["Toys-toy-1-fra-eng"])
    assert list(sources.locate(corpus(split), "train")) == PAIRS
    swapped = corpus(split, source="fr", target="en")
    assert list(sources.locate(swapped, "train")) == [pair[::-1] for pair in PAIRS]
    assert server.requests == [("/fr-en.tgz", None)]
    assert caplog.records == []


@needs_safe_archives
def test_a_data_set_that_mtdata_lacks_is_told(server, mtdata):
    def fetch(identifier, source="en"):
        return lambda: catalogues.fetch_mtdata(identifier, source, "fr", "look here")

    one_line(fetch("Toys-toy-2-fra-eng"), "Toys-toy-2-fra-eng", "mtdata list")
    one_line(fetch("toys"), "toys", "mtdata list")
    one_line(fetch("Toys-toy-1-fra-eng", "de"), "fra-eng", "de-fr")
    del server.files["/fr-en.tgz"]
    one_line(fetch("Toys-toy-1-fra-eng"), "could not be had", "404", "look here")
    assert [path.name for path in (DOWNLOADS / "mtdata").iterdir()] == [".lock"]


@needs_safe_archives
def test_without_mtdata_its_extra_is_named(server, monkeypatch):
    monkeypatch.setitem(sys.modules, "mtdata", None)
    split = SplitConfig("mtdata", identifiers=["Toys-toy-1-fra-eng"])
    one_line(lambda: sources.locate(corpus(split), "train"), "Toys-toy-1-fra-eng", "./install.sh mtdata")

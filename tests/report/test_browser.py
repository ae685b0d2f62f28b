"""The pages in a real browser: offline, without an error, by keyboard, on a phone, in the dark, and accessible."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lit_nmt.report.build import report

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: ./install.sh dev")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed: ./install.sh dev")

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 120_000
"""Milliseconds that a busy machine may take."""
SCRIPT = "Der Satz </script><script>document.title='ran'</script><img src=x onerror=\"document.title='ran'\"> endet"
SENTENCES = 5_200
SMALL: dict[str, Any] = {"corpora": {"market-en-de": [1]}, "test_sets": ("market",), "sentences": 220}
UNFOLD = "document.querySelectorAll('details').forEach((fold) => (fold.open = true))"

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory, made_up: Callable[..., Path]) -> Path:
    """A full report of many sentences and the published one of the same results; the last hypotheses are markup."""
    folder = tmp_path_factory.mktemp("browser")
    results = made_up(folder / "reports/demo/results", bins=((5, 12), (13, 60)), examples=SENTENCES, **SMALL)
    rows = [json.loads(line) for line in (results / "examples.jsonl").read_text(encoding="utf-8").split("\n")[:-1]]
    for row in rows[-3:] + rows[:1]:
        row["hypothesis"] = SCRIPT
    (results / "examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        report("demo", Path("reports/demo/results"))
        report("demo", Path("reports/demo/results"), publish=True)
    return folder / "reports"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium, the system's own."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=found, args=QUIET, timeout=PATIENCE)
        yield started
        started.close()


@pytest.fixture
def visit(browser: Any, reports: Path) -> Iterator[Open]:
    """Opens a page of the reports, without a network; every error and every request but its own fails the test."""
    troubles: list[str] = []
    contexts = []

    def visit(name: str = "demo/index.html", width: int = 1280, **settings: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, offline=True, **settings)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        address = (reports / name).as_uri()
        page.on("console", lambda message: troubles.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: troubles.append(f"error: {error}"))
        page.on(
            "request",
            lambda request: (
                troubles.append(f"request: {request.url}")
                if request.url != address and not request.url.startswith("data:")
                else None
            ),
        )
        page.goto(address)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert troubles == []


def titles(page: Any) -> list[str]:
    return page.locator(".found article h3").all_inner_texts()


def choose(page: Any) -> Any:
    """The explorer's controls."""
    return page.get_by_role("form", name="Choose sentences")


def test_pages_load_offline_and_every_claim_unfolds_by_keyboard(visit: Open) -> None:
    page = visit()
    fold = page.locator("#verdicts details").first
    assert not fold.locator("dl").first.is_visible()
    fold.locator("summary").first.focus()
    page.keyboard.press("Enter")
    text = fold.inner_text()
    for part in ("criterion", "decision", "statistic", "sources", "how this was measured"):
        assert part in text
    box = fold.locator("svg use").first.bounding_box()
    assert box["width"] > 200, "the claim's figure is drawn"
    assert box["height"] > 100
    run = page.locator("#sources details").first
    run.locator("summary").first.click()
    assert "lit-nmt fit --config" in run.inner_text()
    assert "target_tokens: 6000000" in run.inner_text()
    for name in ("index.html", "published/index.html", "published/demo/index.html"):
        assert visit(name).locator("h1").is_visible()


def test_tables_sort_by_keyboard(visit: Open) -> None:
    page = visit()
    table = page.locator("#compared table").first
    heading = table.locator("thead th").nth(5)
    cells = table.locator("tbody td:nth-child(6)")

    def column() -> list[float]:
        return [float(text.replace(",", "")) for text in cells.all_inner_texts()]

    before = column()
    for order, descending in (("descending", True), ("ascending", False)):
        heading.locator("button").focus()
        page.keyboard.press("Enter")
        assert heading.get_attribute("aria-sort") == order
        assert column() == sorted(before, reverse=descending)
    assert len(set(before)) > 1


def test_sentences_are_filtered_ordered_and_paged(visit: Open) -> None:
    page = visit()
    status = page.locator(".explorer [role=status]")
    assert status.inner_text() == "Sentences 1 to 10 of 5,200"
    page.locator(".pages button", has_text="Next").focus()
    page.keyboard.press("Enter")
    assert status.inner_text() == "Sentences 11 to 20 of 5,200"
    assert page.evaluate("document.activeElement.getAttribute('role')") == "status"
    assert "sentence 70:" in titles(page)[0]

    choose(page).get_by_label("length").select_option("5–12 words")
    shown = [int(title.split(": ")[1].split(" ")[0]) for title in titles(page)]
    assert len(shown) == 10
    assert all(5 <= words <= 12 for words in shown)
    choose(page).get_by_label("length").select_option("any")

    choose(page).get_by_label("find").fill("LIGHTHOUSE")
    assert status.inner_text() == "Sentences 1 to 10 of 867"
    assert all("lighthouse" in text for text in page.locator(".found .given:first-child dd").all_inner_texts())
    choose(page).get_by_label("find").fill("no such word")
    assert status.inner_text() == "No sentence is like that."
    assert titles(page) == []
    assert not page.locator(".pages").is_visible()
    choose(page).get_by_label("find").fill("")

    choose(page).get_by_label("only with attention").check()
    assert status.inner_text() == "Sentences 1 to 6 of 6"
    choose(page).get_by_label("only with attention").uncheck()
    choose(page).get_by_role("checkbox", name="Transformer").uncheck()
    assert "Transformer" not in page.locator(".found").inner_text()
    first = page.locator(".found .said").first.inner_text()
    assert first.startswith("Seq2seq")
    assert "BLEU 40.0, chrF 70.0" in first

    choose(page).get_by_label("order").select_option("short sources first")
    assert titles(page)[0].endswith(": 6 words")


def test_words_are_marked_against_the_reference_or_another_model(visit: Open) -> None:
    page = visit()
    choose(page).get_by_label("find").fill("lighthouse")
    line = page.locator(".found article").first.locator(".said")
    assert line.nth(2).locator("mark").all_inner_texts() == []
    choose(page).get_by_label("underlined").select_option("not in Seq2seq")
    # of "Der alte Leuchtturm steht allein ." that model drops the fourth word
    assert line.nth(2).locator("dd").first.inner_text() == "Der alte Leuchtturm steht allein ."
    assert line.nth(2).locator("mark").all_inner_texts() == ["steht"]
    assert line.nth(0).locator("mark").all_inner_texts() == []


def test_attention_is_a_table_over_the_words(visit: Open) -> None:
    page = visit()
    choose(page).get_by_label("find").fill("lighthouse")
    first = page.locator(".found article").first
    assert first.locator(".attention").count() == 2, "the model without attention has none"
    first.locator(".attention summary").last.focus()
    page.keyboard.press("Enter")
    table = first.locator(".heat").last
    table.locator("thead th").first.wait_for()  # drawn when the fold's toggle event comes, a moment after the key
    columns = ["The", "old", "lighthouse", "stands", "alone", ".", "(end)"]
    assert table.locator("thead th").all_inner_texts() == columns
    rows = ["Der", "alte", "Leuchtturm", "steht", "allein", ".", "(end)"]
    assert table.locator("tbody th").all_inner_texts() == rows
    assert table.locator("tbody tr").nth(1).locator("td").all_inner_texts() == ["", "100", *[""] * 5]
    inks = table.locator("tbody tr").nth(1).locator("td")
    colour = "(cell) => getComputedStyle(cell).backgroundColor"
    assert inks.nth(1).evaluate(colour) != inks.nth(0).evaluate(colour)


def test_markup_in_a_hypothesis_is_shown_and_not_run(visit: Open) -> None:
    for settings in ({}, {"java_script_enabled": False}):
        page = visit(**settings)
        title = page.title()
        shown = page.locator(".found .said dd", has_text="Der Satz").first
        assert shown.inner_text() == SCRIPT
        assert page.locator(".found script, .found img").count() == 0
        assert page.title() == title != "ran"
    page = visit()
    choose(page).get_by_label("find").fill("onerror")
    assert page.locator(".found article").count() == 2
    assert page.title() != "ran"


def test_thousands_of_sentences_are_searched_without_a_pause(visit: Open) -> None:
    page = visit()
    spent = page.evaluate(
        """() => {
            const field = document.querySelector("[name=text]");
            return ["t", "th", "the", "the l", ""].map((text) => {
                const started = performance.now();
                field.value = text;
                field.dispatchEvent(new Event("input", { bubbles: true }));
                document.body.offsetHeight;
                return performance.now() - started;
            });
        }"""
    )
    assert min(spent) < 1_000, f"{spent} ms, even on a busy machine"


def test_without_script_everything_reads(visit: Open) -> None:
    page = visit(java_script_enabled=False)
    assert page.locator(".found article").count() == 6
    assert page.get_by_text("6 of 5,200 sentences stand here; all of them are in results/examples.jsonl.").is_visible()
    for control in (".explorer form", ".pages", ".status"):
        assert not page.locator(control).is_visible()
    fold = page.locator(".attention details").first
    fold.locator("summary").click()
    assert fold.locator("table").is_visible()
    assert page.locator("#verdicts table").first.is_visible()


def test_what_may_not_be_passed_on_is_not_in_a_published_page(visit: Open) -> None:
    page = visit("published/demo/index.html")
    assert "This sentence belongs to nobody" not in page.content()
    assert page.get_by_text("866 translated sentences are left out of this page").is_visible()
    assert page.locator(".explorer [role=status]").inner_text() == "Sentences 1 to 10 of 4,334"


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")])
def test_pages_are_accessible_and_fit_the_screen(visit: Open, width: int, scheme: str) -> None:
    for name in ("demo/index.html", "index.html"):
        page = visit(name, width=width, color_scheme=scheme)
        page.evaluate(UNFOLD)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        found = axe.Axe().run(page)
        assert found.violations_count == 0, found.generate_report()


def test_on_paper_the_claims_stand_open_without_controls(visit: Open) -> None:
    page = visit()
    page.emulate_media(media="print")
    assert not page.locator(".explorer form").is_visible()
    assert page.locator("#verdicts details dl").first.bounding_box()["height"] > 20
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(28, 31, 35)"

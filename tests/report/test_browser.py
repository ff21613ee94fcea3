"""The page in a real browser: found, enlarged, sorted, scrolled; with a mouse, with keys, on a telephone."""

from __future__ import annotations

import base64
import gzip
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from commands import PATIENCE_S
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright
from report_samples import HOSTILE, WINDOWS, metrics, plots, small_report

from caloforge.report.page import builder
from caloforge.report.plots.histograms import Plot
from caloforge.report.plots.tables import table

pytestmark = pytest.mark.browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MANY = 320

# In a container there is no user namespace for Chromium's sandbox, and no GPU.
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        reason = f"none of {', '.join(NAMES)} is installed"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def drawn() -> list[tuple[Plot, bytes]]:
    return plots(MANY, len(HOSTILE))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[Plot, bytes]]) -> str:
    """A page of 320 plots and two candidates, whose labels mean harm."""
    folder = tmp_path_factory.mktemp("browser")
    report = small_report(folder, metrics(), metrics(hits=0.9), labels=HOSTILE)
    (folder / "report.html").write_text(builder.build_page(report, drawn), encoding="utf-8")
    return (folder / "report.html").as_uri()


class Seen:
    """What a page did that nobody should see it do."""

    def __init__(self, page: Page) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        page.on("request", lambda request: self.requests.append(request.url))

    @property
    def fetched(self) -> list[str]:
        return [url for url in self.requests if not url.startswith("data:")]


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1200, "height": 800})
    context.set_default_timeout(1000 * PATIENCE_S)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, url: str) -> Iterator[Page]:
    """The page, opened from disk; a word on its console or a request fails any test."""
    page = context.new_page()
    seen = Seen(page)
    page.goto(url)
    yield page
    assert seen.complaints == []
    assert set(seen.fetched) == {url}


def shown(page: Page) -> Locator:
    return page.locator("figure:visible")


def focused(page: Page) -> str:
    """Name the plot that has the focus."""
    return str(
        page.evaluate("document.activeElement.closest('figure')?.id ?? document.activeElement.id")
    )


def test_it_opens_from_disk_with_nothing_else(page: Page) -> None:
    expect(page.locator("h1")).to_contain_text(HOSTILE[0])
    expect(shown(page)).to_have_count(MANY)
    loaded = page.evaluate(
        """() => Promise.all([...document.images].filter(image => image.src).map(async image => {
            image.loading = "eager"; // now, not when it comes into sight
            await image.decode();
            return image.naturalWidth;
        }))"""
    )
    assert loaded == [660] * MANY


def test_its_policy_forbids_scripts_of_others(context: BrowserContext, url: str) -> None:
    page = context.new_page()
    page.goto(url)
    ran = page.evaluate(
        """() => new Promise(resolve => {
            document.addEventListener("securitypolicyviolation", event => resolve(event.effectiveDirective));
            const script = document.createElement("script");
            script.textContent = "document.title = 'taken'";
            document.body.append(script);
        })"""
    )
    assert ran == "script-src-elem"
    assert page.title() != "taken"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("hits", lambda plot: "hits" in plot.name or "hits" in plot.title.lower()),
        ("HITS 300kev", lambda plot: plot.observable == "hits_300keV"),
        (
            "width 100 GeV",
            lambda plot: "width" in plot.observable
            and plot.where in ("10 to 100 GeV", "100 to 300 GeV", "100 ± 5 GeV"),
        ),
        ("width_x 62°", lambda plot: plot.observable == "width_x" and "62" in plot.where),
        ("total 204.5GeV", lambda plot: plot.observable == "total_deposit" and "GeV" in plot.where
            and plot.where in (WINDOWS[2], "100 to 300 GeV")),
        ("moment 2 x", lambda plot: plot.observable == "moment2_x"),
        ("nosuchthing", lambda plot: False),
    ],
)  # fmt: skip
def test_search_finds_observables_and_energies(
    page: Page, drawn: list[tuple[Plot, bytes]], query: str, expected: object
) -> None:
    assert callable(expected)
    page.fill("#words", query)
    wanted = [plot.name for plot, _ in drawn if expected(plot)]
    assert [figure.get_attribute("id") for figure in shown(page).all()] == wanted
    expect(page.locator("#shown")).to_have_text(f"{len(wanted)} of {MANY} plots")
    for section in page.locator("section.topic").all():
        figures = section.locator("figure:visible").count()
        assert section.is_visible() == (figures > 0)
        count = page.locator(f"[data-count='{section.get_attribute('id')}']").inner_text()
        assert count == f"{figures} of {section.locator('figure').count()}"
    assert page.locator(".none").is_visible() == (not wanted)


def test_what_the_page_opens_with_is_found_beside_the_search_field(page: Page) -> None:
    """Response, resolution and mean profiles stand below the verdict, and come to the other plots that match."""
    opening, field = page.locator("section.topic").first, page.locator("form.find")
    below = "(section) => section.previousElementSibling.id"
    assert opening.evaluate(below) == "summary"
    page.fill("#words", page.locator("figure").first.get_attribute("id") or "")
    expect(shown(page)).to_have_count(1)
    expect(shown(page).first).to_be_in_viewport()
    expect(field).to_be_in_viewport()
    page.click("#clear")
    assert opening.evaluate(below) == "summary"
    expect(shown(page)).to_have_count(MANY)


def test_a_filtered_view_can_be_linked_and_cleared(page: Page, context: BrowserContext) -> None:
    topic = page.locator("#topic option").nth(1).inner_text()
    page.keyboard.press("/")
    assert focused(page) == "words"
    page.keyboard.type("deposit")
    page.select_option("#topic", topic)
    page.select_option("#where", "100 ± 5 GeV")
    ids = [figure.get_attribute("id") for figure in shown(page).all()]
    assert 0 < len(ids) < 10
    other = context.new_page()
    other.goto(page.url)
    assert [figure.get_attribute("id") for figure in shown(other).all()] == ids
    assert other.input_value("#words") == "deposit"
    # A link to what the filter hides shows all again, and goes there.
    last = page.locator("nav a[href='#event-displays']")
    last.click()
    expect(page.locator("#event-displays h2")).to_be_in_viewport()
    expect(shown(page)).to_have_count(MANY)
    other.locator("#clear").hover()
    other.mouse.down()  # which must not move the button away from below the mouse
    other.mouse.up()
    expect(shown(other)).to_have_count(MANY)
    assert focused(other) == "words"
    assert other.locator("#clear").is_disabled()


@pytest.fixture(scope="module")
def layers_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page of 20 plots, of which four show single layers, and one a radius."""
    folder = tmp_path_factory.mktemp("layers")
    drawn = plots(20, 2)
    places = [i for i, (plot, _) in enumerate(drawn) if plot.topic in ("Layers", "Cells and hits")]
    assert len(places) == 4
    for number, place in enumerate(places):
        plot, image = drawn[place]
        name, title = f"layer{number:02d}_x", f"Barycentre of the layer in x: layer {number}"
        drawn[place] = replace(plot, name=name, title=title, topic="Layers", folded=True), image
    drawn[0] = replace(drawn[0][0], name="radius_90_all", title="Radius of 90 %"), drawn[0][1]
    text = builder.build_page(small_report(folder, metrics()), drawn)
    (folder / "report.html").write_text(text, encoding="utf-8")
    return (folder / "report.html").as_uri()


def test_single_layers_are_folded_away_and_found(context: BrowserContext, layers_url: str) -> None:
    page = context.new_page()
    page.goto(layers_url)
    fold = page.locator("details.fold")
    expect(shown(page)).to_have_count(16)
    expect(page.locator("#shown")).to_have_text("20 plots")
    expect(page.locator("[data-count='layers']")).to_have_text("4")
    fold.locator("summary").click()
    expect(shown(page)).to_have_count(20)
    page.fill("#words", "layer 2")
    assert [figure.get_attribute("id") for figure in shown(page).all()] == ["layer02_x"]
    expect(fold.locator("summary")).to_have_text("Further plots 1")
    page.fill("#words", "Molière")
    assert [figure.get_attribute("id") for figure in shown(page).all()] == ["radius_90_all"]
    expect(fold).to_be_hidden()
    page.click("#clear")
    expect(shown(page)).to_have_count(16)
    page.select_option("#topic", "Layers")
    expect(shown(page)).to_have_count(4)
    page.click("#clear")
    # Enlarged, the plots follow each other through what is folded, and the last one is in sight after it.
    page.locator("a.enlarge:visible").last.click()
    while page.locator("#viewer-title").inner_text() != "Barycentre of the layer in x: layer 3":
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("Escape")
    expect(page.locator("#layer03_x a.enlarge")).to_be_focused()


def test_a_link_leads_to_a_folded_plot(context: BrowserContext, layers_url: str) -> None:
    page = context.new_page()
    page.goto(f"{layers_url}#layer03_x")
    expect(page.locator("#layer03_x")).to_be_in_viewport()


def test_a_plot_enlarges_by_mouse(page: Page) -> None:
    viewer = page.locator("#viewer")
    page.locator("figure a.enlarge").nth(4).click()
    expect(viewer).to_be_visible()
    expect(page.locator("#viewer-place")).to_have_text(f"5 of {MANY}")
    small = page.locator("figure img").nth(4)
    assert page.locator("#viewer-image").get_attribute("src") == small.get_attribute("src")
    large, before = page.locator("#viewer-image").bounding_box(), small.bounding_box()
    assert large is not None
    assert before is not None
    assert large["width"] > before["width"]
    page.click("#next")
    expect(page.locator("#viewer-place")).to_have_text(f"6 of {MANY}")
    page.click("#previous")
    page.click("#close")
    expect(viewer).to_be_hidden()
    page.locator("figure a.enlarge").first.click()
    page.mouse.click(5, 400)  # beside it
    expect(viewer).to_be_hidden()


def test_keys_alone_reach_everything(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("/")
    page.keyboard.type("hits 300")
    names = [figure.get_attribute("id") for figure in shown(page).all()]
    assert len(names) > 2
    for _ in range(20):
        page.keyboard.press("Tab")
        if focused(page) == names[0]:
            break
    assert page.evaluate("document.activeElement.className") == "enlarge"
    page.keyboard.press("Enter")
    expect(page.locator("#viewer")).to_be_visible()
    titles = [page.locator("#viewer-title").inner_text()]
    expect(page.locator("#previous")).to_be_disabled()
    for key in ("ArrowLeft", "ArrowRight", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
        titles.append(page.locator("#viewer-title").inner_text())
    expected = [page.locator(f"#{name} img").get_attribute("alt") for name in names]
    assert titles == [expected[i] for i in (0, 0, 1, 2, 1)]
    # The focus stays inside until Escape, and then is on the plot that was looked at last.
    for _ in range(12):
        page.keyboard.press("Tab")
        assert page.evaluate(
            "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
        )
    page.keyboard.press("Escape")
    expect(page.locator("#viewer")).to_be_hidden()
    expect(page.locator(f"#{names[1]} a.enlarge")).to_be_focused()


def test_a_heading_sorts_its_table(page: Page) -> None:
    body = page.locator("#numbers")
    heading = body.locator("thead th").nth(1)
    assert heading.get_attribute("aria-sort") is None

    def column(index: int) -> list[str]:
        return [row.locator("th, td").nth(index).inner_text() for row in body.locator("tbody tr").all()]

    before = column(1)
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert [float(text) for text in column(1)] == sorted(float(text) for text in before)
    heading.locator("button").focus()
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    assert [float(text) for text in column(1)] == sorted((float(text) for text in before), reverse=True)
    first = body.locator("thead th").first
    first.locator("button").click()
    assert heading.get_attribute("aria-sort") is None
    names = [text.splitlines()[0] for text in column(0)]
    assert names == sorted(names, key=str.lower)


def test_undefined_numbers_are_sorted_last(page: Page) -> None:
    table = page.locator("#observables")
    titles = [text.strip() for text in table.locator("thead tr").last.locator("th").all_inner_texts()]
    index = titles.index("Separation") if "Separation" in titles else 1
    for _ in range(2):
        table.locator("thead tr").last.locator("th").nth(index).locator("button").click()
        cells = table.locator(f"tbody tr > :nth-child({index + 1})")
        values = [float(cell.get_attribute("data-value") or "nan") for cell in cells.all()]
        undefined = [value == float("inf") for value in values]
        assert undefined == sorted(undefined)


def test_a_plots_data_can_be_saved(page: Page, drawn: list[tuple[Plot, bytes]]) -> None:
    link = page.locator("figure a[download]").nth(7)
    with page.expect_download() as saved:
        link.click()
    assert saved.value.suggested_filename == f"{drawn[7][0].name}.csv"
    assert Path(saved.value.path()).read_text() == table(drawn[7][0], HOSTILE)


def test_big_tables_are_compressed(
    drawn: list[tuple[Plot, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    plot, image = drawn[0]
    monkeypatch.setattr(builder, "PLAIN_BYTES", 10)
    figure = builder._figure(plot, image, HOSTILE)
    assert (figure["file"], figure["format"]) == (f"{plot.name}.csv.gz", "CSV, compressed")
    data = base64.b64decode(str(figure["data"]).partition(",")[2])
    assert gzip.decompress(data).decode() == table(plot, HOSTILE)


@pytest.mark.parametrize("width", [360, 800, 1200])
def test_nothing_is_wider_than_the_screen(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 740})
    wide = "() => document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth"
    assert page.evaluate(wide) == 0
    # What is wider, a table, scrolls by itself, and can be reached with the keyboard for it.
    assert page.evaluate(
        "[...document.querySelectorAll('table')].every(t => t.parentNode.matches('.scroll[tabindex=\"0\"]'))"
    )
    page.fill("#words", "hits")
    assert page.evaluate(wide) == 0
    shown(page).first.locator("a.enlarge").click()
    box = page.locator("#viewer").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    assert page.locator("#viewer").evaluate("d => d.scrollWidth - d.clientWidth") == 0
    expect(page.locator("#close")).to_be_in_viewport()
    expect(page.locator("#next")).to_be_in_viewport()


SCROLL = """async () => {
    const frames = [], shifts = [];
    new PerformanceObserver(list => shifts.push(...list.getEntries().map(e => e.value)))
        .observe({ type: "layout-shift", buffered: true });
    const frame = () => new Promise(requestAnimationFrame);
    let last = await frame();
    const root = document.scrollingElement, height = root.scrollHeight;
    while (root.scrollTop + root.clientHeight < root.scrollHeight - 1) {
        const before = root.scrollTop;
        scrollBy({ top: 400, behavior: "instant" });
        const now = await frame();
        frames.push(now - last);
        last = now;
        if (root.scrollTop === before) break;
    }
    frames.sort((a, b) => a - b);
    return {
        frames: frames.length, median: frames[frames.length >> 1], longest: frames.at(-1),
        shift: shifts.reduce((a, b) => a + b, 0), grown: root.scrollHeight - height,
        end: root.scrollTop + root.clientHeight >= root.scrollHeight - 1,
    };
}"""


def test_hundreds_of_plots_scroll_smoothly(page: Page) -> None:
    """To the end in steps of half a screen: nothing jumps, and half of the frames are short.

    A frame takes 17 ms where the machine is free; the bounds leave room for one that is not.
    """
    found = page.evaluate(SCROLL)
    assert found["end"]
    assert found["frames"] > 100
    assert found["grown"] == 0, "the page's height changed while pictures came into sight"
    assert found["shift"] < 0.01, f"the layout shifted by {found['shift']}"
    assert found["median"] < 100, f"half of the frames took longer than {found['median']} ms"
    assert found["longest"] < 3000, f"a frame took {found['longest']} ms"


def test_without_scripts_all_can_be_read(browser: Browser, url: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(url)
    expect(shown(page)).to_have_count(MANY)
    expect(page.locator("form.find")).to_be_hidden()
    expect(page.locator("#viewer")).to_be_hidden()
    expect(page.locator("thead button")).to_have_count(0)
    counted = r"\d+ failed, \d+ undecided, \d+ met, of \d+ requirements"
    assert len(re.findall(counted, page.locator("#summary").inner_text())) == 2
    context.close()


def test_printed_it_has_no_controls_and_black_text(page: Page) -> None:
    page.emulate_media(media="print", color_scheme="dark")
    expect(page.locator("nav")).to_be_hidden()
    expect(page.locator("form.find")).to_be_hidden()
    expect(page.locator("section.topic").first).to_be_visible()
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"

"""The page in a real browser: silent, accessible, and alive."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from isthmus.report import write_report

PHONE, DESKTOP = (390, 844), (1280, 900)


@contextmanager
def opened(browser, file, *, size=DESKTOP, scheme="light"):
    """The page; whatever it says or asks for makes the test fail."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, locale="en-GB"
    )
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda m: said.append(f"{m.type}: {m.text}"))
    page.on("pageerror", lambda e: said.append(f"error: {e}"))
    page.on(
        "request",
        lambda r: None if r.url.startswith(("data:", file.as_uri())) else said.append(r.url),
    )
    page.goto(file.as_uri())
    yield page
    assert not said, said
    context.close()


@pytest.fixture(scope="session")
def photos_page(photos_run):
    return write_report(photos_run).file


@pytest.fixture(scope="session")
def table_page(table_run, tmp_path_factory):
    return write_report(table_run, out=tmp_path_factory.mktemp("page") / "table.html").file


def violations(page) -> list[str]:
    """What axe-core finds, in a line each."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not here")
    # axe is run from outside the page, so the page's own policy stays as it is
    found = axe.Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [f"{v['id']}: {v['nodes'][0]['html'][:200]}" for v in found]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser, photos_page, table_page, scheme):
    for file in (photos_page, table_page):
        with opened(browser, file, scheme=scheme) as page:
            page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
            cell = page.locator("#confusion td button").first
            cell.click()
            assert violations(page) == []


def test_every_kind_of_run_opens_on_a_phone(
    browser, photos_page, table_page, digits_run, texts_run
):
    files = [photos_page, table_page]
    files += [write_report(run).file for run in (digits_run, texts_run)]
    for file in files:
        with opened(browser, file, size=PHONE) as page:
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= PHONE[0], file
            assert page.locator("h1").count() == 1


def test_lasso_lists_the_rows_inside(browser, photos_page):
    with opened(browser, photos_page) as page:
        page.locator("#map-controls").scroll_into_view_if_needed()
        box = page.locator("svg.map").first.bounding_box()
        page.mouse.move(box["x"] + 1, box["y"] + 1)
        page.mouse.down()
        for x, y in ((1, 0), (1, 1), (0, 1), (0, 0.01)):
            page.mouse.move(
                box["x"] + 1 + x * (box["width"] - 2),
                box["y"] + 1 + y * (box["height"] - 2),
                steps=3,
            )
        page.mouse.up()
        title = page.locator("#map-panel h4").inner_text()
        assert title.startswith("42 rows chosen")  # a lasso around everything
        assert page.locator("#map-panel .card").count() == 24
        page.locator("#map-panel > button").click()
        assert page.locator("#map-panel .card img").count() == 42


def test_map_by_keyboard(browser, photos_page):
    with opened(browser, photos_page) as page:
        page.locator("svg.map").first.focus()
        for _ in range(40):
            page.keyboard.press("+")
        page.keyboard.press("Enter")
        count = int(page.locator("#map-panel h4").inner_text().split()[0])
        assert 0 < count <= 42
        page.keyboard.press("ArrowLeft")
        assert float(page.locator("svg.map .cursor").first.get_attribute("cx")) == 360 - 12


def test_confusion_cell_opens_its_samples(browser, photos_page):
    with opened(browser, photos_page) as page:
        wrong = page.locator("#confusion td:not(.right) button")
        cell = (wrong if wrong.count() else page.locator("#confusion td button")).first
        truth, predicted = cell.get_attribute("data-truth"), cell.get_attribute("data-predicted")
        count = int(cell.inner_text())
        cell.press("Enter")
        panel = page.locator("#cell-panel")
        assert panel.locator(".card").count() == count
        assert truth in panel.locator("h4").inner_text()
        for card in panel.locator(".card").all():
            assert card.locator("b").all_inner_texts() == [truth, predicted]
            assert card.locator(".id").inner_text().split(" · ")[1].startswith(truth + "/")


def test_tables_sort_and_browser_filters(browser, table_page):
    with opened(browser, table_page) as page:
        table = page.locator("#t-leaderboard")
        table.locator("thead button").nth(2).click()
        keys = [
            float(row.locator("td, th").nth(2).get_attribute("data-key"))
            for row in table.locator("tbody tr").all()
        ]
        assert keys == sorted(keys) and len(set(keys)) > 2
        page.locator("#browser select[name=what]").select_option("right")
        right = int(page.locator("#browser-panel h4").inner_text().split()[0])
        page.locator("#browser select[name=what]").select_option("wrong")
        wrong = int(page.locator("#browser-panel h4").inner_text().split()[0])
        assert right + wrong == 274
        page.locator("#browser select[name=what]").select_option("all")
        page.locator("#browser input[name=find]").fill("heart.csv:305")
        assert page.locator("#browser-panel .card").count() == 1


def test_theme_can_be_chosen_and_the_page_prints(browser, photos_page):
    with opened(browser, photos_page) as page:
        light = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.locator("#theme").click()
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert light != dark
        pdf = page.pdf(format="A4")
        assert pdf.startswith(b"%PDF") and len(pdf) > 20_000

"""The report in headless Chromium: no error, every picture visible, light, dark, on a telephone."""

import shutil

import pytest

from crest.config import parse
from stages import analyze, report
from tests.stages import synthetic_artifacts as made_up

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
DRIVER = shutil.which("chromedriver") or ""
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no chromium and chromedriver on the path"
)

# Pictures further down load when they are scrolled to, and folded ones are seen when they are asked
# for; here all of them at once.
LOAD = """
for (const image of document.images) image.loading = 'eager';
for (const details of document.querySelectorAll('details')) details.open = true;
"""
LOADED = "return [...document.images].every(image => image.complete)"
INVISIBLE = """
return [...document.querySelectorAll('img, svg[role=img]')].filter(picture => {
  picture.scrollIntoView();
  const box = picture.getBoundingClientRect();
  const loaded = picture.tagName !== 'IMG' || (picture.complete && picture.naturalWidth > 0);
  return box.width < 20 || box.height < 20 || !loaded;
}).map(picture => picture.alt || picture.ariaLabel);
"""
UNNAMED = """
return [...document.querySelectorAll('img, svg[role=img]')].filter(
  picture => !(picture.getAttribute('alt') || picture.getAttribute('aria-label'))).length;
"""
PICTURES = "return document.querySelectorAll('img, svg[role=img]').length"
WIDER = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
BESIDE = """
return [...document.querySelectorAll('.pictures, .strip')].filter(row => row.offsetParent).every(
  row => new Set([...row.children].map(one => one.offsetTop)).size == 1);
"""
COLOURS = (
    "const style = getComputedStyle(document.body); return [style.backgroundColor, style.color]"
)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    paths = made_up.write_project(tmp_path_factory.mktemp("project"))
    parameters = parse({}, "tests")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(analyze, "gallery", lambda *_: [])
        analyze.run(parameters, paths)
    report.run(parameters, paths)
    return (paths.report / "report.html").as_uri()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    selenium = pytest.importorskip("selenium.webdriver")
    options = selenium.ChromeOptions()
    options.binary_location = CHROMIUM
    profile = tmp_path_factory.mktemp("profile")
    for argument in ("--headless=new", "--no-sandbox", f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = selenium.ChromeService(executable_path=DRIVER)
    driver = selenium.Chrome(options=options, service=service)
    yield driver
    driver.quit()


def show(browser, url, scheme, width):
    """Open the page in a colour scheme, in a window so many pixels wide."""
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    screen = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    browser.get(url)


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_picture_is_visible_named_and_nothing_scrolls_sideways(browser, url, scheme, width):
    from selenium.webdriver.support.wait import WebDriverWait

    show(browser, url, scheme, width)
    assert browser.execute_script(PICTURES) > 20
    browser.execute_script(LOAD)
    WebDriverWait(browser, 10).until(lambda _: browser.execute_script(LOADED))
    assert browser.execute_script(INVISIBLE) == []
    assert browser.execute_script(UNNAMED) == 0
    assert browser.execute_script(WIDER) <= 0
    assert len(browser.get_screenshot_as_png()) > 5000
    assert browser.get_log("browser") == []


def test_dark_is_dark_and_light_is_light(browser, url):
    show(browser, url, "light", 1280)
    assert browser.execute_script(COLOURS) == ["rgb(255, 255, 255)", "rgb(35, 38, 45)"]
    show(browser, url, "dark", 1280)
    assert browser.execute_script(COLOURS) == ["rgb(21, 23, 28)", "rgb(230, 232, 236)"]


def test_on_a_telephone_pictures_and_first_cards_stand_in_one_row(browser, url):
    show(browser, url, "light", 390)
    assert browser.execute_script(BESIDE)
    show(browser, url, "light", 1280)
    assert not browser.execute_script(BESIDE)

"""The tuner as users see it: its page in a browser, moved by the keyboard."""

import os

import pytest

pytest.importorskip("selenium", reason="selenium is not installed")
pytest.importorskip("voila", reason="the page needs Voila: pip install 'usvbook[app]'")
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = pytest.mark.browser


def wait(browser, ready, seconds=240):
    return WebDriverWait(browser, seconds, 0.05).until(ready)


def ask(browser, code, *given):
    """What some JavaScript returns: elements may be replaced at any time, so they are not held."""
    return browser.execute_script(f"return {code}", *given)


def picture(browser, described):
    """The source of the picture whose description holds some words, or none."""
    return ask(
        browser,
        "[...document.querySelectorAll('.usvbook img')]"
        ".find(i => i.alt.includes(arguments[0]))?.src",
        described,
    )


def text(browser):
    return ask(browser, "document.querySelector('.usvbook').innerText")


def readouts(browser):
    found = "[...document.querySelectorAll('.widget-readout')].map(e => e.textContent)"
    return ask(browser, found)


def settle(browser):
    wait(browser, lambda b: ask(b, "document.querySelector('[role=status]').innerText") == "ready")


def test_every_slider_by_keyboard(browser, tuner_page):
    address, _, file = tuner_page
    browser.get(address)
    wait(browser, lambda b: picture(b, "Mean pictures"))
    settle(browser)
    handles = browser.find_elements(By.CSS_SELECTOR, ".usvbook .noUi-handle")
    hit = "(e => {const r = e.getBoundingClientRect(); return e.contains(document.elementFromPoint("
    hit += "r.x + r.width / 2, r.y + r.height / 2))})(document.querySelector('.usvbook h2'))"
    assert ask(browser, hit), "what is there is also seen"
    assert len(handles) == 3 and readouts(browser) == ["0.80", "0.30", "4"]
    for handle, described, keys in zip(
        handles,
        ("Histogram", "eigenvalues", "Mean pictures"),
        (Keys.ARROW_LEFT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT),
        strict=True,
    ):
        old = picture(browser, described)
        handle.send_keys(keys)
        wait(browser, lambda b, d=described, o=old: picture(b, d) not in (None, o))
        settle(browser)
    assert readouts(browser) == ["0.79", "0.31", "5"] and "τ 0.79, λ 0.31, K 5" in text(browser)

    units = browser.find_elements(By.CSS_SELECTOR, ".usvbook .widget-toggle-button")
    assert [unit.text for unit in units] == ["0", "1", "2", "3", "4"]
    units[2].send_keys(Keys.ENTER)
    wait(browser, lambda b: b.find_elements(By.CSS_SELECTOR, '[aria-label^="Calls of unit 2"]'))
    played = browser.execute_async_script(
        "const done = arguments[0], a = document.querySelector('audio'); a.muted = true;"
        "a.onerror = () => done(-1); a.play().then(() => done(a.duration), () => done(-1))"
    )
    assert 0.2 < played < 11, "heard from another folder than that of the results"

    buttons = {b.text: b for b in browser.find_elements(By.CSS_SELECTOR, ".usvbook button")}
    buttons["Give this setting"].send_keys(Keys.ENTER)
    wait(browser, lambda b: "Repertoire(n_clusters=5, tau=0.79, lam=0.31" in text(b))
    buttons["Write it"].send_keys(Keys.ENTER)
    wait(browser, lambda b: "Written" in text(b))
    assert "n_clusters = 5" in file.read_text(encoding="utf-8")

    browser.get("about:blank")  # closed, and opened again: everything is where it was
    browser.get(address)
    wait(browser, lambda b: len(readouts(b)) == 3)
    assert readouts(browser) == ["0.79", "0.31", "5"]
    wait(browser, lambda b: "τ 0.80, λ 0.30, K 4" in text(b) and "Written" in text(b))
    assert not [
        entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"
    ]
    if "USVBOOK_SCREENSHOTS" in os.environ:  # a folder to look at them later
        browser.save_screenshot(os.path.join(os.environ["USVBOOK_SCREENSHOTS"], "tuner.png"))

"""The tuner as users see it: its page in a browser, moved by the keyboard."""

import os
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from conftest import usvbook

pytest.importorskip("selenium", reason="selenium is not installed")
pytest.importorskip("voila", reason="the page needs Voila: pip install 'usvbook[app]'")
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from usvbook.curated_results import state_of_results
from usvbook.curation import read_log

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
    buttons["How many units?"].send_keys(Keys.ENTER)
    wait(browser, lambda b: "halves of the calls agree best on" in text(b))
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


# --------------------------------------------------------------------------- the window to review

REVIEW = "document.querySelector('.uv')"


@pytest.fixture
def review_page(built, tmp_path):
    """The window of a copy of a results folder; interrupted when all is done."""
    pytest.importorskip("anywidget", reason="the window needs anywidget")
    results = tmp_path / "results"
    shutil.copytree(built, results)
    program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    program += "from usvbook.cli import main; main()"
    words = [sys.executable, "-c", program, "review", results, "--who", "anna", "--no-browser"]
    process = subprocess.Popen(
        [*map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    with process:
        address = re.search(r"http://\S+", process.stdout.readline())[0]
        yield results, address
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


def said_by_window(browser):
    return ask(browser, f"{REVIEW}.querySelector('[role=status]').innerText")


def open_window(browser, address):
    browser.get(address)
    wait(browser, lambda b: ask(b, f"{REVIEW}?.dataset.full") == "yes")


def press(browser, where, key, said):
    """Press a key where the keyboard stops in a list, and wait until the page says so."""
    found = f".uv {where} [tabindex='0']"
    browser.find_element(By.CSS_SELECTOR, found).send_keys(key)
    if said:
        wait(browser, lambda b: said in said_by_window(b), 60)


def reply(browser, words):
    """Answer the question of the page."""
    box = wait(
        browser, lambda b: b.find_element(By.CSS_SELECTOR, ".uv label input[aria-label=answer]")
    )
    wait(browser, lambda b: box.is_displayed())
    box.send_keys(words, Keys.ENTER)


def unit_at(browser):
    return ask(browser, f"{REVIEW}.querySelector('nav [aria-selected=true]')?.dataset.unit")


def decisions(results):
    return [one.op for one in read_log(results / "curation.jsonl").decisions]


def drag(browser, canvas, at_s, freq_hz, right, down):
    """Drag with the mouse, from a place of the recording, so many pixels."""
    start_s, stop_s, low, high = (float(v) for v in canvas.get_attribute("data-span").split())
    width, height = (int(canvas.get_attribute(f"client{name}")) for name in ("Width", "Height"))
    x = 34 + (at_s - start_s) / (stop_s - start_s) * (width - 34)  # beside and above the axes
    y = (1 - (freq_hz - low) / (high - low)) * (height - 18)
    move = ActionChains(browser).move_to_element_with_offset(
        canvas, round(x - width / 2), round(y - height / 2)
    )
    move.click_and_hold().move_by_offset(right, down).release().perform()


def test_review_by_keyboard(browser, review_page, study, tmp_path, monkeypatch):
    """A unit rejected, two merged and named, calls moved, one drawn and one corrected, undo."""
    results, address = review_page
    late = study[0] / "late"
    browser.set_window_size(1280, 1000)
    open_window(browser, address)
    assert len(ask(browser, f"[...{REVIEW}.querySelectorAll('nav li')]")) == 4
    press(browser, "nav", "x", "1: reject, kept")
    press(browser, "nav", Keys.ARROW_UP, "")  # what is rejected stands last
    wait(browser, lambda b: unit_at(b) != "0")
    unit = unit_at(browser)
    other = next(u for u in ("1", "2", "3") if u != unit)
    press(browser, "nav", "m", "")
    reply(browser, other)
    wait(browser, lambda b: "2: merge, kept" in said_by_window(b), 60)
    wait(browser, lambda b: unit_at(b) == "4")
    press(browser, "nav", "n", "")
    reply(browser, "up")
    wait(browser, lambda b: "3: rename, kept" in said_by_window(b), 60)
    for _ in range(4):
        press(browser, ".grid", Keys.SHIFT + Keys.ARROW_RIGHT, "")
    assert ask(browser, f"{REVIEW}.querySelectorAll('.grid [aria-selected=true]').length") == 5
    press(browser, ".grid", "m", "")
    left = next(u for u in ("1", "2", "3") if u not in (unit, other))
    reply(browser, left)
    wait(browser, lambda b: "4: reassign, kept" in said_by_window(b), 60)

    table = pd.read_csv(results / "calls.csv").set_index("call_key")
    canvas = browser.find_element(By.CSS_SELECTOR, ".uv .wide")
    press(browser, ".grid", Keys.ENTER, "")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    key = ask(browser, f"{REVIEW}.querySelector('.grid .at').dataset.key")
    wait(browser, lambda b: canvas.get_attribute("data-key") == key)
    call, same = table.loc[key], table[table["audio_path"] == table.at[key, "audio_path"]]
    pitch = (call["low_freq_hz"] + call["high_freq_hz"]) / 2
    start_s, stop_s = (float(v) for v in canvas.get_attribute("data-span").split()[:2])
    drag(browser, canvas, call["offset_s"], pitch, 14, 0)
    wait(browser, lambda b: "5: correct call, kept" in said_by_window(b), 60)
    before, after = same["offset_s"] + 0.02, same["onset_s"] - 0.06  # away from edges of others
    empty = [t for t in np.arange(start_s + 0.01, stop_s - 0.06, 0.005)
             if not ((t > after) & (t < before)).any()]  # fmt: skip
    drag(browser, canvas, empty[0], pitch, 30, 25)
    wait(browser, lambda b: "6: add call, kept" in said_by_window(b), 60)
    press(browser, ".grid", "u", "7: undo, kept")
    press(browser, ".grid", "y", "8: undo, kept")
    canvas.send_keys("d")  # and one by its numbers, from the keyboard
    reply(browser, f"{empty[-1]:.4f} {empty[-1] + 0.03:.4f} 60 70")
    wait(browser, lambda b: "9: add call, kept" in said_by_window(b), 60)
    ops = ["reject", "merge", "rename", "reassign", "correct_call", "add_call"]
    assert decisions(results) == [*ops, "undo", "undo", "add_call"]
    if "USVBOOK_SCREENSHOTS" in os.environ:
        browser.save_screenshot(os.path.join(os.environ["USVBOOK_SCREENSHOTS"], "decided.png"))

    browser.get("about:blank")  # closed, and opened again: all there
    open_window(browser, address)
    words = ask(browser, f"{REVIEW}.querySelector('nav').innerText")
    assert "up" in words
    state = state_of_results(results)
    assert state.names == {4: "up"} and state.rejected == [0]
    assert len(read_log(results / "curation.jsonl").decisions[3].calls) == 5
    wider, drawn = state.boxes[key], state.boxes[state.added[0]]
    assert np.isclose(wider[0], call["onset_s"], atol=1e-6) and wider[1] > call["offset_s"] + 0.005
    assert 0 <= drawn[0] - empty[0] < 0.01 and 0.01 < drawn[1] - drawn[0] < 0.06
    assert np.allclose(
        state.boxes[state.added[1]], [empty[-1], empty[-1] + 0.03, 60e3, 70e3], atol=1e-4
    )
    severe = [e["message"] for e in browser.get_log("browser") if e["level"] == "SEVERE"]
    assert not severe
    if "USVBOOK_SCREENSHOTS" in os.environ:
        for width in (1280, 800):
            browser.set_window_size(width, 1000)
            wait(browser, lambda b: ask(b, f"{REVIEW}.dataset.looks") == "yes")
            browser.save_screenshot(
                os.path.join(os.environ["USVBOOK_SCREENSHOTS"], f"review{width}.png")
            )
    browser.set_window_size(1400, 1800)
    check_what_follows(results, state, tmp_path, late, monkeypatch)


def check_what_follows(results, state, tmp_path, late, monkeypatch):
    """What was decided in the window is in the history, in new results, and in an assignment."""
    for name in ("runs", "curated_results"):
        monkeypatch.setattr(f"usvbook.{name}.shared_figures", lambda *given: {})
    said = usvbook("curate", results, "log")
    assert "anna: correct call" in said and said.count("anna: add call") == 2 and "'up'" in said
    usvbook("curate", results, "apply", "-o", tmp_path / "curated")
    made = pd.read_csv(tmp_path / "curated/calls.csv").set_index("call_key")
    now = state.table.set_index("key")
    assert (made["unit"] == now["unit"][made.index]).all() and len(made) == len(now)
    assert (made["accepted"] == now["accepted"][made.index]).all()
    assert made["limits"].value_counts().to_dict() == {
        "found": len(made) - 3, "drawn": 2, "corrected": 1,
    }  # fmt: skip
    usvbook("assign", results / "repertoire.npz", late, "-o", tmp_path / "new")
    new = pd.read_csv(tmp_path / "new/calls.csv")
    assert {*new["unit"]} <= {*state.units} and (new["accepted"] == (new["unit"] != 0)).all()
    assert {*new["unit_name"][new["unit"] == 4]} == {"up"}

"""The report as people meet it: numbers against the calls, links, size, keyboard, phone."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from conftest import usvbook

from usvbook.excerpts import gather_views
from usvbook.report import write_report
from usvbook.synthesis import synthesize


class Page(HTMLParser):
    """What a browser would load, run and lead to, and the tables with their cells."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.loaded, self.nameless, self.ids, self.links = [], [], [], [], []
        self.tables, self.caption = {}, None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append(tag)
        addresses = [v for k, v in attrs if k in ("src", "srcset", "href") and tag != "a"]
        self.loaded += [v for v in addresses if not v.startswith("data:")]
        named = given.get("alt") or given.get("aria-label")
        self.nameless += [tag] if tag in ("img", "svg", "audio") and not named else []
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given.get("href", "")] if tag == "a" else []
        if tag == "table":
            self.caption = None
        elif tag == "caption":
            self.caption = ""
        elif tag == "tr" and self.caption:
            self.tables.setdefault(self.caption, []).append([])
        elif tag in ("td", "th"):
            self.tables[self.caption][-1].append(["", given.get("data-sort")])
        elif tag == "small":
            self.tables[self.caption][-1][-1][0] += " | "

    def handle_data(self, data):
        if self.caption == "":
            self.caption = data
        elif self.caption and self.tables.get(self.caption, [[]])[-1]:
            self.tables[self.caption][-1][-1][0] += data

    def table(self, words):
        """The one table whose caption begins with some words: titles, and rows of (text, key)."""
        (rows,) = [rows for caption, rows in self.tables.items() if caption.startswith(words)]
        return [title for title, _ in rows[0]], rows[1:]


@pytest.fixture(scope="module")
def report(built):
    text = (built / "report.html").read_text(encoding="utf-8")
    return Page(text), text, pd.read_csv(built / "calls.csv")


def test_page_is_whole_and_alone(report):
    page, text, _ = report
    assert not page.loaded and not page.nameless and page.tags.count("script") == 1
    assert {"units", "unit-0", "in-the-recordings", "recordings", "how-sure"} <= set(page.ids)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert page.tags.count("audio") == 4 and "@media (prefers-color-scheme: dark)" in text


def test_files_that_the_page_links_to_are_there(report, built):
    names = [link for link in report[0].links if not link.startswith("#")]
    assert len(names) > 4 and all((built / name).exists() for name in names)


def test_units_are_those_of_the_calls(report):
    titles, rows = report[0].table("Units")
    calls = report[2]
    assert len(rows) == calls["unit"].nunique()
    for row in rows:
        cell = dict(zip(titles, row, strict=True))
        own = calls[calls["unit"] == int(cell["unit"][0])]
        assert cell["calls"][0].removesuffix(" *") == str(len(own))
        assert cell["inliers"][0] == str(own["is_inlier"].sum())
        for title, column, factor in (
            ("duration (ms)", "duration_s", 1e3), ("pitch (kHz)", "peak_freq_hz", 1e-3),
            ("bandwidth (kHz)", "bandwidth_hz", 1e-3), ("level (dB)", "mean_power_db", 1),
        ):  # fmt: skip
            low, median, high = np.percentile(own[column], [25, 50, 75])
            shown, key = cell[title]
            assert np.isclose(float(key), median, rtol=5e-4)
            said = [float(x) for x in re.split(r" \| | to ", shown.replace("−", "-"))]
            last = 0.051 if "kHz" in title else 0.51
            assert np.allclose(said, factor * np.array([median, low, high]), rtol=0, atol=last)


def test_recordings_are_those_of_the_calls(report, built):
    titles, rows = report[0].table("Recordings")
    inputs = json.loads((built / "run.json").read_text())["inputs"]
    assert len(rows) == len(inputs)
    for row, given in zip(rows, inputs, strict=True):
        cell = dict(zip(titles, row, strict=True))
        own = report[2][report[2]["audio_path"] == given["audio_path"]]
        assert cell["recording"][0] == Path(given["audio_path"]).stem
        assert cell["calls"][0] == str(len(own))
        per_minute = 60 * len(own) / given["duration_s"]
        assert np.isclose(float(cell["calls per minute"][1]), per_minute)
        assert np.isclose(float(cell["inliers (%)"][1]), own["is_inlier"].mean())
        assert np.isclose(float(cell["pitch (kHz)"][1]), own["peak_freq_hz"].median(), rtol=5e-4)


def test_first_lines_say_how_sure(report, built):
    text, metrics = report[1], json.loads((built / "run.json").read_text())["metrics"]
    first = text[: text.index("<nav")]
    halves = f"{metrics['half_stability']:.2f}"
    assert f"<b>{halves}</b>agreement of halves" in first
    assert text.index(f"agree to <b>{halves}</b>") < text.index("Seeds agree to")


def test_forty_units_stay_small(study, built, tmp_path):
    calls = pd.read_csv(built / "calls.csv")
    calls["unit"] = np.arange(len(calls)) % 40
    files = pd.DataFrame(json.loads((built / "run.json").read_text())["inputs"])
    views = gather_views(calls, files, (35e3, 120e3))
    means = np.random.default_rng(0).uniform(size=(40, 4096))
    path = write_report(
        tmp_path / "p.html", calls, {}, centroids=means, recordings=files, views=views
    )
    assert path.stat().st_size < 10e6 * 0.6  # figures of a full report take half a megabyte more
    assert path.read_text(encoding="utf-8").count("<article") == 40


def test_new_calls_unlike_the_units_are_told(built, tmp_path):
    """Faint calls of another animal: how many are like the units is said as it is."""
    x, _ = synthesize(4, 20, snr_db=8, random_state=7)
    soundfile.write(tmp_path / "new.wav", x, 250_000)
    usvbook("assign", built / "repertoire.npz", tmp_path / "new.wav", "-o", tmp_path / "out")
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    calls = pd.read_csv(tmp_path / "out" / "calls.csv")
    share = calls["is_like_unit"].mean()
    said = re.search(r"(\d+) of (\d+) new calls", text)
    assert [int(n) for n in said.groups()] == [calls["is_like_unit"].sum(), len(calls)]
    assert ("Most new calls are less like their units" in text) >= (share < 0.5)
    assert "figure: old_and_new" in text and (tmp_path / "out/figures/old_and_new.png").exists()


def column(browser, table, i):
    code = "return [...document.querySelectorAll(arguments[0] + ' tbody tr')]"
    return browser.execute_script(f"{code}.map(r => r.cells[{i}].innerText)", table)


@pytest.mark.browser
def test_sorting_and_phone(browser, built):
    """Tables sort by keyboard, as numbers; nothing runs over the edge of a phone."""
    pytest.importorskip("selenium")
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    browser.get((built / "report.html").as_uri())
    buttons = browser.find_elements(By.CSS_SELECTOR, "#unit-by-unit th button")
    titles = [button.text.replace("\n", " ") for button in buttons]
    i = titles.index("duration (ms)")
    for key, turn in ((Keys.ENTER, 1), (Keys.SPACE, -1)):
        buttons[i].send_keys(key)
        shown = [int(text.split()[0]) for text in column(browser, "#unit-by-unit", i)]
        assert shown == sorted(shown, reverse=turn < 0) and len(set(shown)) > 1
    sorts = "return document.querySelectorAll('#unit-by-unit th')[arguments[0]].ariaSort"
    assert browser.execute_script(sorts, i) == "descending"
    played = browser.execute_async_script(
        "const done = arguments[0], a = document.querySelector('audio'); a.muted = true;"
        "a.play().then(() => done(a.duration), () => done(-1))"
    )
    assert played > 0.2
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        browser.get((built / "report.html").as_uri())
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        assert wide == 390
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    severe = [e["message"] for e in browser.get_log("browser") if e["level"] == "SEVERE"]
    assert not severe

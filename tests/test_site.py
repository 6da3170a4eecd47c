"""The site as readers see it: links, pictures, sliders without a kernel, nothing from outside."""

import functools
import http.server
import json
import re
import secrets
import subprocess
import sys
import threading
from pathlib import Path

import pytest

pytest.importorskip("selenium", reason="selenium is not installed")
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / ".ci"))
from pages import faults  # noqa: E402

# With sliders, and with most kinds of figures. That the others run is what `nbdev_test` shows.
RUN = ("10d_sliders", "04_outliers", "05_ssc", "09_figures", "10_tuning", "api", "method")
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def site(one_browser, tmp_path_factory):
    """The built site; only where a browser is, since building takes minutes."""
    out = tmp_path_factory.mktemp("site") / "docs"
    build = [sys.executable, str(ROOT / ".ci" / "site.py"), "--out", str(out), "--run", *RUN]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def address(site):
    """The address where the site is served."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_site_says_what_is_wrong_with_a_page(site, tmp_path):
    """`make site` ends well only where every page is right; here is one of each fault."""
    assert len([*site.rglob("*.html")]) > 40 and faults(site) == []
    page = """<a href="gone.html">1</a><a href="#nowhere">2</a><img src="x.png" alt="">
        <script src="https://example.org/x.js"></script><p>`](http</p>"""
    (tmp_path / "bad.html").write_text(page, encoding="utf-8")
    said = "\n".join(faults(tmp_path))
    for words in ("gone.html", "#nowhere", "x.png, which", "without words", "example.org", "code"):
        assert words in said, (words, said)


def test_what_language_models_read(site):
    """llms.txt names the pages, and each has a copy in plain Markdown."""
    text = (site / "llms.txt").read_text(encoding="utf-8")
    assert "ssc" in text and "howto/recordings_to_repertoire" in text
    assert len([*site.rglob("*.llms.md")]) > 40


def test_pages_are_whole(browser, site, address):
    """No page shows an error, lacks a picture or complains on the console."""
    for path in sorted(site.rglob("*.html")):
        browser.get(f"{address}/{path.relative_to(site).as_posix()}")
        missing = browser.execute_script(
            "return [...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
        )
        assert not missing, f"{path.name}: {missing}"
        said = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        assert not said, f"{path.name}: {said}"
        assert "Traceback" not in browser.find_element("tag name", "main").text or (
            path.name == "cli.html"
        )


@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("choose K", "glossary"), ("genotype", "glossary"), ("DeepSqueak", "howto/marked_calls"),
        ("noise", "glossary"), ("statistic", "groups"), ("cluster", "howto/cluster"),
    ],
)  # fmt: skip
def test_search_finds(browser, address, words, page):
    """What people look for is among the first ten finds."""
    browser.get(f"{address}/index.html")
    field = browser.find_element("css selector", ".smalldocs-search input")
    field.send_keys(words)

    def hits():
        finds = browser.find_elements("css selector", ".smalldocs-search-results a")
        return [one.get_attribute("href") for one in finds[:10]]

    WebDriverWait(browser, 20, 0.1).until(lambda _: hits())
    assert any(f"/{page}.html" in one for one in hits()), hits()


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_cut(browser, address, width):
    """No page is wider than the window, and no line of code runs out of its block."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        for name in ("index", "segmentation", "ssc", "cli", "api", "howto/cluster"):
            browser.get(f"{address}/{name}.html")
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width
            cut = browser.execute_script(
                "return [...document.querySelectorAll('pre code')]"
                ".filter(one => one.scrollWidth > one.clientWidth + 1).length"
            )
            assert not cut, f"{name}: {cut} blocks of code are cut"
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_dark_style(browser, address):
    """Where a reader's computer prefers dark pages, text is light on dark."""
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    try:
        browser.get(f"{address}/ssc.html")
        background, text, title = browser.execute_script(
            "return [document.body, document.querySelector('main p'),"
            "document.querySelector('.sidebar-title a')].map((one, i) =>"
            "getComputedStyle(one)[i ? 'color' : 'backgroundColor'])"
        )
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})

    def light(color):
        return sum(map(int, re.findall(r"\d+", color)[:3])) / 3

    assert light(background) < 60 < 150 < min(light(text), light(title))


def step(browser, slider):
    """Move a slider by one step with the keyboard."""
    last = slider.get_attribute("value") == slider.get_attribute("max")
    slider.send_keys(Keys.ARROW_LEFT if last else Keys.ARROW_RIGHT)


def seen(block, slider):
    """What a reader sees, or hears, of a block of sliders."""
    image = block.find_element("css selector", "img")
    return (
        slider.get_attribute("aria-valuetext"),
        block.find_element("css selector", ".said").text,
        image.get_attribute("src"),
        image.get_attribute("alt"),
    )


def test_sliders_without_a_kernel(browser, site, address):
    """Each slider of each page, moved by one step, changes value, words, picture and its text."""
    moved = {}
    for path in sorted(site.rglob("*.html")):
        text = path.read_text(encoding="utf-8")
        if 'class="usv-sliders"' not in text:
            continue
        browser.get(f"{address}/{path.relative_to(site).as_posix()}")
        for block in browser.find_elements("css selector", ".usv-sliders"):
            assert len(block.get_attribute("outerHTML").encode()) < 1_500_000
            for slider in block.find_elements("css selector", "input[type=range]"):
                name = slider.get_attribute("id")
                label = block.find_element("css selector", f"label[for='{name}']").text
                before = seen(block, slider)
                step(browser, slider)
                after = seen(block, slider)
                same = [a for a, b in zip(before, after, strict=True) if a == b]
                assert not same, f"{path.name}, {label}: {same[0][:100]}"
                moved.setdefault(path.name, []).append(label)
    assert moved["outliers.html"] == ["τ"] and moved["ssc.html"] == ["λ", "K"]
    assert moved["tuning.html"] == ["τ", "λ", "K"] and "sliders.html" in moved


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab on a copy of two rooms; gives the address of a notebook there."""
    tmp_path = tmp_path_factory.mktemp("lab")
    for name in ("04_outliers", "05_ssc"):
        notebook = json.loads((ROOT / "nbs" / f"{name}.ipynb").read_text(encoding="utf-8"))
        assert "nbdev_export" in "".join(notebook["cells"].pop()["source"])  # not from a copy
        (tmp_path / f"{name}.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    token = secrets.token_hex(16)
    words = [
        "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", "--ServerApp.port_retries=50",
        f"--IdentityProvider.token={token}", "--LabApp.expose_app_in_browser=True",
        f"--ServerApp.root_dir={tmp_path}",
    ]  # fmt: skip
    command = [sys.executable, "-m", "jupyter", "lab", *words]
    server = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        for line in server.stderr:
            if found := re.search(r"(http://127\.0\.0\.1:\d+)/lab\?token", line):
                break
        threading.Thread(target=server.stderr.read, daemon=True).start()
        yield lambda name: f"{found[1]}/lab/tree/{name}.ipynb?token={token}&reset"
    finally:
        server.terminate()
        server.wait(30)


@pytest.mark.parametrize(("name", "n_sliders"), [("04_outliers", 1), ("05_ssc", 2)])
def test_sliders_in_jupyterlab(browser, lab, name, n_sliders):
    """A room in JupyterLab: all cells run, then each slider is moved by the keyboard."""

    def js(code):
        return browser.execute_script(f"return {code}")

    def wait(ready):
        WebDriverWait(browser, 120, 0.1).until(lambda _: ready())

    def readout(k):
        return js(f"document.querySelectorAll('.widget-readout')[{k}].textContent")

    def picture():
        return js("document.querySelector('.widget-html-content img')?.src")

    browser.get(lab(name))
    session = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session"
    wait(lambda: js(f"{session}?.kernel?.status") == "idle")
    browser.execute_script("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    wait(lambda: js("document.querySelectorAll('.noUi-handle').length") == n_sliders)
    wait(picture)
    for k in range(n_sliders):
        old, value = picture(), readout(k)
        browser.find_elements("class name", "noUi-handle")[k].send_keys(Keys.ARROW_LEFT)
        wait(lambda old=old: picture() not in (None, old))
        assert readout(k) != value

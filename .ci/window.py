"""The picture of the window at the top of the how-to: made recordings, some decisions, a browser.

python .ci/window.py        writes nbs/howto/review_window.png; needs chromium and chromedriver
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path

import soundfile
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from usvbook.curated_results import open_log, state_of_results
from usvbook.curation import Decision, decide
from usvbook.runs import build_repertoire
from usvbook.synthesis import synthesize

PICTURE = Path(__file__).parent.parent / "nbs" / "howto" / "review_window.png"
WIDTH, HEIGHT = 1180, 770


def made_study(folder: Path) -> Path:
    """Results of two made recordings, with some decisions."""
    for k in (1, 2):
        x, _ = synthesize(16, 90, snr_db=18, random_state=k)
        soundfile.write(folder / f"day{k}.flac", x, 250_000)
    results, settings = folder / "results", {"n_clusters": 9, "random_state": 0}
    build_repertoire([str(folder)], results, settings, n_seeds=0)
    log, sizes = open_log(results), state_of_results(results).table["unit"].value_counts()
    decide(log, Decision("rename", unit=int(sizes.index[1]), name="rising", who="anna"))
    decide(log, Decision("reject", unit=int(sizes.index[-1]), who="anna", why="noise"))
    decide(log, Decision("merge", units=tuple(map(int, sizes.index[2:4])), who="ben"))
    return results


def take_picture(results: Path) -> bytes:
    """The window of a results folder as PNG, with the second unit chosen."""
    program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    program += "from usvbook.cli import main; main()"
    window = subprocess.Popen(
        [sys.executable, "-c", program, "review", str(results), "--who", "anna", "--no-browser"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert window.stdout is not None
    found = re.search(r"http://\S+", window.stdout.readline())
    assert found is not None
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in ("headless", "no-sandbox", "disable-gpu", f"window-size={WIDTH},1000"):
        options.add_argument(f"--{flag}")
    browser = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        browser.get(found[0])
        ready = "return document.querySelector('.uv')?.dataset.looks === 'yes'"
        WebDriverWait(browser, 120).until(lambda b: b.execute_script(ready))
        units = browser.find_element(By.CSS_SELECTOR, ".uv nav [tabindex='0']")
        units.send_keys(Keys.ARROW_DOWN)
        time.sleep(3)
        calls = browser.find_elements(By.CSS_SELECTOR, ".uv .grid li")
        calls[2].click()
        calls[4].send_keys(Keys.SHIFT, Keys.ARROW_RIGHT)
        time.sleep(2)
        return browser.get_screenshot_as_png()
    finally:
        browser.quit()
        window.send_signal(signal.SIGINT)
        window.wait(60)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        whole = Image.open(BytesIO(take_picture(made_study(Path(folder)))))
    small = whole.convert("RGB").crop((0, 0, WIDTH, HEIGHT)).quantize(96, Image.Quantize.FASTOCTREE)
    small.save(PICTURE, optimize=True)
    print(f"written: {PICTURE}, {PICTURE.stat().st_size // 1024} kB")

"""What can be wrong with the pages of the site, found without a browser."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlparse

# What a page would load from another host; links that a reader follows are fine.
ELSEWHERE = re.compile(r"@import url\(https?:[^)]*|url\([\"']?https?:[^)]+")


class Page(HTMLParser):
    """What a page links to, loads, and can be linked to, and its pictures without words."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.names: set[str | None] = set()
        self.silent: list[str] = []
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.names |= {given.get("id"), given.get("name")}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag in ("img", "script", "source", "iframe") and given.get("src"):
            self.loads.append(given["src"])
        if tag == "link" and given.get("rel") != "canonical" and given.get("href"):
            self.loads.append(given["href"])
        if tag == "img" and not given.get("alt", "").strip():
            self.silent.append(given.get("src", "")[:60])


def faults(site: Path) -> list[str]:
    """One line for each fault: the page, and what is wrong with it."""
    pages = {path.resolve(): Page(path) for path in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        name = path.relative_to(site.resolve()).as_posix()
        for target in page.links + page.loads:
            if said := _fault_of_link(path, target, target in page.loads, pages):
                found.append(f"{name}: {said}")
        found += [f"{name}: a picture without words ({one})" for one in page.silent]
        if "`](http" in page.text:  # nbdev links names in comments, where nothing resolves them
            found.append(f"{name}: a link in code")
        found += [f"{name}: loads {hit[:100]}" for hit in ELSEWHERE.findall(page.text)]
    for sheet in site.rglob("*.css"):
        hits = ELSEWHERE.findall(sheet.read_text(encoding="utf-8"))
        found += [f"{sheet.name}: loads {hit[:100]}" for hit in hits]
    return found


def _fault_of_link(path: Path, target: str, is_load: bool, pages: dict[Path, Page]) -> str:
    """What is wrong with a link or a file of a page; an empty text if nothing is."""
    parts = urlparse(target)
    if parts.scheme or parts.netloc or target.startswith("//"):
        return f"loads {target[:100]}" if is_load and parts.scheme != "data" else ""
    name, place = urldefrag(target)
    file = (path.parent / unquote(name)).resolve() if name else path
    file = file / "index.html" if file.is_dir() else file
    if not file.exists():
        return f"links to {target}, which is not there"
    if place and file in pages and unquote(place) not in pages[file].names:
        return f"links to {target}, a place that is not there"
    return ""

"""Build the documentation site: run every notebook, render the pages, put them into _docs.

    python .ci/site.py            # what `make site` calls
    python .ci/site.py --slow     # also run the cells marked `#| slow`
    python .ci/site.py --run 04_outliers 05_ssc    # all pages, but only these with results

Committed notebooks hold no outputs, so a copy of the project is made in build/site and its
notebooks are run there: every figure on the site is that of the code beside it, and the working
tree stays as it is. A notebook is not run again if neither it nor what it uses has changed.
Where `quarto` is on the PATH it renders the pages (`nbdev_docs`); elsewhere smalldocs does, which
is pure Python and reads the same _quarto.yml. Either way no page of ours loads anything from
another host.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from configparser import ConfigParser
from functools import partial
from pathlib import Path

from pages import faults

ROOT = Path(__file__).resolve().parent.parent
SCRATCH = ROOT / "build" / "site"
KEPT = ROOT / "build" / "site-kept"  # notebooks with outputs, by what these depend on
COPIED = ("settings.ini", "_quarto.yml", "README.md", "nbs", "usvbook", "benchmarks")
SKIPPED = re.compile(r"^#\|\s*(eval:\s*false|slow|notest)\s*$", re.MULTILINE)
# What Python says of a drawing that a cell ends with, and nbdev of a class without a signature.
REPR = re.compile(r"^\(?\[?(Text\(|<Axes|<matplotlib|<Figure|<BarContainer|<\S+ at 0x)")
NO_SIGNATURE = re.compile(r"```python\n(?:class|def) \w+\(\n\s*\*args, \*\*kwargs\n\):\n```\n")
# Types that a room imports for readers and checkers only: signatures cannot be shown without.
ONLY_NAMES, NAMES = "if TYPE_CHECKING:", "if TYPE_CHECKING or True:"
KATEX = "katex@0.16.11"  # the version that smalldocs writes into its pages


# What Quarto's theme does for tables of pandas and signatures, and smalldocs' does not.
STYLE = """
table.dataframe { border: 0; font-size: 0.85em; display: block; overflow-x: auto; }
table.dataframe th, table.dataframe td { border: 0; padding: 0.2em 0.7em; text-align: right; }
table.dataframe thead th { border-bottom: 1px solid #adb5bd; }
table.dataframe tbody tr:nth-child(odd) { background: rgba(128, 128, 128, 0.08); }
/* Code is never cut: a column wide enough for most lines, and the others wrap. */
:root { --sd-root-font-size: 16px; --sd-body-width: 860px; --sd-gap: 1.75rem;
        --sd-sidebar-width: 235px; --sd-margin-width: 210px; }
pre > code.sourceCode { display: block; padding: 0 0.6em; }
pre code { font-size: 0.75rem; }
pre.sourceCode, pre.sourceCode code, .cell-output pre, .cell-output pre code {
  white-space: pre-wrap; overflow-wrap: anywhere; }
nav[role="doc-toc"] a, #TOC a { overflow-wrap: anywhere; }
/* Dark style: what the theme leaves light or black. */
.quarto-dark .sidebar-title a { color: var(--bs-body-color); }
.quarto-dark .breadcrumb { background: none; padding: 0; }
.quarto-dark .smalldocs-search .form-control { color: var(--bs-body-color); background: #333; }
.quarto-dark main.content img { border-radius: 4px; }
.quarto-dark main.content { --bs-link-color-rgb: 92, 200, 180; }
"""


def copy_project(scratch: Path) -> None:
    """Copy what the site is made of into an empty scratch folder, links as links."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            ignore = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", ".*.part")
            shutil.copytree(source, scratch / name, symlinks=True, ignore=ignore)
        elif source.exists():
            shutil.copy2(source, scratch / name)


def environment() -> dict[str, str]:
    """The environment of every program run on the scratch copy, which imports its own usvbook."""
    python_path = os.pathsep.join(p for p in (str(SCRATCH), os.environ.get("PYTHONPATH")) if p)
    # One thread per notebook, as many notebooks as cores; sliders that work without a kernel.
    alone = {"PYTHONPATH": python_path, "OMP_NUM_THREADS": "1", "USVBOOK_STATIC": "1"}
    return os.environ | alone


def run_notebook(path: Path, slow: bool = False, timeout_s: int = 900) -> str:
    """Run one notebook in place, in its own folder; returns the error, or an empty string.

    Cells that `nbdev_test` leaves out are left out here too, `slow` ones only without `--slow`.
    What was computed before a failing cell is kept, so the page still shows it.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        skipped = cell.cell_type == "code" and SKIPPED.search(cell.source)
        if skipped and not (slow and skipped[1] == "slow"):
            cell.metadata["tags"] = [*cell.metadata.get("tags", []), "skip-execution"]
    client = NotebookClient(
        notebook,
        timeout=timeout_s,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        store_widget_state=True,
        extra_arguments=["--IPKernelApp.log_level=40"],  # errors only
        startup_timeout=300,
    )
    error = ""
    try:
        client.execute(env=environment())
    except (CellExecutionError, CellTimeoutError, DeadKernelError, RuntimeError) as failure:
        error = str(failure).strip()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [one for one in cell.outputs if not is_repr(one)]
    nbformat.write(notebook, path)
    return error


def is_repr(output: dict) -> bool:
    """Is an output nothing but the name of a drawing?"""
    data = output.get("data", {})
    return set(data) == {"text/plain"} and bool(REPR.match("".join(data["text/plain"])))


def fingerprint(path: Path) -> str:
    """What the outputs of a notebook depend on: itself, the rooms it uses, and what they read."""
    text = path.read_text(encoding="utf-8")
    used, left = set(), set(re.findall(r"usvbook\.(\w+)", text))
    while left:
        module = SCRATCH / "usvbook" / f"{left.pop()}.py"
        if module.exists() and module not in used:
            used.add(module)
            code = module.read_text(encoding="utf-8")
            left |= set(re.findall(r"(?:usvbook\.|from \.)(\w+)", code))
    if re.search(r"\busvbook (detect|build|assign|separate|demo|tune)\b|modules|glob\(", text):
        used = {*(SCRATCH / "usvbook").glob("*.py")}  # commands, and pages about all rooms
    beside = [p for p in path.parent.rglob("*") if p.suffix in (".csv", ".png")]
    beside += [*(SCRATCH / "benchmarks").rglob("*.txt")] if path.stem == "benchmarks" else []
    digest = hashlib.sha256(text.encode())
    for file in sorted([*used, *beside, ROOT / "constraints.txt"]):
        digest.update(file.name.encode() + file.read_bytes())
    digest.update(f"{sys.version} {os.environ.get('USVBOOK_DATA', '')}".encode())
    return digest.hexdigest()[:32]


def run_or_recall(path: Path, slow: bool) -> tuple[str, str]:
    """Run a notebook unless its outputs are kept from before; returns the error, and how."""
    kept = KEPT / f"{fingerprint(path)}{'-slow' if slow else ''}.ipynb"
    if kept.exists():
        shutil.copy2(kept, path)
        return "", "kept"
    error = run_notebook(path, slow)
    if not error:
        KEPT.mkdir(parents=True, exist_ok=True)
        partial = kept.with_suffix(".part")
        shutil.copy2(path, partial)
        partial.replace(kept)
    return error, "FAILED" if error else "ok"


def run_notebooks(folder: Path, slow: bool, wanted: list[str]) -> list[str]:
    """Run the notebooks below a folder, one per core at a time; returns the failed ones."""
    paths = sorted(p for p in folder.rglob("*.ipynb") if not p.name.startswith("_"))
    paths = [path for path in paths if not wanted or path.stem in wanted]

    def timed(path: Path) -> tuple[str, str, float]:
        start = time.perf_counter()
        return *run_or_recall(path, slow), time.perf_counter() - start

    failed = []
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for path, (error, how, seconds) in zip(paths, pool.map(timed, paths), strict=True):
            name = path.relative_to(folder).as_posix()
            print(f"  {name:36s} {seconds:6.1f} s  {how}", flush=True)
            if error:
                print(error, file=sys.stderr)
                failed.append(name)
    return failed


def page_names(processed: Path) -> dict[str, str]:
    """Notebook -> page, as nbdev names them: `05_ssc.ipynb` -> `ssc.ipynb`."""
    names = {}
    for path in processed.rglob("*.ipynb"):
        page = re.sub(r"^\d+[a-zA-Z0-9]*_", "", path.name)
        relative = path.relative_to(processed)
        names[relative.as_posix()] = (relative.parent / page).as_posix()
    return names


def without_missing(navigation: str, names: dict[str, str]) -> str:
    """_quarto.yml with page names, without pages not written yet and sections left empty."""
    import yaml  # type: ignore[import-untyped]

    config = yaml.safe_load(navigation)

    def kept(contents: list) -> list:
        entries = []
        for entry in contents:
            if isinstance(entry, dict) and "contents" in entry:
                entry = entry | {"contents": kept(entry["contents"])}
                entries += [entry] if entry["contents"] else []
            elif isinstance(entry, dict) and "href" in entry:
                entries += [entry | {"href": names.get(entry["href"], entry["href"])}]
            elif entry in names or not entry.endswith(".ipynb"):
                entries.append(names.get(entry, entry))
        return entries

    sidebar = config["website"]["sidebar"]
    sidebar["contents"] = kept(sidebar["contents"])
    return yaml.safe_dump(config, sort_keys=False)


def renamed(prose: str, names: dict[str, str]) -> str:
    """Prose whose links go to pages; they name notebooks by their file, whatever the folder."""
    for name, page in names.items():
        prose = prose.replace(Path(name).name, Path(page).name)
    return prose


def rename_pages(processed: Path) -> None:
    """Give the processed notebooks their page names, in the navigation and in every link too."""
    names = page_names(processed)
    for old, new in names.items():
        path = processed / old
        text = path.read_text(encoding="utf-8")
        notebook = json.loads(text)
        for cell in notebook["cells"]:
            for output in cell.get("outputs", []):
                if "text/markdown" in (data := output.get("data", {})):
                    shown = "".join(data["text/markdown"])
                    data["text/markdown"] = renamed(NO_SIGNATURE.sub("", shown), names)
            if cell["cell_type"] != "code":
                source = renamed("".join(cell["source"]), names)
                # The page has its name already, and smalldocs warns of what it does not read.
                cell["source"] = re.sub(r"^output-file:.*\n", "", source, flags=re.MULTILINE)
        path.unlink()
        (processed / new).write_text(json.dumps(notebook, ensure_ascii=False), encoding="utf-8")
    navigation = processed / "_quarto.yml"
    text = without_missing(navigation.read_text(encoding="utf-8"), names)
    navigation.unlink()  # it may be a link to the project's own
    navigation.write_text(text, encoding="utf-8")


def fetch_katex(folder: Path) -> bool:
    """Unpack KaTeX from the npm package into `folder`; False where npm is not there."""
    npm = shutil.which("npm")
    if npm is None:
        return False
    folder.mkdir(parents=True)
    pack = [npm, "pack", KATEX, "--silent", "--pack-destination", str(folder)]
    if subprocess.run(pack, check=False, cwd=folder, stdout=subprocess.DEVNULL).returncode != 0:
        return False
    archive = next(folder.glob("*.tgz"))
    wanted = re.compile(
        r"package/dist/(katex\.min\.(js|css)|contrib/auto-render\.min\.js|fonts/.*\.woff2)$"
    )
    with tarfile.open(archive) as package:
        for member in package.getmembers():
            if match := wanted.match(member.name):
                target = folder / match[1]
                target.parent.mkdir(parents=True, exist_ok=True)
                stream = package.extractfile(member)
                if stream is not None:
                    target.write_bytes(stream.read())
    archive.unlink()
    return True


def home() -> str:
    """The address at which the site is published, as nbdev writes it into links."""
    config = ConfigParser(delimiters=["="], interpolation=None)
    config.read(ROOT / "settings.ini", encoding="utf-8")
    return config["DEFAULT"]["doc_host"] + config["DEFAULT"]["doc_baseurl"] + "/"


def make_local(site: Path) -> None:
    """Point the pages at themselves and our own copy of KaTeX, and drop the theme's web font."""
    has_katex = fetch_katex(site / "site_libs" / "katex")
    if not has_katex:
        print("npm is not there or not reachable: formulas stay as TeX source", file=sys.stderr)
    text_of = {page: page.read_text(encoding="utf-8") for page in site.rglob("*.html")}
    places = {page.name: {*re.findall(r'\bid="([^"]+)"', text)} for page, text in text_of.items()}

    def local(link: re.Match, up: str) -> str:
        """A link to a place on this site; plain words where there is no such place."""
        name, _, place = link[1].partition("#")
        there = name in places and (not place or place in places[name])
        return f'<a href="{up}{link[1]}"{link[2]}>{link[3]}</a>' if there else link[3]

    own = re.compile(rf'<a href="{re.escape(home())}([^"]*)"([^>]*)>(.*?)</a>', re.DOTALL)
    tag = re.compile(r"\s*<(?:link|script)\b[^>]*katex@[^>]*>(?:</script>)?")
    for page in site.rglob("*.html"):
        up = "../" * (len(page.relative_to(site).parts) - 1)
        text = page.read_text(encoding="utf-8")
        if has_katex:
            text = re.sub(
                r"https://cdn\.jsdelivr\.net/npm/katex@[^/]+/dist", f"{up}site_libs/katex", text
            )
        else:
            text = tag.sub("", text)
        text = own.sub(partial(local, up=up), text)
        # An empty icon, or browsers ask for one that is not there.
        text = text.replace("</head>", '<link rel="icon" href="data:,">\n</head>', 1)
        page.write_text(text, encoding="utf-8")
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        sheet.write_text(re.sub(r"@import url\(https?:[^)]*\);", "", text), encoding="utf-8")
    with (site / "site_libs" / "smalldocs.css").open("a", encoding="utf-8") as sheet_file:
        sheet_file.write(STYLE)
    if (fuse := site / "site_libs" / "fuse" / "fuse.min.js").exists():
        shutil.copy(ROOT / ".ci" / "search.js", fuse)


def render_with_quarto(scratch: Path) -> Path:
    """Render with Quarto, the documented renderer."""
    command = [sys.executable, "-c", "from nbdev.quarto import nbdev_docs; nbdev_docs()"]
    subprocess.run(command, cwd=scratch, env=environment(), check=True)
    return scratch / "_docs"


def replace_in(folder: Path, old: str, new: str) -> None:
    """Replace some code in every notebook below a folder."""
    for path in folder.rglob("*.ipynb"):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(old, new), encoding="utf-8")


def render_with_smalldocs(scratch: Path) -> Path:
    """Render nbdev's processed notebooks with smalldocs."""
    replace_in(scratch / "nbs", ONLY_NAMES, NAMES)
    command = [
        sys.executable,
        "-c",
        "from nbdev.serve import proc_nbs; proc_nbs(n_workers=0)",
    ]
    subprocess.run(command, cwd=scratch, env=environment(), check=True)
    processed = scratch / "_proc"
    replace_in(processed, NAMES, ONLY_NAMES)
    rename_pages(processed)
    render = (
        "import sys; from smalldocs.cli import main; sys.exit(main(['render', '--quiet', '.']))"
    )
    subprocess.run([sys.executable, "-c", render], cwd=processed, env=environment(), check=True)
    site = processed / "_docs"
    make_local(site)
    return site


def main() -> int:
    """Build the site; the exit code is 1 where a notebook failed or a page loads from elsewhere."""
    parser = argparse.ArgumentParser(description="Build the documentation site into _docs.")
    parser.add_argument("--slow", action="store_true", help="also run cells marked `#| slow`")
    parser.add_argument("--run", nargs="+", default=[], help="only these notebooks; none: all")
    parser.add_argument("--out", type=Path, default=ROOT / "_docs", help="folder to write")
    args = parser.parse_args()
    copy_project(SCRATCH)
    print("Running the notebooks", flush=True)
    failed = run_notebooks(SCRATCH / "nbs", args.slow, args.run)
    site = (render_with_quarto if shutil.which("quarto") else render_with_smalldocs)(SCRATCH)
    docs = args.out
    shutil.rmtree(docs, ignore_errors=True)
    shutil.copytree(site, docs)
    wrong = [f"{name}: its notebook failed" for name in failed]
    wrong += [] if shutil.which("quarto") else faults(docs)
    for line in wrong:
        print(line, file=sys.stderr)
    pages = sum(1 for _ in docs.rglob("*.html"))
    print(f"{pages} pages in {docs}: open {docs / 'index.html'}", flush=True)
    if wrong:
        print(f"{len(wrong)} fault(s) of pages, the first: {wrong[0]}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

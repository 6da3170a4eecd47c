"""The package as a whole: equal to its notebooks, clean, layered, light, alone in its wheel."""

import ast
import graphlib
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted(
    p for p in (ROOT / "nbs").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts
)
NUMBERED = [p for p in NOTEBOOKS if re.match(r"\d+", p.name)]
# Modules that start the room's numbers: usvbook/ssc.py comes from 05_ssc.ipynb.
ROOMS = {re.sub(r"^\d+[a-z]*_", "", p.stem): re.match(r"\d+[a-z]*", p.name)[0] for p in NUMBERED}
SIDE_ROOMS = {"11", "12"}  # they stand beside the main way
SIDE_MAY_USE = {"00", "01"}


def ident(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def cells(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def imported_modules(code: str) -> set[str]:
    """Names of the usvbook modules that some code imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            package, _, module = node.module.partition(".")
            if package == "usvbook":
                found |= {module} if module else {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            found |= {node.module or "."}
        elif isinstance(node, ast.Import):
            found |= {a.name.partition(".")[2] for a in node.names if a.name.startswith("usvbook.")}
    return {module.split(".")[0] for module in found if module and module != "__version__"}


def run(*code: str) -> str:
    """Standard output of Python run on some code, in a process of its own."""
    command = [sys.executable, *code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


# --------------------------------------------------------------------------- notebooks and modules


def test_package_equals_its_notebooks(tmp_path):
    """Exporting a copy of the notebooks gives the modules that are there, byte for byte."""
    for name in ("settings.ini", "_quarto.yml", "README.md"):
        shutil.copy2(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "nbs", tmp_path / "nbs", symlinks=True)
    (tmp_path / "usvbook").mkdir()
    shutil.copy2(ROOT / "usvbook" / "__init__.py", tmp_path / "usvbook" / "__init__.py")
    export = "from nbdev import nbdev_export; nbdev_export()"
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", export], cwd=tmp_path, env=env, check=True)

    made = {p.name: p.read_bytes() for p in (tmp_path / "usvbook").glob("*.py")}
    there = {p.name: p.read_bytes() for p in (ROOT / "usvbook").glob("*.py")}
    assert sorted(made) == sorted(there)
    different = [name for name in made if made[name] != there[name]]
    assert not different, f"run nbdev_export: {different} differ from their notebooks"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=ident)
def test_notebooks_are_clean(path):
    """No outputs, no execution counts, no cell metadata: nbdev_clean has nothing to do."""
    for cell in cells(path):
        assert not cell["metadata"]
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=ident)
def test_title_stands_alone(path):
    """The cell with the title holds the title and one line: nbdev drops whatever else is in it."""
    prose = [cell for cell in cells(path) if cell["cell_type"] == "markdown"]
    lines = [line for line in "".join(prose[0]["source"]).splitlines() if line.strip()]
    assert len(lines) == 2, f"{ident(path)}: put the text after the title into a cell of its own"
    assert lines[0].startswith("# ") and lines[1].startswith("> ")


@pytest.mark.parametrize("path", NUMBERED, ids=ident)
def test_imports_stand_apart(path):
    """A cell that imports does nothing else, so that the pages can be built without running it."""
    for cell in cells(path):
        source = "".join(cell["source"])
        if cell["cell_type"] != "code" or "nbdev" in source or source.startswith(("%", "!")):
            continue
        tree = ast.parse(source)
        kinds = {isinstance(node, (ast.Import, ast.ImportFrom)) for node in tree.body}
        hidden = any(isinstance(node, (ast.Import, ast.ImportFrom)) for node in ast.walk(tree))
        alone = kinds == {True} or not hidden or ("#| export" in source and len(kinds) < 2)
        assert alone, f"{ident(path)}: imports and other code in one cell:\n{source[:300]}"


def test_one_module_per_numbered_notebook():
    modules = {p.stem for p in (ROOT / "usvbook").glob("*.py")} - {"__init__", "_modidx"}
    assert modules == set(ROOMS)


def test_quarto_settings_are_a_link():
    link = ROOT / "nbs" / "_quarto.yml"
    assert link.is_symlink()
    assert os.readlink(link) == "../_quarto.yml"
    assert link.samefile(ROOT / "_quarto.yml")


def test_every_page_is_in_the_navigation():
    text = (ROOT / "_quarto.yml").read_text(encoding="utf-8")
    listed = re.findall(r"^\s*- (\S+\.ipynb)$", text, flags=re.MULTILINE)
    pages = [p.relative_to(ROOT / "nbs").as_posix() for p in NOTEBOOKS]
    assert sorted(listed) == sorted(pages)
    for part in text.split("- section:")[1:]:
        numbers = re.findall(r"^\s*- (\d\w+)\.ipynb$", part, flags=re.MULTILINE)
        assert numbers == sorted(numbers), f"rooms in the order of their numbers: {part}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=ident)
def test_links_lead_somewhere(path):
    """Every link to another page or file of the project names one that is there."""
    for cell in cells(path):
        for target in re.findall(r"\]\(([^)#\s]+)", "".join(cell["source"])):
            if cell["cell_type"] == "markdown" and "://" not in target:
                assert (path.parent / target).exists(), f"{ident(path)}: link to {target}"


def test_the_first_page_names_every_room():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [p.name for p in NUMBERED if f"](nbs/{p.name})" not in text]
    assert not missing, f"nbs/index.ipynb has no row for {missing}"


def public_functions(module: str) -> list[tuple[str, ast.FunctionDef]]:
    """Functions of a module and methods of its classes, but for private ones."""
    tree = ast.parse((ROOT / "usvbook" / f"{module}.py").read_text(encoding="utf-8"))
    classes = [n for n in tree.body if isinstance(n, ast.ClassDef) and not n.name.startswith("_")]
    found = [(n.name, n) for n in tree.body if isinstance(n, ast.FunctionDef)]
    for one in classes:
        found += [(f"{one.name}.{n.name}", n) for n in one.body if isinstance(n, ast.FunctionDef)]
    return [(name, node) for name, node in found if not node.name.startswith("_")]


@pytest.mark.parametrize("module", sorted(ROOMS))
def test_docstrings_say_what_is_raised(module):
    """Who calls a function must not have to read it to know what it refuses."""
    silent = []
    for name, node in public_functions(module):
        raised = {
            ast.unparse(one.exc).split("(")[0]
            for one in ast.walk(node)
            if isinstance(one, ast.Raise) and one.exc is not None
        } - {"typer.Exit", "KeyboardInterrupt", "HTTPError", "AssertionError"}
        words = ast.get_docstring(node) or ""
        if raised and not re.search(
            "|".join(["[Rr]aise", "[Rr]efuse", "ValueError", *map(re.escape, raised)]), words
        ):
            silent.append((name, raised))
    assert not silent or module == "cli", silent


# ------------------------------------------------------------------------------------ layers


def floor(module: str) -> str:
    """The number of a room without its letter: 05 of 05b_self_expression."""
    return ROOMS[module][:2]


def code_of(module: str) -> str:
    return (ROOT / "usvbook" / f"{module}.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("module", sorted(ROOMS))
def test_rooms_import_only_from_lower_floors(module):
    """A room uses lower numbers and its own; 11 and 12 use 00, 01 and each other only."""
    code = code_of(module)
    for other in imported_modules(code):
        assert other in ROOMS, f"{module} imports usvbook.{other}, which no notebook makes"
        assert floor(other) <= floor(module), (
            f"{module} ({ROOMS[module]}) imports {other} ({ROOMS[other]})"
        )
        if floor(module) in SIDE_ROOMS:
            assert floor(other) in SIDE_MAY_USE | SIDE_ROOMS
    assert not re.search(r"^\s*(from|import) (nbdev|fastcore)\b", code, flags=re.MULTILINE)


def test_no_circles_within_a_floor():
    """The rooms of one number can be read in some order in which none needs a later one."""
    needs = {
        module: {other for other in imported_modules(code_of(module)) if other in ROOMS}
        for module in ROOMS
    }
    tuple(graphlib.TopologicalSorter(needs).static_order())  # CycleError names a circle


def test_every_floor_is_entered_through_its_unlettered_room():
    """01a and 01b stand behind 01: a number with letters has a room without one."""
    numbers = set(ROOMS.values())
    assert {number[:2] for number in numbers} <= numbers


def test_import_checker_sees_every_form():
    code = (
        "import usvbook.ssc\nfrom usvbook import figures\ndef f():\n  from usvbook.cli import x\n"
    )
    assert imported_modules(code) == {"ssc", "figures", "cli"}


def test_equations_1_to_4_are_in_one_module():
    """Who looks for the paper's Section 2 finds it in usvbook.ssc, whichever room made it."""
    from usvbook import self_expression, ssc

    assert {"self_expression", "certificate", "Certificate", "affinity"} <= set(ssc.__all__)
    assert ssc.self_expression is self_expression.self_expression


@pytest.mark.parametrize("module", sorted(ROOMS))
def test_nothing_is_pickled(module):
    """No module writes or reads what would execute something when it is read."""
    tree = ast.parse((ROOT / "usvbook" / f"{module}.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        names = (
            [a.name for a in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
        )
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not {"pickle", "dill", "cloudpickle", "shelve", "marshal"} & {*names}
        if isinstance(node, ast.Attribute):
            call = ast.unparse(node)
            assert call not in ("joblib.dump", "joblib.load", "torch.save", "torch.load")
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "np.load":
            assert "allow_pickle=False" in ast.unparse(node)


# ------------------------------------------------------------------------------ light to import

LOADED = "import sys; print(*sorted({m.split('.')[0] for m in sys.modules}))"
HEAVY = {"torch", "matplotlib", "ipywidgets", "dask"}
HEAVY |= {"numpy", "scipy", "pandas", "sklearn", "numba", "joblib", "soundfile"}
HELP = "import sys; sys.argv = ['usvbook', '--help']; from usvbook.cli import main; main()"


def test_import_loads_nothing_heavy():
    loaded = run("-c", f"import usvbook; {LOADED}").split()
    assert "usvbook" in loaded
    assert not HEAVY & set(loaded)


def test_public_face():
    """Each name of the package is that of its room, and editors are told of the same names."""
    import usvbook

    names = set(usvbook.__all__) - {"__version__"}
    assert 12 <= len(names) <= 20 and names <= set(dir(usvbook))
    stub = ast.parse((ROOT / "usvbook" / "__init__.pyi").read_text(encoding="utf-8"))
    told = {a.asname: (n.module, a.name) for n in ast.walk(stub) if isinstance(n, ast.ImportFrom)
            for a in n.names}  # fmt: skip
    assert set(told) == names
    for name, (module, same) in told.items():
        found = getattr(usvbook, name)
        assert name == same and found is getattr(importlib.import_module(module), name)
        assert found.__module__ == module, f"{name} is made in {found.__module__}"
        assert module.partition(".")[2] not in names, "a name would hide a module"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        usvbook.nothing  # noqa: B018


def test_face_loads_only_what_is_asked_for():
    code = "import sys, usvbook; usvbook.Fault; dir(usvbook); print(*sys.modules)"
    loaded = {module.split(".")[0] for module in run("-c", code).split()}
    assert not HEAVY & loaded


def test_help_loads_nothing_heavy():
    told = "print('LOADED', *sorted({m.split('.')[0] for m in sys.modules}))"
    printed = run("-c", f"import sys, atexit; atexit.register(lambda: {told}); {HELP}")
    assert "Usage" in printed
    loaded = printed.rpartition("LOADED")[2].split()
    assert "usvbook" in loaded
    assert not HEAVY & set(loaded)


@pytest.mark.skipif(sys.platform == "win32", reason="the times of child processes are not told")
@pytest.mark.parametrize(
    ("code", "floor"),
    [("import usvbook", "pass"), (HELP, "import typer.rich_utils")],
    ids=["import", "help"],
)
def test_starts_hardly_slower_than_what_it_needs(code, floor):
    """Processor time against that of Python alone, and of what prints any program's help.

    On a quiet machine that is 0.05 and 0.3 seconds.
    """

    def seconds(code):
        before = os.times()
        run("-c", code)
        after = os.times()
        user, system = after.children_user, after.children_system
        return user + system - before.children_user - before.children_system

    times = [(seconds(code), seconds(floor)) for _ in range(3)]
    assert min(one for one, _ in times) < 2 * min(least for _, least in times) + 0.05


# ------------------------------------------------------------------------------------ the wheel


def test_wheel_holds_only_the_package(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name in (
        "settings.ini",
        "setup.py",
        "pyproject.toml",
        "MANIFEST.in",
        "README.md",
        "LICENSE",
    ):
        shutil.copy2(ROOT / name, source / name)
    for name in ("usvbook", "nbs", "tests"):
        shutil.copytree(ROOT / name, source / name, symlinks=True)
    wheels = tmp_path / "wheels"
    run("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index",
        "--wheel-dir", str(wheels), str(source))  # fmt: skip
    (wheel,) = wheels.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        entry_points = next(n for n in names if n.endswith("entry_points.txt"))
        points = archive.read(entry_points).decode()
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"usvbook"}
    packed = {name for name in names if name.startswith("usvbook/")}
    modules = {f"usvbook/{p.name}" for p in (ROOT / "usvbook").glob("*.py*")} | {"usvbook/py.typed"}
    weights = {"usvbook/weights/talkers.safetensors", "usvbook/weights/mice.safetensors"}
    assert packed == modules | weights
    assert wheel.stat().st_size < 15_000_000
    assert "usvbook = usvbook.cli:main" in points.replace("usvbook=", "usvbook = ")


# --------------------------------------------------------------------------------- what is tracked


def tracked_files() -> list[Path]:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return [p for name in listed.split("\0") if name and (p := ROOT / name).is_file()]


def test_no_paths_of_one_machine():
    """Tracked files name no folder of the machine that somebody works on."""
    # Written in pieces, so that this file does not find itself.
    folders = "|".join(["wo" + "rk", "ro" + "ot", "ho" + "me/[a-z]", "Us" + "ers/[a-zA-Z]"])
    pattern = re.compile(rf"(?<![\w.])/(?:{folders})\b(?:/|\b)|(?<![\w.])/t" + r"mp/\w")
    found = []
    for path in tracked_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{ident(path)}: {hit[0]}" for hit in pattern.finditer(text)]
    assert not found, found


def test_no_recordings_are_tracked():
    sounds = {".wav", ".flac", ".ogg", ".aif", ".aiff", ".mp3"}
    assert not [p for p in tracked_files() if p.suffix.lower() in sounds]

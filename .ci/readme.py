"""Write README.md from nbs/index.ipynb: its prose as it stands, its code as code blocks.

Cells that start with `#| hide` are left out, and links to notebooks go to the files in nbs.
"""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def readme(index: Path) -> str:
    """The text of README.md."""
    parts = []
    for cell in json.loads(index.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"]).strip()
        if source.startswith(("#| hide", "#|hide")) or not source:
            continue
        if cell["cell_type"] == "code":
            source = re.sub(r"^#\|.*\n", "", source, flags=re.MULTILINE)
            parts.append(f"```python\n{source}\n```")
        else:
            parts.append(re.sub(r"\]\((?!http|#)([^)]+)\)", r"](nbs/\1)", source))
    head = "<!-- Written from nbs/index.ipynb by `make readme`; edit the notebook. -->"
    return "\n\n".join([head, *parts]) + "\n"


if __name__ == "__main__":
    (ROOT / "README.md").write_text(readme(ROOT / "nbs" / "index.ipynb"), encoding="utf-8")

"""Print the lowest versions that settings.ini allows, as constraints for pip.

python .ci/lowest.py > lowest.txt && pip install -c lowest.txt -e '.[dev]'
"""

import re
from configparser import ConfigParser
from pathlib import Path

config = ConfigParser(delimiters=["="], interpolation=None)
config.read(Path(__file__).resolve().parent.parent / "settings.ini", encoding="utf-8")
for wanted in config["DEFAULT"]["requirements"].split():
    name, _, lowest = wanted.partition(">=")
    if not re.fullmatch(r"\d+(\.\d+)*", lowest):
        raise SystemExit(f"settings.ini: {wanted} states no lowest version")
    print(f"{name}=={lowest}.*")

"""Package metadata, read from settings.ini, the only place where they stand."""

from configparser import ConfigParser
from pathlib import Path

from setuptools import setup

here = Path(__file__).parent
config = ConfigParser(delimiters=["="], interpolation=None)
config.read(here / "settings.ini", encoding="utf-8")
cfg = config["DEFAULT"]

setup(
    name=cfg["lib_name"],
    version=cfg["version"],
    description=cfg["description"],
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author=cfg["author"],
    author_email=cfg["author_email"],
    url=cfg["git_url"],
    keywords=cfg["keywords"],
    license="MIT",
    python_requires=f">={cfg['min_python']}",
    packages=[cfg["lib_path"]],
    package_data={cfg["lib_path"]: ["py.typed", "*.pyi", "weights/*.safetensors"]},
    install_requires=cfg["requirements"].split(),
    extras_require={
        "app": cfg["app_requirements"].split(),
        "cluster": cfg["cluster_requirements"].split(),
        "training": cfg["training_requirements"].split(),
        "formats": cfg["formats_requirements"].split(),
        "dev": (cfg["app_requirements"] + " " + cfg["dev_requirements"]).split(),
    },
    entry_points={
        "console_scripts": [cfg["console_scripts"]],
        "nbdev": [f"{cfg['lib_name']}={cfg['lib_path']}._modidx:d"],
    },
    zip_safe=False,
)

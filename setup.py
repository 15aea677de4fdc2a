"""Packages of the wheel. pyproject.toml holds all the rest.

Two folders stand at the top of the tree, where people look for them, and are installed inside
`autolora_meta`, so that nobody's own `problems` package collides with ours.
"""

from setuptools import find_packages, setup

INSIDE = ("problems", "engine_configs")

setup(
    packages=[
        *find_packages(include=["autolora_meta", "autolora_meta.*"]),
        *(
            f"autolora_meta.{package}"
            for folder in INSIDE
            for package in find_packages(include=[folder, f"{folder}.*"])
        ),
    ],
    package_dir={f"autolora_meta.{folder}": folder for folder in INSIDE},
)

"""What an installed copy holds and does, away from the checkout; and what an import costs."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
SOURCES = {
    "autolora_meta": "autolora_meta",
    "problems": "autolora_meta/problems",
    "engine_configs": "autolora_meta/engine_configs",
}


def python(code: str, cwd: Path, *, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh interpreter in `cwd`, with `path` in front of sys.path."""
    environment = {**os.environ, "PYTHONPATH": str(path) if path else ""}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


def answer(code: str, cwd: Path, *, path: Path | None = None) -> str:
    """What `code` prints; it must end well."""
    done = python(code, cwd, path=path)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel of this checkout was installed, without its dependencies."""
    base = tmp_path_factory.mktemp("wheel")
    # A copy: building in the checkout would leave build/ behind, and take in what is stale there.
    for folder in SOURCES:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, base / "source" / folder, ignore=ignore)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, base / "source" / name)
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index"]
    built = base / "built"
    wheel = [*pip, "wheel", *offline, "--no-build-isolation", "-w", built, base / "source"]
    subprocess.run(wheel, check=True, capture_output=True)
    install = [*pip, "install", *offline, "--target", base / "site", *built.glob("*.whl")]
    subprocess.run(install, check=True, capture_output=True)
    return base / "site"


def test_the_wheel_claims_one_import_name(site: Path) -> None:
    importable = {p.name for p in site.iterdir() if p.suffix != ".dist-info" and p.name != "bin"}
    assert importable == {"autolora_meta"}


def test_the_wheel_holds_every_module_and_every_yaml(site: Path) -> None:
    for folder, installed in SOURCES.items():
        kinds = ("*.py", "*.yaml", "*.json", "*.j2", "*.css", "*.js", "py.typed")
        files = [p for kind in kinds for p in (ROOT / folder).rglob(kind)]
        missing = [
            str(p.relative_to(ROOT))
            for p in files
            if not (site / installed / p.relative_to(ROOT / folder)).is_file()
        ]
        assert not missing, f"not in the wheel (a folder without __init__.py?): {missing}"


def test_an_installed_copy_runs_its_command_with_its_own_configs_and_plugins(
    site: Path, tmp_path: Path
) -> None:
    code = """
import json, sys
from importlib.metadata import entry_points
import autolora_meta.problems
found = {
    "package": autolora_meta.__file__,
    "problems": autolora_meta.problems.__file__,
    "version": autolora_meta.__version__,
    "plugins": sorted(
        point.name
        for group in ("autolora_meta.problems", "autolora_meta.allocators")
        for point in entry_points(group=group)
        if point.load() is not None
    ),
}
print(json.dumps(found))
(command,) = entry_points(group="console_scripts", name="autolora-meta")
sys.argv = ["autolora-meta", "config", "quickstart"]
command.load()()
"""
    # One process: importing transformers is most of what this costs.
    first, *printed = answer(code, tmp_path, path=site).splitlines()
    found = json.loads(first)
    assert Path(found["package"]).is_relative_to(site)
    assert Path(found["problems"]).is_relative_to(site)
    assert found["version"] == project()["version"]
    assert {"autolora", "learned", "uniform", "shuffled", "frozen"} <= set(found["plugins"])
    assert any("hypergradient" in line for line in printed)


def test_the_checkout_itself_finds_its_problems() -> None:
    code = "import autolora_meta.problems as p; print(p.__file__)"
    assert Path(answer(code, ROOT)) == ROOT / "problems" / "__init__.py"


def test_importing_the_package_does_not_import_torch(tmp_path: Path) -> None:
    code = "import sys, autolora_meta; print({'torch', 'transformers'} & set(sys.modules))"
    assert answer(code, tmp_path, path=ROOT) == "set()"


def test_no_public_name_is_a_module_too() -> None:
    """So that `autolora_meta.search` is the function, whatever was imported first."""
    import autolora_meta

    modules = {name for name in autolora_meta.__all__ if find_spec(f"autolora_meta.{name}")}
    assert modules == set()


def test_every_public_name_exists() -> None:
    import autolora_meta

    for name in autolora_meta.__all__:
        assert getattr(autolora_meta, name) is not None
        assert name in dir(autolora_meta)
    with pytest.raises(AttributeError, match="serach"):
        autolora_meta.serach  # noqa: B018


def test_without_betty_one_sentence_says_how_to_install_it(tmp_path: Path) -> None:
    code = "import sys; sys.modules['betty'] = None; import autolora_meta"
    done = python(code, tmp_path, path=ROOT)
    assert done.returncode != 0
    message = done.stderr.strip().splitlines()[-1]
    assert message.startswith("ImportError: autolora_meta needs betty-ml")
    assert 'pip install --no-deps --ignore-requires-python "betty-ml>=0.2.1,<0.3"' in message
    assert message.endswith("pip install autolora-meta")


def project() -> dict:
    """The [project] table of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_every_direct_dependency_has_a_tested_version_that_it_allows() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    tested = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    extras = project()["optional-dependencies"]
    for text in [*project()["dependencies"], *(text for e in extras.values() for text in e)]:
        needed = Requirement(text)
        if needed.name == project()["name"]:  # an extra that takes in another
            assert needed.extras <= extras.keys(), text
            continue
        if needed.name in ("wandb", "trackio", "mlflow"):  # trackers that nobody here has run
            continue
        assert needed.name in tested, f"{needed.name} is not in constraints.txt"
        assert needed.specifier.contains(tested[needed.name]), text


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_without_a_python_says_what_to_do(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in re.findall(r"^INPUTS := (.*)$", (ROOT / "Makefile").read_text(), re.M)[0].split():
        (tmp_path / name).touch()
    command = ["make", "setup", "PYTHON=python0.0"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    assert "install Python 3.11 or newer" in done.stdout
    assert not (tmp_path / ".venv").exists()

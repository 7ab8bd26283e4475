"""The built wheel: one clean name, all its data, and a command line that starts light."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def python(installed: Path, *arguments: str) -> str:
    """Run Python outside the repository, with the wheel's files before everything else."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=installed, env=environment, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_the_wheel_has_one_top_level_name_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} - {"seedbed"} == {
        name.split("/")[0] for name in names if ".dist-info" in name
    }
    assert not [name for name in names if name.startswith(("seedbed/tests", "seedbed/bench", "seedbed/docs"))]


def test_data_travels_with_it(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder, pattern in (
        ("prompts", "generation/*.j2"),
        ("prompts", "training/*.j2"),
        ("seeds", "*.jsonl"),
        ("seeds", "*.toml"),
        ("weights", "*.toml"),
        ("filters", "digests/*.npz"),
        ("pool", "migrations/*.sql"),
    ):
        in_tree = {f"seedbed/{path.relative_to(ROOT)}" for path in (ROOT / folder).glob(pattern)}
        assert in_tree
        assert in_tree <= names
    assert "seedbed/py.typed" in names


def test_the_wheel_itself_is_what_is_imported_and_works(installed: Path, tmp_path: Path) -> None:
    where = python(installed, "-c", "import seedbed.service.cli as m; print(m.__file__)")
    assert where.startswith(str(installed))
    said = python(installed, "-m", "seedbed", "init", str(tmp_path / "w"), "--json")
    assert str(tmp_path / "w") in said
    assert (tmp_path / "w" / "seeds" / "seed_tasks.jsonl").exists()


@pytest.mark.parametrize("module", ["seedbed.service", "seedbed.service.commands", "seedbed.filters.cascade"])
def test_nothing_heavy_is_imported_before_it_is_needed(installed: Path, module: str) -> None:
    loaded = python(installed, "-c", f"import sys, {module}; print(*sys.modules)").split()
    assert not {"torch", "transformers", "numba", "matplotlib"} & set(loaded)

"""The unit of systemd, read by systemd's own analyser."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "docker" / "seedbed.service"

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """Return the unit with a program that is there."""
    file = tmp_path / "seedbed.service"
    file.write_text(UNIT.read_text().replace("/opt/seedbed/bin/seedbed", "/bin/true"))
    return file


def analysed(*arguments: str) -> str:
    ran = subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def test_systemd_finds_nothing_to_say_about_it(unit: Path) -> None:
    assert analysed("verify", str(unit)) == ""


def test_what_it_may_do_is_rated_low(unit: Path) -> None:
    """Systemd rates exposure from 0 to 10; below 2 there is nothing left that Seedbed could do without."""
    (exposure,) = re.findall(
        r"Overall exposure level for \S+ ([\d.]+)", analysed("security", "--offline=true", str(unit))
    )
    assert float(exposure) < 2

"""The password of the pool's server, from a variable or from a file that one names."""

from pathlib import Path

import pytest

from seedbed.core.config import PoolConfig
from seedbed.pool.server import Server

pytest.importorskip("psycopg")
CONFIG = PoolConfig(url="postgresql+psycopg://seedbed@postgres/seedbed", password_env="PASSWORD")


def test_the_password_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("canary\n")
    server = Server.of(CONFIG, {"PASSWORD_FILE": str(tmp_path / "password")})
    assert server.url.password == "canary"
    assert "canary" not in server.where

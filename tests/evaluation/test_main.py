"""The command line refuses what it cannot use in one line, with exit code 2."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from seedbed.core.errors import InputError, MissingFileError
from seedbed.evaluation.__main__ import main
from seedbed.evaluation.spec import EvaluationSpec, read_spec


def test_a_spec_survives_being_written_and_read(spec: EvaluationSpec, tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text(json.dumps(spec.model_dump(mode="json")))
    assert read_spec(tmp_path / "spec.json") == spec


def test_a_wrong_field_of_a_spec_is_named(spec: EvaluationSpec, tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text(json.dumps({**spec.model_dump(mode="json"), "adaptor": "x"}))
    with pytest.raises(InputError, match="adaptor"):
        read_spec(tmp_path / "spec.json")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "there is no file"),
        ("{", "is not JSON"),
        ("{}", "is no evaluation spec: adapter_id: Field required"),
    ],
)
def test_a_bad_spec_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, told: str
) -> None:
    if content is not None:
        (tmp_path / "spec.json").write_text(content)
    assert main([str(tmp_path / "spec.json"), str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert len(error.strip().splitlines()) == 1


def test_an_adapter_that_is_not_there_is_refused(
    spec: EvaluationSpec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "spec.json").write_text(json.dumps(spec.model_dump(mode="json")))
    assert main([str(tmp_path / "spec.json"), str(tmp_path / "out")]) == 2
    assert "is no adapter folder" in capsys.readouterr().err


def test_an_unknown_student_is_refused(
    spec: EvaluationSpec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec.adapter.mkdir()
    (spec.adapter / "adapter_model.safetensors").write_bytes(b"")
    (tmp_path / "spec.json").write_text(json.dumps(spec.model_dump(mode="json")))
    assert main([str(tmp_path / "spec.json"), str(tmp_path / "out")]) == 2
    assert "tiny" in capsys.readouterr().err


def test_a_missing_file_is_an_error_of_its_own_kind(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        read_spec(tmp_path / "nowhere.json")


def test_help_loads_no_torch() -> None:
    program = (
        "import sys\nfrom seedbed.evaluation.__main__ import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\nsys.exit('torch' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "SPEC" in ended.stdout

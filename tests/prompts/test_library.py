import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.core.errors import ConfigError, MissingFileError
from seedbed.prompts.library import PACKAGED_PROMPTS, Prompt, PromptLibrary


def _override(folder: Path, name: str, source: str) -> Path:
    path = folder / f"{name}.j2"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source, encoding="utf-8")
    return path


def test_a_packaged_template_carries_the_hash_of_its_source() -> None:
    prompt = PromptLibrary().get("training/alpaca")
    source = (PACKAGED_PROMPTS / "training/alpaca.j2").read_bytes()
    assert prompt.name == "training/alpaca"
    assert prompt.source.encode() == source
    assert prompt.sha256 == hashlib.sha256(source).hexdigest()


def test_every_packaged_template_compiles() -> None:
    library = PromptLibrary()
    assert "training/alpaca" in library.names()
    for name in library.names():
        assert library.get(name).source


def test_an_override_beats_the_package_and_leaves_the_others(tmp_path: Path) -> None:
    _override(tmp_path, "training/alpaca", "Mine: {{ instruction }}\n")
    library = PromptLibrary(tmp_path)
    assert library.get("training/alpaca").render(instruction="hop") == "Mine: hop"
    assert library.get("training/bare") == PromptLibrary().get("training/bare")


def test_an_override_may_add_a_template(tmp_path: Path) -> None:
    _override(tmp_path, "judging/strict", "Grade {{ text }}.")
    library = PromptLibrary(tmp_path)
    assert "judging/strict" in library.names()
    assert library.get("judging/strict").render(text="this") == "Grade this."


def test_the_fingerprint_follows_the_templates(tmp_path: Path) -> None:
    packaged = PromptLibrary().fingerprint()
    assert PromptLibrary(tmp_path).fingerprint() == packaged
    _override(tmp_path, "training/alpaca", PromptLibrary().get("training/alpaca").source)
    assert PromptLibrary(tmp_path).fingerprint() == packaged
    _override(tmp_path, "training/alpaca", "other")
    assert PromptLibrary(tmp_path).fingerprint() != packaged


def test_a_template_changes_nothing_once_it_was_read(tmp_path: Path) -> None:
    _override(tmp_path, "judging/one", "before")
    library = PromptLibrary(tmp_path)
    first = library.get("judging/one")
    _override(tmp_path, "judging/one", "after")
    assert library.get("judging/one") is first


@pytest.mark.parametrize(
    "name", ["training/none", "alpaca", "", "training/alpaca.j2", "../prompts/training/alpaca", "/etc/hosts"]
)
def test_an_unknown_name_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(MissingFileError, match="training/alpaca") as caught:
        PromptLibrary().get(name)
    assert f'"{name}"' in str(caught.value)


def test_a_missing_value_is_named_with_its_template() -> None:
    with pytest.raises(ConfigError, match=r"training/labels: 'instruction' is undefined; it was given input"):
        PromptLibrary().get("training/labels").render(input="x")


def test_a_broken_override_is_named_with_its_line(tmp_path: Path) -> None:
    path = _override(tmp_path, "training/alpaca", "fine\n{% if %}\n")
    with pytest.raises(ConfigError, match="line 2") as caught:
        PromptLibrary(tmp_path).get("training/alpaca")
    assert str(path) in str(caught.value)


def test_an_override_that_is_not_text_is_refused(tmp_path: Path) -> None:
    _override(tmp_path, "training/alpaca", "").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        PromptLibrary(tmp_path).get("training/alpaca")


@pytest.mark.parametrize("source", ["{{ ''.__class__.__mro__ }}", "{{ values.append(1) }}", "{{ 1 + 'a' }}"])
def test_a_template_is_data_and_runs_no_code(source: str) -> None:
    with pytest.raises(ConfigError, match="judging/sly"):
        Prompt(name="judging/sly", sha256="", source=source).render(values=[])


@given(value=st.text(st.characters(exclude_categories=["Cs"])))
def test_a_value_arrives_as_it_is(value: str) -> None:
    assert Prompt(name="judging/echo", sha256="", source="<{{ value }}>").render(value=value) == f"<{value}>"


def test_only_templates_that_differ_from_the_packages_are_overridden(tmp_path: Path) -> None:
    _override(tmp_path, "training/bare", PromptLibrary().get("training/bare").source)
    assert PromptLibrary(tmp_path).overridden("training") == {}
    _override(tmp_path, "training/bare", "> {{ instruction }}")
    _override(tmp_path, "generation/alpaca", "x")
    found = PromptLibrary(tmp_path).overridden("training")
    assert found == {"training/bare": hashlib.sha256(b"> {{ instruction }}").hexdigest()}

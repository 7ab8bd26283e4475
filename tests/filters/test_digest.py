"""Digests: what the rules need, nothing to read, and never the wrong file."""

from pathlib import Path

import numpy as np
import pytest

from seedbed.core.errors import InputError
from seedbed.core.filter_config import ContaminationConfig
from seedbed.filters.digest import (
    FOLDER,
    Digest,
    DigestEntry,
    digest_of,
    read_digests,
    read_manifest,
    write_digest,
    write_manifest,
)
from seedbed.filters.overlap_index import OverlapIndex, Rule
from seedbed.filters.references import Item, Reference

TEXT = "The patient gardener counts nineteen copper kettles twice before the autumn market opens in the square."
REFERENCE = Reference("exam", (Item(1, TEXT), Item(2, "dresser"), Item(5, TEXT.upper()), Item(7, "?!")), ("q",))


def stored(digest: Digest, folder: Path) -> list[Digest]:
    checksum = write_digest(digest, folder / "exam.npz")
    entry = DigestEntry(
        name="exam", file="exam.npz", sha256=checksum, source="o/r", path="p", commit="c", licence="MIT",
        fields=("q",), rows=4, items=len(digest),
    )  # fmt: skip
    write_manifest(folder, [entry])
    return read_digests(folder)


def test_equal_items_count_once_and_wordless_ones_not_at_all() -> None:
    digest = digest_of(REFERENCE)
    assert digest.rows.tolist() == [1, 2]
    assert digest.words.tolist() == [16, 1]
    assert digest.letters.tolist() == [len(TEXT) - TEXT.count(" ") - 1, 7]
    assert len(digest.grams) == 16 - 8 + 1


def test_a_stored_digest_finds_what_its_text_would_find(tmp_path: Path) -> None:
    index = OverlapIndex(stored(digest_of(REFERENCE), tmp_path), ContaminationConfig())
    rows = [(TEXT, "", ""), ("dresser", "", ""), ("A dresser!", "", ""), ("So: " + TEXT, "x", ""), (TEXT[:70], "", "")]
    found = [overlap.rules(0.5) for overlap in index.overlaps(rows)]
    assert [Rule.EQUAL_ITEM in one for one in found] == [True, True, False, False, False]
    assert [bool(one) for one in found] == [True, True, False, True, True]
    assert index.name_of(index.overlaps([rows[1]])[0].equal) == "exam/2"


def test_a_stored_digest_has_no_word_of_the_text(tmp_path: Path) -> None:
    stored(digest_of(REFERENCE), tmp_path)
    with np.load(tmp_path / "exam.npz", allow_pickle=False) as archive:
        content = b"".join(archive[name].tobytes() for name in archive.files)
    assert not any(word.encode() in content for word in TEXT.lower().split())


def test_a_changed_digest_is_refused(tmp_path: Path) -> None:
    stored(digest_of(REFERENCE), tmp_path)
    path = tmp_path / "exam.npz"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match="is not the digest its manifest names"):
        read_digests(tmp_path)


def test_a_digest_of_another_version_is_refused(tmp_path: Path) -> None:
    stored(digest_of(REFERENCE), tmp_path)
    manifest = tmp_path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"normal_form": 1', '"normal_form": 0'))
    with pytest.raises(InputError, match="built by another version"):
        read_digests(tmp_path)


def test_the_shipped_manifest_names_source_commit_and_a_free_licence() -> None:
    entries = read_manifest().digests
    assert {"gsm8k", "mmlu", "humaneval", "bbh", "svamp", "ifeval", "mt_bench", "xstest"} <= {
        one.name for one in entries
    }
    for entry in entries:
        assert entry.licence.startswith(("MIT", "Apache-2.0", "CC-BY-4.0", "AFL-3.0"))
        assert len(entry.commit) >= 7
        assert entry.recall["verbatim"] == entry.recall["embedded"] == 1.0
        assert (FOLDER / entry.file).exists()


def test_the_shipped_digests_are_whole() -> None:
    for digest, entry in zip(read_digests(), read_manifest().digests, strict=True):
        assert (digest.name, len(digest)) == (entry.name, entry.items)
        assert len(digest.grams) == np.maximum(digest.words - 7, 0).sum()

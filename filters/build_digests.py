"""Build the digests that come with the package: `python -m seedbed.filters.build_digests REFERENCES_DIR`.

REFERENCES_DIR holds one JSON-lines file a benchmark and, in its parent, a `MANIFEST.tsv` that names the source, path,
commit, licence and SHA-256 of each. Only benchmarks whose licence permits redistribution are taken, and only files
that are the ones the manifest names. What is written holds hashes alone.
"""

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

from seedbed.core.errors import InputError, MissingFileError, SeedbedError
from seedbed.core.files import sha256_of
from seedbed.core.filter_config import ContaminationConfig
from seedbed.filters.contamination import ContaminationFilter
from seedbed.filters.digest import FOLDER, DigestEntry, digest_of, write_digest, write_manifest
from seedbed.filters.references import KNOWN, Reference, read_reference
from seedbed.filters.selftest import run_selftest

SELFTEST_ITEMS = 500
"""Items of each benchmark, at most, whose canaries are planted when the digests are built."""
REDISTRIBUTABLE = ("MIT", "Apache-2.0", "CC-BY-4.0", "AFL-3.0")
"""Licences that permit passing the text on; a manifest's licence counts by its first word."""


def build(references: Path, out: Path = FOLDER) -> list[DigestEntry]:
    """Digest every known benchmark of a folder.

    Raises:
        MissingFileError: The folder or its manifest is not there.
        InputError: A file is not the one its manifest names.
    """
    sources = _sources(references.parent / "MANIFEST.tsv")
    found = []
    for path in sorted(references.glob("*.jsonl")):
        source = sources.get(f"{references.name}/{path.name}")
        if (
            source is None
            or path.stem not in KNOWN
            or not source["licence of the original"].startswith(REDISTRIBUTABLE)
        ):
            print(f"{path.name}: left out", file=sys.stderr)
            continue
        if sha256_of(path) != source["sha256"]:
            raise InputError(f"{path} is not the file that MANIFEST.tsv names; fetch it again")
        found.append((read_reference(path), source))
    recalls = _recalls([reference for reference, _ in found])
    entries = [_entry(reference, source, recalls[reference.name], out) for reference, source in found]
    write_manifest(out, entries)
    return entries


def _recalls(references: Sequence[Reference]) -> dict[str, dict[str, float]]:
    """Measure, with the texts at hand, what the rules find of canaries of each reference."""
    contamination = ContaminationFilter(ContaminationConfig(digests=False), loaded=references)
    table = run_selftest(contamination, references, [], most_items=SELFTEST_ITEMS)
    recalls: dict[str, dict[str, float]] = {reference.name: {} for reference in references}
    for one in table.recalls:
        recalls[one.reference][one.canary.value] = round(one.share, 4)
    return recalls


def _entry(reference: Reference, source: dict[str, str], recall: dict[str, float], out: Path) -> DigestEntry:
    digest = digest_of(reference)
    name = f"{reference.name}.npz"
    return DigestEntry(
        name=reference.name,
        file=name,
        sha256=write_digest(digest, out / name),
        source=source["source repository"],
        path=source["path there"],
        commit=source["commit"],
        licence=source["licence of the original"],
        fields=reference.fields,
        rows=len({item.row for item in reference.items}),
        items=len(digest),
        recall=recall,
    )


def _sources(path: Path) -> dict[str, dict[str, str]]:
    if not path.exists():
        raise MissingFileError(f"there is no {path}; it names source, commit, licence and SHA-256 of each reference")
    with path.open(encoding="utf-8", newline="") as stream:
        return {row["file"]: row for row in csv.DictReader(stream, delimiter="\t")}


def main(arguments: Sequence[str]) -> int:
    """Build and say what was built."""
    if len(arguments) != 1:
        print("usage: python -m seedbed.filters.build_digests REFERENCES_DIR", file=sys.stderr)
        return 2
    try:
        entries = build(Path(arguments[0]))
    except SeedbedError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    for entry in entries:
        size = (FOLDER / entry.file).stat().st_size
        print(f"{entry.name}: {entry.items} items of {entry.rows} rows, {size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

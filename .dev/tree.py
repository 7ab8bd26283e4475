"""Writes the README's tree, a line per file, from the first line of each file: `python .dev/tree.py [--write]`."""

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
ROOMS = (
    "core", "prompts", "seeds", "weights", "endpoints", "filters", "pool",
    "generator", "trainer", "evaluation", "service", "bench",
)  # fmt: skip
START, END = "<!-- tree -->\n", "<!-- end of tree -->\n"


def first_line(path: Path) -> str:
    """Return the first line of a module's docstring."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.split("\n", 1)[0]


def tree() -> str:
    """Return the tree as it stands now."""
    lines = ["```"]
    for room in ROOMS:
        title = first_line(ROOT / room / "__init__.py") if (ROOT / room / "__init__.py").exists() else ""
        lines.append(f"{room + '/':<24}{title or 'Side-by-side measurements against peers; no part of the package.'}")
        for path in sorted((ROOT / room).glob("*.py")):
            if path.name != "__init__.py":
                lines.append(f"  {path.name:<22}{first_line(path)}")
    lines += [
        f"{'tests/':<24}One folder a room, one file a module; functions are sentences.",
        f"{'docker/':<24}Images, compose files, a systemd unit, Prometheus and Grafana.",
        f"{'docs/':<24}Decisions, proofs, benchmarks.",
        "```",
    ]
    return "\n".join(lines) + "\n"


def with_tree(text: str) -> str:
    """Return the README's text with the present tree in its place."""
    before, rest = text.split(START, 1)
    return before + START + tree() + END + rest.split(END, 1)[-1] if END in rest else before + START + tree() + END


def main() -> int:
    """Rewrite the README, or tell whether it is out of date."""
    text = README.read_text(encoding="utf-8")
    fresh = with_tree(text)
    if "--write" in sys.argv:
        README.write_text(fresh, encoding="utf-8")
        return 0
    if fresh != text:
        sys.stderr.write("the README's tree is out of date: `make format` writes it anew\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

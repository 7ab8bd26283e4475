"""Finding the labels that a classification instruction allows, so that one of them can be asked for.

Left to itself, a small model takes the first label every time, whatever it is told about balance.
"""

import re

_QUOTED = re.compile(r"[\"“]([^\"“”\n]{1,40})[\"”]")
_LISTED = re.compile(r"[:(]\s*([^:()\n]+?)\s*(?:[).]|$)")
_BETWEEN = re.compile(r"\s*,\s*(?:or\s+|and\s+)?|\s+or\s+|\s+and\s+|\s*/\s*")
_BLANKS = re.compile(r"[^\S\n]+")
_MOST_WORDS = 4


def labels_in(instruction: str) -> tuple[str, ...]:
    """Return the labels named in quotes, or in a list after a colon or in brackets; none if there is no list."""
    quoted = tuple(dict.fromkeys(label.strip() for label in _QUOTED.findall(instruction)))
    if len(quoted) >= 2:
        return quoted
    if ":" not in instruction and "(" not in instruction:
        return ()
    one_blank = _BLANKS.sub(" ", instruction)  # thousands of them would be tried in every division
    for listed in reversed(_LISTED.findall(one_blank)):
        labels = tuple(dict.fromkeys(label for label in _BETWEEN.split(listed) if label))
        if len(labels) >= 2 and all(len(label.split()) <= _MOST_WORDS for label in labels):
            return labels
    return ()

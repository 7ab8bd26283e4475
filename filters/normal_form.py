"""The form in which texts are compared with benchmarks: blind to case, punctuation, Unicode form and look-alikes.

`normal_text` leaves ASCII text alone; a word of the result is a run of ASCII letters and digits (whose case does not
count) or bytes from 0x80. What it undoes beyond ASCII: compatibility forms and ligatures (NFKD), case (case folding),
Latin accents, invisible characters (Unicode category Cf), and letters of other scripts that look like Latin ones.
`VERSION` stands in every digest: hashes of another form never match.
"""

import re
import unicodedata
from functools import lru_cache

from seedbed.core.text import words

VERSION = 1

_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\ufe00-\ufe0f\ufeff\U000e0000-\U000e0fff]"
)
_PUNCTUATION = re.compile(
    "[\u00a0-\u00a9\u00ab\u00ac\u00ae-\u00b1\u00b4\u00b6-\u00b8\u00bb\u00bf\u00d7\u00f7"
    "\u2000-\u200a\u2010-\u2029\u202f-\u205f\u20a0-\u20bf\u2190-\u245f\u2500-\u2bff\u3000-\u3004\u3008-\u3020]"
)
_ACCENTS = re.compile("[\u0300-\u036f]")
_BEYOND_ASCII = re.compile("[^\x00-\x7f]+")
_SURROGATES = re.compile("[\ud800-\udfff]")
_WORD_WITH_LATIN_AND_GREEK = re.compile(r"\w*(?:[A-Za-z]\w*[\u0370-\u03ff]|[\u0370-\u03ff]\w*[A-Za-z])\w*")

# Greek capitals and small letters whose two cases look like different Latin letters: told apart before case folding,
# and only inside a word that has Latin letters too.
_GREEK_BY_CASE = str.maketrans("ΗΝΥηνυ", "HNYnvu")
# After case folding. A letter stands here when either of its cases looks like the Latin one (Unicode TR 39).
_LOOK_ALIKES = str.maketrans(
    dict(zip("авсԁеһніјкӏмпорԛѕтуѵԝхґг", "abcdehhijklmnopqstyvwxrr", strict=True))  # Cyrillic
    | dict(zip("αβγεζικμορτχ", "abyezikmoptx", strict=True))  # Greek
    | dict(zip("օոսհցյ", "onuhgj", strict=True))  # Armenian
    | dict(zip("ıɑɡɩʋʏᴀᴄᴇᴋᴍᴏᴘᴛᴠᴡᴢꜱłøđħŧƀ", "iagivyacekmoptvwzslodhtb", strict=True))  # Latin beyond ASCII
)


def normal_text(text: str) -> str:
    """Return the form whose words are compared, see the module's docstring."""
    if text.isascii():
        return text
    # Most texts beyond ASCII have only quotes, dashes and accents there: those runs are the same in any text.
    text = _BEYOND_ASCII.sub(_plain_run, text)
    if text.isascii():
        return text
    text = _SURROGATES.sub("\ufffd", text)
    text = _WORD_WITH_LATIN_AND_GREEK.sub(lambda match: match[0].translate(_GREEK_BY_CASE), text)
    text = _simplified(text)
    return text if text.isascii() else " ".join(words(text))


def _plain_run(match: re.Match[str]) -> str:
    return _plain(match[0])


@lru_cache(maxsize=4096)
def _plain(run: str) -> str:
    """Return a run of characters beyond ASCII in ASCII, or as it is where that is not its form everywhere."""
    plain = _simplified(run)
    return plain if plain.isascii() and run.translate(_GREEK_BY_CASE) == run else run


def _simplified(text: str) -> str:
    text = _ACCENTS.sub("", unicodedata.normalize("NFKD", _PUNCTUATION.sub(" ", _INVISIBLE.sub("", text))))
    return text.casefold().translate(_LOOK_ALIKES)


def normal_words(text: str) -> list[str]:
    """Return the words that are compared."""
    return words(normal_text(text))

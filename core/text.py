"""Words, canonical text and content hashes, shared by every room that compares text.

Two tokenizers:

* `rouge_words` is the one of `rouge_score` (no stemmer): lower-cased runs of `[a-z0-9]`.
* `words` is the default. It equals `rouge_words` on ASCII text; beyond ASCII a word is a maximal run of
  letters, digits and the marks that combine with them (after NFC and lower-casing; Unicode general
  categories L*, N*, M*), and every character of a script that is written without spaces (Han, Hiragana,
  Katakana, Thai, Lao, Khmer, Myanmar, Tibetan, Yi) is a word by itself, as in the fallback of UAX #29.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable

_ASCII_WORD = re.compile(r"[a-z0-9]+")
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")

# Block ranges of the scripts that separate no words (Unicode 16, Blocks.txt).
_SPACELESS = (
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u19e0-\u19ff\u3040-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\ua9e0-\ua9ff\uaa60-\uaa7f\uf900-\ufaff"
    "\U0001aff0-\U0001b16f\U00020000-\U000323af"
)
# Marks (combining accents, vowel signs) belong to the letter before them; `\w` leaves most of them out.
_MARKS = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670"
    "\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u0711\u0730-\u074a\u07a6-\u07b0\u07eb-\u07f3"
    "\u0816-\u082d\u0859-\u085b\u0898-\u0903\u093a-\u094f\u0951-\u0957\u0962\u0963\u0981-\u0983\u09bc"
    "\u09be-\u09cd\u09d7\u09e2\u09e3\u0a01-\u0a03\u0a3c-\u0a51\u0a70\u0a71\u0a75\u0a81-\u0a83\u0abc\u0abe-\u0acd"
    "\u0ae2\u0ae3\u0b01-\u0b03\u0b3c\u0b3e-\u0b57\u0b62\u0b63\u0b82\u0bbe-\u0bcd\u0bd7\u0c00-\u0c04"
    "\u0c3c\u0c3e-\u0c56\u0c62\u0c63\u0c81-\u0c83\u0cbc\u0cbe-\u0cd6\u0ce2\u0ce3\u0d00-\u0d03\u0d3b\u0d3c"
    "\u0d3e-\u0d4d\u0d57\u0d62\u0d63\u0d81-\u0d83\u0dca-\u0ddf\u0df2\u0df3\u135d-\u135f\u1ab0-\u1ace"
    "\u1dc0-\u1dff\u200d\u20d0-\u20f0\ufe20-\ufe2f"
)
_UNICODE_WORD = re.compile(f"[{_SPACELESS}]|(?:(?![{_SPACELESS}_])[\\w{_MARKS}])+")


def rouge_words(text: str) -> list[str]:
    """Tokenize as `rouge_score.tokenize.tokenize(text, stemmer=None)` does."""
    return _ASCII_WORD.findall(text.lower())


def words(text: str) -> list[str]:
    """Tokenize Unicode text; equals `rouge_words` on ASCII text."""
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    return _UNICODE_WORD.findall(unicodedata.normalize("NFC", text).lower())


def canonical(text: str) -> str:
    r"""Reduce text to the form that is hashed and compared: NFC, `\n` line ends, no outer white space.

    NUL and lone surrogates, which not every database or file takes, become U+FFFD.
    """
    if not text.isascii() or "\0" in text:
        text = unicodedata.normalize("NFC", _UNSTORABLE.sub("\ufffd", text))
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def folded(text: str) -> str:
    """Reduce text further, for equality that ignores case, width and spacing: NFKC, case-folded, single spaces."""
    if text.isascii():
        return " ".join(text.lower().split())
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def content_id(parts: Iterable[str]) -> str:
    """Hash texts to 32 hexadecimal digits (BLAKE2b-128), each preceded by its length, so no two lists collide."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        encoded = part.encode("utf-8", "replace")
        digest.update(len(encoded).to_bytes(8, "little"))
        digest.update(encoded)
    return digest.hexdigest()


def triple_id(instruction: str, input: str, output: str) -> str:
    """Return the id of a triple: the hash of its three canonical texts."""
    return content_id((canonical(instruction), canonical(input), canonical(output)))

"""Secrets and personal data that must not be learned: keys of services, card numbers, national ids, bank accounts.

Generated text is full of invented e-mail addresses, phone numbers and passwords; refusing those would empty whole
categories (extraction, forms). Refused is only what has the shape and, where there is one, the valid check digits
of the real thing, and is not a documented example value.

Keys of services are told by Yelp's detect-secrets; of its detectors, those whose keys have a fixed prefix. The ones
that go by entropy or by the word "password" refuse ordinary programming lessons. A search for the prefixes comes first,
so that its patterns run on one row in thousands.
"""

import re
from collections.abc import Callable
from functools import cache, lru_cache

from seedbed.core.filter_config import WellformedConfig
from seedbed.core.records import Candidate
from seedbed.filters.finding import Finding, longest_run

_DETECTORS = (
    ("aws", "AWSKeyDetector"),
    ("azure_storage_key", "AzureStorageKeyDetector"),
    ("github_token", "GitHubTokenDetector"),
    ("gitlab_token", "GitLabTokenDetector"),
    ("private_key", "PrivateKeyDetector"),
    ("pypi_token", "PypiTokenDetector"),
    ("sendgrid", "SendGridDetector"),
    ("slack", "SlackDetector"),
    ("square_oauth", "SquareOAuthDetector"),
    ("stripe", "StripeDetector"),
)
_KEY_SIGNS = (
    *("A3T", "ABIA", "ACCA", "AKIA", "ASIA", "AccountKey=", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "glpat-", "gldt-"),
    *("glft-", "glsoat-", "glrt-", "glcbt-", "glimt-", "glptt-", "glagent-", "GR1348941", "npm_", "T3BlbkFJ"),
    *("PRIVATE KEY", "pypi-AgE", "SG.", "xox", "hooks.slack.com", "sq0csp-", "k_live_", "sk-ant-", "AIza", "hf_"),
)
"""One of these stands in every key that the detectors tell."""
_LEAST_RUN = 16
"""Characters without a blank that stand in every such key, save in Slack's."""
_SHORT_SIGN = "xox"
_MORE_KEYS = re.compile(
    r"\bsk-ant-(?:api|admin)\d{2}-[\w-]{80,}|\bAIza[\w-]{35}(?![\w-])|\bhf_[A-Za-z]{34}\b|\bnpm_[A-Za-z0-9]{36}\b|"
    r"\bsk-[\w-]{20,200}?T3BlbkFJ[\w-]{20,200}"
)
"""Anthropic, Google and Hugging Face, which detect-secrets 1.5 does not know; npm and OpenAI, for which its patterns
take time in the square of the text's length."""
_EXAMPLE = re.compile(
    r"example|sample|dummy|placeholder|your|fake|test|redacted|xxxx|\.\.\.|(.)\1{5}|12345|abcdef", re.IGNORECASE
)
_KEY_BODY = re.compile(r"PRIVATE KEY(?: BLOCK)?-----\s+(?:[A-Za-z0-9+/=]{48,}\s+){2}")

_LEAST_DIGITS = 8
_LONG_NUMBER = re.compile(r"[0-9]{4}[ -]?[0-9]{4}")
_GROUPED_CARD = re.compile(r"(?<![\d.-])(?:\d{4}([ -])\d{4}\1\d{4}\1\d{4}|3[47]\d{2}([ -])\d{6}\2\d{5})(?![\d.-]*\d)")
_PLAIN_CARD = re.compile(
    r"(?<![\w.,+-])(?:4\d{15}|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|6(?:011|5\d\d)\d{12})(?![\w,-]|\.\d)"
)
_CARD_WORD = re.compile(r"\b(?:card|visa|mastercard|amex|american express|discover|cvv|cvc|pan)\b", re.IGNORECASE)
_CARD_START = re.compile(r"4|5[1-5]|2[2-7]|3[47]|6011|65")
_TEST_CARDS = frozenset(
    (
        *("4111111111111111", "4242424242424242", "4000056655665556", "4012888888881881", "4444333322221111"),
        *("4532015112830366", "4539578763621486", "4916338506082832", "5555555555554444", "5105105105105100"),
        *("2223003122003222", "5200828282828210", "378282246310005", "371449635398431", "6011111111111117"),
        *("6011000990139424", "5425233430109903", "4917484589897107", "4263982640269299"),
    )
)
"""Numbers that the card brands and payment services publish for tests, and that lessons on Luhn's rule use."""

_SOCIAL_SECURITY = re.compile(r"(?<![\d-])(?!000|666|9)(\d{3})-(?!00)(\d{2})-(?!0000)(\d{4})(?![\d-])")
_SOCIAL_WORD = re.compile(r"\b(?:ssn|social security)\b", re.IGNORECASE)
_EXAMPLE_SOCIAL = frozenset(("123-45-6789", "078-05-1120", "219-09-9999", "111-11-1111", "987-65-4321", "123-45-6780"))
"""Never issued, or printed in advertisements (ssa.gov/history/ssn/misused.html)."""

_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_EXAMPLE_IBANS = frozenset(("GB29NWBK60161331926819", "GB82WEST12345698765432", "DE89370400440532013000"))
"""From the IBAN registry (SWIFT) and the article of Wikipedia."""


def secret_or_personal(row: Candidate, config: WellformedConfig) -> Finding | None:
    """Refuse a key, card number, social security number or IBAN in any field; the evidence is masked."""
    if not config.personal_data:
        return None
    text = f"{row.instruction}\n{row.input}\n{row.output}"
    can_be_key = max(map(longest_run, (row.instruction, row.input, row.output))) >= _LEAST_RUN
    for reason, find in _FINDERS if can_be_key or _SHORT_SIGN in text.lower() else _FINDERS[1:]:
        found = find(text)
        if found:
            return Finding(reason, f"{found[:6]}… ({len(found)} characters)")
    return None


def find_secret(text: str) -> str:
    """Return the first key of a service in the text, "" where there is none."""
    for sign in _KEY_SIGNS:  # a plain loop: it runs on every row
        if sign in text:
            return _find_key(text)
    return ""


def _find_key(text: str) -> str:
    for key in (found.group() for pattern in _key_patterns() for found in pattern.finditer(text)):
        is_header = "PRIVATE KEY" in key
        if _KEY_BODY.search(text) if is_header else not _EXAMPLE.search(key):
            return key
    return ""


def find_card(text: str) -> str:
    """Return the first payment card number; a run of digits without groups counts only where cards are spoken of."""
    if not _has_long_number(text):
        return ""
    found = [match.group() for match in _GROUPED_CARD.finditer(text)]
    plain = [match.group() for match in _PLAIN_CARD.finditer(text)]
    if plain and _CARD_WORD.search(text):
        found += plain
    return next((number for number in found if _is_card(re.sub("[ -]", "", number))), "")


def find_social_security(text: str) -> str:
    """Return the first US social security number that could have been issued, where the text speaks of such."""
    if not ("ssn" in text or "SSN" in text or "ocial" in text) or not _SOCIAL_WORD.search(text):
        return ""
    found = (match.group() for match in _SOCIAL_SECURITY.finditer(text))
    return next((number for number in found if number not in _EXAMPLE_SOCIAL), "")


def find_iban(text: str) -> str:
    """Return the first international bank account number whose check digits hold (ISO 13616)."""
    if not _has_long_number(text):
        return ""
    for match in _IBAN.finditer(text):
        number = match.group().replace(" ", "")
        if 15 <= len(number) <= 34 and number not in _EXAMPLE_IBANS and _is_iban(number):
            return match.group()
    return ""


def passes_luhn(digits: str) -> bool:
    """Check the last digit by Luhn's rule (ISO/IEC 7812-1)."""
    doubled = [int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def _is_card(digits: str) -> bool:
    return (
        bool(_CARD_START.match(digits)) and digits not in _TEST_CARDS and len(set(digits)) > 4 and passes_luhn(digits)
    )


def _is_iban(number: str) -> bool:
    moved = number[4:] + number[:4]
    return int("".join(str(int(character, 36)) for character in moved)) % 97 == 1


@lru_cache(maxsize=1)
def _has_long_number(text: str) -> bool:
    """Say whether eight digits follow one another; two finders ask this of the same text in turn."""
    encoded = text.encode("utf-8", "replace")
    digits = len(encoded) - len(encoded.translate(None, b"0123456789"))  # a tenth of the time of a search
    return digits >= _LEAST_DIGITS and _LONG_NUMBER.search(text) is not None


@cache
def _key_patterns() -> tuple[re.Pattern[str], ...]:
    from importlib import import_module

    detectors = [getattr(import_module(f"detect_secrets.plugins.{module}"), name)() for module, name in _DETECTORS]
    return (*(pattern for detector in detectors for pattern in detector.denylist), _MORE_KEYS)


_FINDERS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("secret", find_secret),  # first
    ("card_number", find_card),
    ("national_id", find_social_security),
    ("bank_account", find_iban),
)

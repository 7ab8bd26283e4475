"""Keys, card numbers and accounts are found; what only looks like them is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.core.filter_config import WellformedConfig
from seedbed.core.records import Candidate, Lineage
from seedbed.filters.personal_data import (
    find_card,
    find_iban,
    find_secret,
    find_social_security,
    passes_luhn,
    secret_or_personal,
)

# Parts are joined here so that no scanner takes this file for a leak.
LETTERS = "Zq7Rm2Wk9Tb4Yp6Nx3Vc8Lh5Jd1Gf0Sa"


@pytest.mark.parametrize(
    "text",
    [
        "use AKIA" + "Q3EGRTJ5LM2NPXWZ for it",
        "token: ghp_" + LETTERS + "Kw9e",
        "sk_live_" + LETTERS[:24],
        "AIza" + LETTERS + "Kw9",
        "sk-proj-" + LETTERS + "T3BlbkFJ" + LETTERS,
        "npm_" + LETTERS + "Kw9e",
        "hf_" + "QwErTyUiOpAsDfGhJkLzXcVbNmQwErTyUi",
        "-----BEGIN RSA PRIVATE KEY-----\n" + (LETTERS * 2 + "\n") * 4 + "-----END RSA PRIVATE KEY-----",
    ],
)
def test_keys_of_services_are_found(text: str) -> None:
    assert find_secret(text)


@pytest.mark.parametrize(
    "text",
    [
        "AKIA" + "IOSFODNN7EXAMPLE",
        "export TOKEN=ghp_" + "x" * 36,
        "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
        "password = 'hunter2'",
        "See SG. Also the xox game.",
        "The hash is d41d8cd98f00b204e9800998ecf8427e.",
    ],
)
def test_examples_and_ordinary_code_are_no_keys(text: str) -> None:
    assert find_secret(text) == ""


def test_a_card_number_counts_when_its_check_digit_holds() -> None:
    # 4539 1488 0343 6467: by hand, doubled every second digit from the right, the sum is 80.
    assert find_card("Card 4539 1488 0343 6467, valid to 12/27") == "4539 1488 0343 6467"
    assert find_card("Card 4539 1488 0343 6468") == ""
    assert find_card("my visa card is 4539148803436467") == "4539148803436467"


@pytest.mark.parametrize(
    "text",
    [
        "Card 4111 1111 1111 1111 is for tests",
        "The product is 4539148803436467.",
        "pi is 3.4539148803436467",
        "A series: 1000 2000 3000 4000",
        "Call +49 4539 1488 0343",
    ],
)
def test_other_long_numbers_are_no_cards(text: str) -> None:
    assert find_card(text) == ""


@given(st.text("0123456789", min_size=15, max_size=15))
def test_exactly_one_check_digit_passes_luhn(digits: str) -> None:
    assert sum(passes_luhn(digits + last) for last in "0123456789") == 1


def test_a_social_security_number_needs_its_name_and_a_number_that_was_issued() -> None:
    assert find_social_security("Her SSN is 536-22-8145.") == "536-22-8145"
    assert find_social_security("Part no. 536-22-8145") == ""
    assert find_social_security("SSN: 123-45-6789") == ""
    assert find_social_security("SSN: 666-45-6789 or 901-70-1234") == ""


def test_an_account_number_needs_its_check_digits() -> None:
    # DE68 2105 0170 0012 3456 78 is Germany's example in ECBS 204: its check digits hold.
    assert find_iban("Pay to DE68 2105 0170 0012 3456 78 today") == "DE68 2105 0170 0012 3456 78"
    assert find_iban("Pay to DE69 2105 0170 0012 3456 78 today") == ""
    assert find_iban("GB82 WEST 1234 5698 7654 32") == ""


def test_invented_people_may_have_mail_and_telephone() -> None:
    text = "Ann Roe, ann.roe@gmail.com, +1 (555) 014-2837, 12 Elm Street, born 3 May 1980, IP 93.184.216.34"
    row = Candidate.of("Extract the contact data.", text, text, lineage=Lineage(recipe="import"))
    assert secret_or_personal(row, WellformedConfig()) is None


def test_the_evidence_does_not_repeat_the_secret() -> None:
    row = Candidate.of("Say it.", "", "Card 4539 1488 0343 6467", lineage=Lineage(recipe="import"))
    found = secret_or_personal(row, WellformedConfig())
    assert found is not None
    assert "6467" not in found.evidence

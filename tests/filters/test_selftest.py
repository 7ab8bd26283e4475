"""The selftest measures what the rules find, and would show it if they found nothing."""

from seedbed.core.filter_config import ContaminationConfig
from seedbed.filters.contamination import ContaminationFilter
from seedbed.filters.references import Item, Reference
from seedbed.filters.selftest import Canary, SelftestTable, run_selftest, synthetic_reference

OWN = ContaminationConfig(digests=False)
VOCABULARY = [f"{first}{second} {first}{third}" for first in "bdfgklm" for second in "aeiou" for third in "rstvn"]
CLEAN = [("Describe a walk.", f"number {number} by the sea", "It was calm.") for number in range(50)]
MUST_BE_WHOLE = (
    Canary.VERBATIM,
    Canary.EMBEDDED,
    Canary.CASE,
    Canary.PUNCTUATION,
    Canary.UNICODE,
    Canary.LOOK_ALIKES,
    Canary.SHORT,
)


def measured(reference: Reference, known: Reference) -> SelftestTable:
    return run_selftest(ContaminationFilter(OWN, loaded=[known]), [reference], CLEAN)


def test_all_verbatim_embedded_and_altered_canaries_are_found() -> None:
    reference = synthetic_reference(VOCABULARY)
    table = measured(reference, reference)
    assert {canary: table.recall(canary) for canary in MUST_BE_WHOLE} == dict.fromkeys(MUST_BE_WHOLE, 1.0)
    replaced = (table.recall(Canary.REPLACED_21_TO_35), table.recall(Canary.REPLACED_FROM_36))
    assert replaced[0] is not None
    assert replaced[0] >= 0.8
    assert replaced[1] is not None
    assert replaced[1] >= 0.99
    assert (table.clean_rows, table.false_positives) == (50, 0)


def test_a_filter_that_knows_nothing_finds_nothing() -> None:
    table = measured(synthetic_reference(VOCABULARY), Reference("other", (Item(1, "something else altogether"),)))
    assert {one.found for one in table.recalls} == {0}


def test_the_rules_are_counted_apart() -> None:
    reference = synthetic_reference(VOCABULARY, items=60)
    verbatim = next(one for one in measured(reference, reference).recalls if one.canary is Canary.VERBATIM)
    assert verbatim.by_rule["equal_item"] == verbatim.planted
    assert 0 < verbatim.by_rule["shared_ngram"] < verbatim.planted


def test_clean_rows_that_are_not_clean_count_as_false_positives() -> None:
    reference = Reference("exam", (Item(1, "number 7 by the sea"),))
    table = run_selftest(ContaminationFilter(OWN, loaded=[reference]), [reference], CLEAN)
    assert (table.false_positives, table.false_by_rule["equal_item"]) == (1, 1)
    assert table.false_positive_share == 1 / 50


def test_a_selftest_is_repeatable() -> None:
    reference = synthetic_reference(VOCABULARY, items=30)
    assert measured(reference, reference) == measured(reference, reference)

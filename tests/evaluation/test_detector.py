"""The refusal detector's own error, on answers labelled by hand."""

import pytest
import scipy.stats

from seedbed.evaluation.detector import LabelledAnswer, detector_error, labelled_answers


def test_our_labelled_answers_are_enough_and_of_both_kinds() -> None:
    labelled = labelled_answers()
    assert len(labelled) >= 80
    assert 30 <= sum(one.is_refusal for one in labelled) <= len(labelled) - 30
    assert len({one.id for one in labelled}) == len({one.answer for one in labelled}) == len(labelled)


def test_precision_and_recall_are_counted_with_wilsons_intervals() -> None:
    answers = [("no way", True), ("no thanks", True), ("never", True), ("no cats here", False), ("a cat", False)]
    labelled = tuple(LabelledAnswer(id=text, answer=text, is_refusal=refused) for text, refused in answers)
    found = detector_error(lambda text: text.startswith("no "), labelled)
    # It finds three, two of them rightly, of three refusals.
    assert (found.answers, found.refusals) == (5, 3)
    assert (found.precision, found.recall) == pytest.approx((2 / 3, 2 / 3))
    expected = scipy.stats.binomtest(2, 3).proportion_ci(method="wilson")
    assert (found.recall_interval.low, found.recall_interval.high) == pytest.approx((expected.low, expected.high))


def test_a_detector_that_finds_nothing_has_no_precision_to_tell() -> None:
    found = detector_error(lambda _: False, labelled_answers())
    assert (found.recall, found.precision_interval.low, found.precision_interval.high) == (0.0, 0.0, 1.0)

"""Held-out categories stay out, however a row came to be one."""

from seedbed.core.records import Candidate, Lineage
from seedbed.filters.held_out import HeldOutFilter


def row(category: str = "", requested: str = "") -> Candidate:
    return Candidate.of(
        "Name a river in Europe.",
        "",
        "Danube",
        lineage=Lineage(recipe="alpaca"),
        category=category,
        requested_category=requested,
    )


def test_a_row_of_a_held_out_category_is_refused_under_any_label() -> None:
    found = HeldOutFilter({"planning"}).check(row(category="planning", requested="coding"))
    assert (found.accepted, found.reason, found.evidence) == (False, "held_out_category", ("planning",))


def test_a_row_that_was_asked_for_as_one_is_refused_too() -> None:
    assert HeldOutFilter({"planning"}).check(row(requested="planning")).reason == "held_out_category_requested"


def test_other_rows_pass() -> None:
    held_out = HeldOutFilter({"planning"})
    assert held_out.check(row("coding", "coding")).accepted
    assert held_out.check(row()).accepted

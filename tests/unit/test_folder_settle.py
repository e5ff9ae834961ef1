"""The ledger's patience, told with numbers instead of waiting."""

from __future__ import annotations

from engine.jobfiles.folder_settle import Ledger
from engine.jobfiles.safe_read import FileKey

ONE, TWO = FileKey(1, 1, 1, 1, 1), FileKey(1, 1, 2, 2, 2)


def taken(*paths: str) -> Ledger:
    """A ledger of files seen and read at second 0."""
    ledger = Ledger()
    ledger.observe(dict.fromkeys(paths, ONE), 0.0)
    for path in paths:
        ledger.took(path, ONE, "digest")
    return ledger


def test_each_change_begins_the_quiet_time_anew() -> None:
    """A file is due 200 ms after the last change that was seen."""
    ledger = Ledger()
    ledger.observe({"a": ONE}, 1.0)
    ledger.observe({"a": ONE}, 1.1)
    assert list(ledger.unread()) == [("a", ONE, 1.2)]
    ledger.observe({"a": TWO}, 1.15)
    assert list(ledger.unread()) == [("a", TWO, 1.15 + 0.2)]


def test_an_absence_counts_from_the_first_look_that_missed_it() -> None:
    """Two seconds later the file is gone, and then forgotten."""
    ledger = taken("a", "b")
    ledger.observe({"b": ONE}, 5.0)
    ledger.observe({"b": ONE}, 6.9)
    assert ledger.judge(6.9).gone == ()
    assert list(ledger.deadlines()) == [7.0]
    assert ledger.judge(7.0).gone == ("a",)
    assert ledger.judge(9.0).gone == () and list(ledger.entries) == ["b"]


def test_a_folder_that_was_away_gives_its_files_two_more_seconds() -> None:
    """What is missing after the return is absent since the return, and no longer suspect."""
    ledger = taken("a", "b")
    ledger.observe({}, 5.0, suspect=True)
    ledger.observe({"b": ONE}, 6.0)
    ledger.returned(6.0)
    assert ledger.judge(7.5).gone == ()
    verdict = ledger.judge(8.0)
    assert verdict.gone == ("a",) and verdict.held == ()


def test_few_removals_or_small_shares_are_no_accident() -> None:
    """Ten of ten go, and so do eleven of twenty-two; twelve of twenty-two are held."""
    for total, missing, held in ((10, 10, False), (22, 11, False), (22, 12, True)):
        paths = [f"{number:02}" for number in range(total)]
        ledger = taken(*paths)
        ledger.observe(dict.fromkeys(paths[missing:], ONE), 1.0)
        verdict = ledger.judge(3.0)
        assert (len(verdict.held) == missing) is held
        assert (len(verdict.gone) == missing) is not held


def test_confirmed_removals_go_at_once() -> None:
    """And a file that came back before is not among them."""
    ledger = taken("a", "b")
    ledger.observe({}, 1.0, suspect=True)
    assert ledger.judge(3.0).held == ("a", "b")
    ledger.observe({"b": ONE}, 4.0)
    assert ledger.confirm() == ("a",)
    assert list(ledger.deadlines()) == [0.0]
    assert ledger.judge(4.0).gone == ("a",)

"""`confrere explain`: what a warning or an error means, offline."""

from __future__ import annotations

import pytest

from journeys.command import Shell


def test_a_code_is_explained(shell: Shell) -> None:
    ran = shell("explain", "few-events")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("few-events")
    assert "What to do." in ran.out
    assert "near-separation" not in ran.out  # the next section


def test_an_error_is_explained_by_its_name_or_by_the_place_that_is_printed(shell: Shell) -> None:
    assert shell("explain", "ModelError").out == shell("explain", "errors.md#modelerror").out


def test_a_warning_is_explained_in_french(shell: Shell) -> None:
    assert "Moins de dix événements" in shell("explain", "few-events", "--lang", "fr").out
    assert shell("explain", "few-events", "--lang", "de").code == 2


def test_the_language_is_that_of_the_terminal(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Que faire." in shell("explain", "separation", "--language", "fr").out
    monkeypatch.setenv("LC_ALL", "fr_FR.UTF-8")
    assert "Que faire." in shell("explain", "separation").out
    assert "What to do." in shell("explain", "separation", "--language", "en").out
    assert "errors: " in shell("explain").out


def test_all_codes_are_listed(shell: Shell) -> None:
    ran = shell("explain")
    assert "warnings: few-events, " in ran.out
    assert "errors: " in ran.out
    assert "separation" in ran.out


def test_a_code_that_is_not_known(shell: Shell) -> None:
    ran = shell("explain", "few-event")
    assert ran.code == 2
    assert "did you mean 'few-events'?" in ran.err


def test_a_word_that_is_like_no_code_gets_the_list(shell: Shell) -> None:
    ran = shell("explain", "nonsense")
    assert ran.code == 2
    assert "did you mean" not in ran.err
    assert "few-events, " in ran.err

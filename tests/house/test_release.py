"""What goes with a release: constraints that fit what the package says it needs, and a valid bill of materials."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from federate import ROOT

EXTRAS = ("federation", "observability")  # which a federation of tests has


@pytest.fixture(scope="module")
def release() -> Iterator[Any]:
    """The script, which is beside the package and not in it."""
    pytest.importorskip("nvflare", reason="needs the extra `federation`")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        yield importlib.import_module("release")


@pytest.fixture(scope="module")
def pinned() -> dict[str, str]:
    """The versions of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def test_constraints_are_within_what_the_package_says(release: Any, pinned: dict[str, str]) -> None:
    assert list(pinned) == sorted(pinned)
    for requirement in map(Requirement, release.own()):
        version = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement} and {version}: write constraints.txt anew"


def test_constraints_are_whole(release: Any, pinned: dict[str, str]) -> None:
    """Everything that is needed here is pinned there, also what is needed by what is needed."""
    missing = set(release.needed(EXTRAS)) - set(pinned) - {"confrere"}
    assert not missing, "write constraints.txt anew: python scripts/release.py constraints"


def test_the_engine_is_pinned_to_one_version(release: Any, pinned: dict[str, str]) -> None:
    assert f"nvflare=={pinned['nvflare']}" in release.own()


def test_the_bill_of_materials_is_valid_and_whole(release: Any) -> None:
    pytest.importorskip("cyclonedx.validation.json")
    needed = release.needed(EXTRAS)
    bill = json.loads(release.written(release.bill(EXTRAS)))  # by the schema, or ValueError
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["component"]["name"] == "confrere"
    versions = {part["name"]: part["version"] for part in bill["components"]}
    assert versions == {name: it.version for name, it in needed.items() if name != "confrere"}
    below = {part["ref"]: set(part.get("dependsOn", ())) for part in bill["dependencies"]}
    (nvflare,) = [ref for ref in below if ref.startswith("pkg:pypi/nvflare@")]
    (own,) = [ref for ref in below if ref.startswith("pkg:pypi/confrere@")]
    assert nvflare in below[own]
    assert below[nvflare]


def test_a_bill_that_is_not_valid_is_an_error(release: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    validation = pytest.importorskip("cyclonedx.validation.json")
    monkeypatch.setattr(validation.JsonStrictValidator, "validate_str", lambda *_: "a wrong field")
    with pytest.raises(ValueError, match="a wrong field"):
        release.written(release.bill(EXTRAS))


def test_what_is_not_installed_is_named(release: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "own", lambda extras: ["nobody-has-this>=1"])
    with pytest.raises(SystemExit, match="nobody-has-this"):
        release.needed()

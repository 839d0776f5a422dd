"""What goes with a release: `constraints.txt`, the versions it was tested with, and a bill of materials (SBOM).

    python scripts/release.py constraints                 # writes constraints.txt from this environment
    python scripts/release.py sbom dist/confrere.cdx.json # writes and checks a CycloneDX 1.6 file of this environment

Both look at what `confrere[console,federation,observability,postgresql]` needs here, directly or not, and at nothing
else that is installed. Run them in the environment in which the tests of the release passed.
"""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Final, NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).parents[1]
CONSTRAINTS: Final = ROOT / "constraints.txt"
ROOTED: Final = "confrere"
EXTRAS: Final = ("console", "federation", "observability", "postgresql")
HEAD: Final = """\
# The versions that this release was tested with: pip install -c constraints.txt "confrere[federation]"
# Written by `python scripts/release.py constraints`; do not edit.
"""
LICENCE: Final = re.compile(r"[A-Za-z0-9.+() -]{1,100}")


class Needed(NamedTuple):
    """One package that is needed."""

    version: str
    licence: str  # as it says itself; "" where it does not
    below: frozenset[str]  # names of what it needs


def needed(extras: tuple[str, ...] = EXTRAS) -> dict[str, Needed]:
    """All that is needed, by name. SystemExit names what is not installed: a release is made where everything is."""
    direct = _wanted(own(extras), extras)
    below: dict[str, set[str]] = {ROOTED: {name for name, _ in direct}}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting, missing = direct, set()
    while waiting:
        name, wanted = waiting.pop()
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        try:
            asked = _wanted(distribution(name).requires or [], tuple(wanted))
        except PackageNotFoundError:
            missing.add(name)
            continue
        below.setdefault(name, set()).update(other for other, _ in asked)
        waiting += asked
    if missing:
        raise SystemExit(f"not installed, so nothing can be said of it: {', '.join(sorted(missing))}")
    return {name: _known(name, frozenset(names)) for name, names in sorted(below.items())}


def project() -> dict[str, Any]:
    """The table [project] of pyproject.toml, which an older installation may not have."""
    return dict(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"])


def own(extras: tuple[str, ...] = EXTRAS) -> list[str]:
    """The requirements of this package with these extras."""
    said = project()
    return [*said["dependencies"], *(line for extra in extras for line in said["optional-dependencies"][extra])]


def _wanted(lines: list[str], extras: tuple[str, ...]) -> list[tuple[str, frozenset[str]]]:
    """Of requirements those that hold on this machine with these extras: names, and the extras asked of them."""
    found = []
    for requirement in map(Requirement, lines):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            found.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    return found


def _known(name: str, below: frozenset[str]) -> Needed:
    if name == ROOTED:
        return Needed(project()["version"], project()["license"], below)
    it = distribution(name)
    said = str(it.metadata.get("License-Expression") or it.metadata.get("License") or "").strip()
    return Needed(it.version, said if LICENCE.fullmatch(said) else "", below)


def constraints() -> str:
    """The text of constraints.txt."""
    lines = [f"{name}=={it.version}" for name, it in needed().items() if name != ROOTED]
    return HEAD + "\n".join(lines) + "\n"


def bill(extras: tuple[str, ...] = EXTRAS) -> Any:
    """The bill of materials, as cyclonedx-python-lib has it."""
    from cyclonedx.model.bom import Bom

    packages = needed(extras)
    made = {name: _component(name, it) for name, it in packages.items()}
    bom = Bom()
    bom.metadata.component = made[ROOTED]
    for name, it in packages.items():
        if name != ROOTED:
            bom.components.add(made[name])
        bom.register_dependency(made[name], [made[other] for other in sorted(it.below)])
    return bom


def _component(name: str, it: Needed) -> Any:
    """One package: name, version, address in the index, licence."""
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.license import DisjunctiveLicense
    from packageurl import PackageURL

    address = PackageURL("pypi", None, name, it.version)
    return Component(
        name=name, version=it.version, purl=address, bom_ref=str(address),
        type=ComponentType.APPLICATION if name == ROOTED else ComponentType.LIBRARY,
        licenses=[DisjunctiveLicense(name=it.licence)] if it.licence else [],
    )  # fmt: skip


def written(bom: Any) -> str:
    """The bill as CycloneDX 1.6 in JSON. ValueError where it is not valid by the schema."""
    from cyclonedx.output.json import JsonV1Dot6
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = JsonV1Dot6(bom).output_as_string(indent=2)
    if wrong := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise ValueError(f"the bill of materials is not valid CycloneDX: {wrong}")
    return text + "\n"


def main(words: list[str]) -> None:
    """The command."""
    if words == ["constraints"]:
        CONSTRAINTS.write_text(constraints(), encoding="utf-8")
    elif len(words) == 2 and words[0] == "sbom":
        path = Path(words[1])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(written(bill()), encoding="utf-8")
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])

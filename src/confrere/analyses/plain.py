"""A finding as plain data and back, so that it can be kept in a file or sent to who asked for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from confrere.analyses.finding import Caution, Citation, Finding
from confrere.rounds import find, name_of


def frozen(finding: Finding) -> dict[str, Any]:
    """The finding as dicts, tuples, numbers, text and arrays."""
    plain = {f.name: _plain(getattr(finding, f.name)) for f in dataclasses.fields(finding) if f.name != "analysis"}
    # the wire sorts the keys of a dict, and the order of tables and columns says something
    plain["tables"] = tuple(
        (name, tuple(tuple((k, _plain(v)) for k, v in r.items()) for r in records))
        for name, records in finding.tables.items()
    )
    plain["facts"] = tuple((k, _plain(v)) for k, v in finding.facts.items())
    if finding.analysis is not None:
        plain["analysis"] = {
            "name": name_of(finding.analysis),
            "settings": _plain(finding.analysis),
        }
    return plain


def thawed(plain: Mapping[str, Any]) -> Finding:
    """The finding that `frozen` made plain."""
    fields = dict(plain)
    made = fields.pop("analysis", None)
    fields["tables"] = {name: [dict(r) for r in records] for name, records in fields["tables"]}
    fields["facts"] = dict(fields["facts"])
    fields["warnings"] = tuple(Caution(*one) for one in fields["warnings"])
    fields["cite"] = tuple(Citation(*one) for one in fields["cite"])
    analysis = msgspec.convert(made["settings"], find(made["name"])) if made else None
    return Finding(**fields, analysis=analysis)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return tuple(_plain(v) for v in value)
    if isinstance(value, np.ndarray):
        return value if value.dtype != np.dtype("int32") else value.astype(np.int64)
    return value

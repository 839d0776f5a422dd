"""The modules that a study may name: nothing but a name and hyper-parameters travels, and no code.

A module is a `torch.nn.Module` made of the sizes of what goes in and comes out and of its hyper-parameters:

    def mlp(sizes: Sizes, settings: Mapping[str, Any]) -> nn.Module

- Without bags: `forward(x)` gives scores (n, sizes.outputs) of people, from their standardised features x (n,
sizes.inputs).
- With bags: `forward(x, rows, of)`: `rows` (m, sizes.bag) are the rows of all these people's bags, one person after the
  other, and `of` (m,) int64 says whose each is, from 0 to n - 1. Everybody has a row at least; `sizes.inputs` may be 0.
  A module that weighs its rows has `attention(rows, of)`, (m,) weights that add up to 1 for each person: for heat maps.
  One that also learns from its rows has `beside(rows, of)`, a further loss of a batch.

Scores are on the scale of the loss: logits, logarithms of rates, log hazards. A module has parameters alone: running
statistics (BatchNorm) belong to one hospital, and have no place in a sum. Names of parameters are the names of layers,
of which `personal` may keep some in the hospital. Parameters are drawn by us from the study's seed (`training.begun`),
not by torch, whose numbers differ between versions.

Installed packages add modules with an entry point of the group `confrere.modules`, which names a `Kind`. Torch is
imported when a module is built, and not before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from confrere.errors import StudyError
from confrere.study.file import meant

if TYPE_CHECKING:
    from torch import nn

GROUP = "confrere.modules"


class Sizes(NamedTuple):
    """What goes into a module and comes out."""

    inputs: int  # standardised features of a person
    bag: int  # numbers in a row of the bags; 0 where there are none
    outputs: int  # scores of a person


class Setting(NamedTuple):
    """A hyper-parameter: its default, which says its type, and the least and the largest it may be.

    Of a tuple (such as the widths of layers) the limits are those of each of its numbers; of a text they do not count.
    """

    default: Any
    low: float = 0.0
    high: float = float("inf")


class Kind(NamedTuple):
    """A module of the catalogue. `build` is the function, or its address "package.module:function"."""

    build: str | Callable[[Sizes, Mapping[str, Any]], nn.Module]
    settings: Mapping[str, Setting] = {}
    bags: bool = False  # whether it reads bags


KINDS: Mapping[str, Kind] = {
    "linear": Kind("confrere.analyses.networks.tabular:linear"),
    "mlp": Kind(
        "confrere.analyses.networks.tabular:mlp",
        {"hidden": Setting((32,), 1, 16_384), "dropout": Setting(0.0, 0, 0.9)},
    ),
}


def names() -> tuple[str, ...]:
    """Every module that is installed."""
    from confrere.analyses.networks.catalogue_bags import KINDS as BAGS

    return tuple(sorted({*KINDS, *BAGS, *(e.name for e in entry_points(group=GROUP))}))


def kind_of(name: str) -> Kind:
    """The module of a name. StudyError where none is installed."""
    from confrere.analyses.networks.catalogue_bags import KINDS as BAGS

    found = {**BAGS, **KINDS}
    if name in found:
        return found[name]
    for e in entry_points(group=GROUP):
        if e.name == name:
            return cast(Kind, e.load())
    raise StudyError(f"module is {name!r}, which is not installed; {meant(name, names())}")


def settled(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The hyper-parameters of a module: those given, checked, and defaults. StudyError names key, rule and remedy."""
    known = kind_of(name).settings
    for key, value in given.items():
        if key not in known:
            raise StudyError(f"settings: {key!r} is nothing that the module {name!r} has; {meant(key, known)}")
        _check(key, value, known[key])
    made = {key: given.get(key, setting.default) for key, setting in known.items()}
    return {key: tuple(value) if isinstance(value, list) else value for key, value in made.items()}


def _check(key: str, value: Any, setting: Setting) -> None:
    one = setting.default
    if isinstance(one, str):
        if not isinstance(value, str):
            raise StudyError(f"settings: {key} is {value!r}; it must be a text, such as {one!r}")
        return
    several = isinstance(one, tuple)
    if several != isinstance(value, list | tuple):
        raise StudyError(f"settings: {key} is {value!r}; it must be like {list(one) if several else one!r}")
    kind = type(one[0] if several else one)
    for number in value if several else (value,):
        right = type(number) is kind or (kind is float and type(number) is int)
        if not right or not setting.low <= number <= setting.high:
            raise StudyError(
                f"settings: {key} has {number!r}; it must be {'a number' if kind is float else kind.__name__} from "
                f"{setting.low:g} to {setting.high:g}"
            )


def built(name: str, sizes: Sizes, given: Mapping[str, Any]) -> nn.Module:
    """A module with parameters alone. StudyError: not installed, a wrong hyper-parameter, running statistics."""
    kind, settings = kind_of(name), settled(name, given)
    make = kind.build
    if isinstance(make, str):
        where, _, what = make.partition(":")
        make = cast(Callable[[Sizes, Mapping[str, Any]], "nn.Module"], getattr(import_module(where), what))
    module = make(sizes, settings)
    if next(module.buffers(), None) is not None:
        raise StudyError(
            f"the module {name!r} keeps running statistics, which no sum can hold; use LayerNorm or GroupNorm in it"
        )
    return module


def needs_torch() -> None:
    """StudyError where torch is not installed here."""
    try:
        import_module("torch")
    except ImportError:
        raise StudyError(
            "networks need PyTorch, which is not installed here; install the extra: pip install 'confrere[networks]'"
        ) from None

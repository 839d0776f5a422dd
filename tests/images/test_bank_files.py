"""Files that are not what they are called, that are damaged, or that are much larger than they seem."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL.Image")

from PIL import EpsImagePlugin
from PIL import Image as PIL

from confrere.images import bank as bank_
from confrere.images import bank_pixels
from confrere.images.bank import Bank
from confrere.images.bank_cases import Cases
from confrere.images.bank_pixels import MOST, Unusable, cleaned, tone_of
from images.lesions import picture, png

BY = "Dr Martin"
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 200 200\n%%EndComments\n(run) print flush\nshowpage\n%%EOF\n"


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path, lambda event, **facts: None)


def saved(pixels: Any, kind: str) -> bytes:
    """A file of pixels."""
    out = io.BytesIO()
    PIL.fromarray(pixels).save(out, kind)
    return out.getvalue()


def tiff(*entries: tuple[int, int, int, int]) -> bytes:
    """A TIFF of tags alone."""
    tags = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + tags + bytes(4 + 64)


def test_a_file_of_another_kind_is_not_opened_whatever_it_is_called(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostScript would run as a program."""
    ran: list[object] = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *given, **_: ran.append(given))
    assert bank.add(EPS, "p1", BY, name="lesion.jpg").state == "quarantine"
    assert not ran
    for kind in ("GIF", "PPM", "TGA", "ICO", "PCX", "SGI", "JPEG2000", "EPS"):
        with pytest.raises(Unusable, match="no picture"):
            cleaned(saved(picture(1), kind))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "BMP"])
def test_the_kinds_that_cameras_write_are_taken(kind: str) -> None:
    assert cleaned(saved(picture(1), kind)).pixels.shape == (128, 128, 3)


@pytest.mark.parametrize("raw", [tiff(), tiff((256, 3, 1, 64)), tiff((256, 2, 9, 64), (257, 3, 1, 64))])
def test_a_damaged_file_ends_no_list(raw: bytes, bank: Bank) -> None:
    got = bank.add(raw, "p1", BY, name="a.tif")
    assert (got.state, "no picture" in got.why) == ("quarantine", True)
    assert bank.add(png(picture(1)), "p1", BY).state == "in"


@pytest.mark.parametrize("error", [RuntimeError, TypeError, NotImplementedError, KeyError, MemoryError])
def test_whatever_a_decoder_raises_is_quarantine(
    error: type[Exception], bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PIL.Image, "convert", lambda *_: (_ for _ in ()).throw(error("inside")))
    assert bank.add(png(picture(1)), "p1", BY).state == "quarantine"


def test_a_small_file_of_many_pixels_is_refused_before_they_are_made(bank: Bank) -> None:
    out = io.BytesIO()
    side = int(MOST**0.5) + 1
    PIL.new("P", (side, side)).save(out, "PNG")
    assert len(out.getvalue()) < 100_000
    assert "more than 50,000,000 pixels" in bank.add(out.getvalue(), "p1", BY).why


TAKEN = """
import io, sys
from PIL import Image
from confrere.images.bank import Bank
from pathlib import Path
out = io.BytesIO()
image = Image.new("P", (5000, 5000))
image.putpalette([0, 0, 0, 255, 220, 200])
image.paste(1, (0, 0, 2500, 5000))
image.save(out, "PNG")
del image
got = Bank(Path(sys.argv[1]), lambda event, **facts: None).add(out.getvalue(), "p1", "ada")
# of this program alone: what getrusage says of it is at least what its parent had when it was started
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(got.state, peak)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_the_largest_picture_takes_little_memory(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", TAKEN, str(tmp_path)], capture_output=True, text=True, check=True)
    state, kilobytes = done.stdout.split()
    assert state == "in"
    assert int(kilobytes) < 1_000_000


def test_the_tone_of_a_large_picture_is_that_of_a_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = picture(1, side=300)
    every = tone_of(pixels)
    monkeypatch.setattr(bank_pixels, "LOOKED", 4000)
    some = tone_of(pixels)
    assert every is not None
    assert some == pytest.approx(every, abs=1)


def test_one_colour_is_one_colour_whichever_it_is(bank: Bank) -> None:
    pixels = np.full((64, 64, 3), (230, 180, 160), np.uint8)
    assert "one colour" in bank.add(png(pixels), "p1", BY).why
    pixels[:32] += 4
    assert bank.add(png(pixels), "p1", BY).state == "in"


def test_files_are_read_outside_of_transactions(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large one takes seconds, for which everybody else would wait; and they are read once."""
    cases, reads = Cases(bank.store, lambda event, **facts: None), []
    image = bank.add(png(picture(1)), "p1", BY).image
    bank.consent(image, "discussing", BY)
    inner = bank_pixels.read

    def read(raw: bytes) -> Any:
        assert not bank.store._lock.locked()
        reads.append(raw)
        return inner(raw)

    monkeypatch.setattr(bank_pixels, "read", read)
    name = cases.begin(image, "What is it?", "ada", ("martin",), 2)
    reads.clear()
    cases.png(name, "martin")
    assert len(reads) == 1
    bank.pixels(image, "discussing")
    assert len(reads) == 2
    monkeypatch.setattr(bank_, "burned_in", lambda _: bank.store._lock.locked())
    assert bank.mask(image, [(0, 0, 20, 20)], BY).state == "in"

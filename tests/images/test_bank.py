"""The image bank: nothing beside the pixels, consents, what is held, what is lost when the machine stops: nothing."""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL.Image")

from PIL import Image as PIL

from confrere.data.bags import Bags, standing
from confrere.errors import DataError, Refused, StudyError
from confrere.hospital.home import Home
from confrere.images import bank_bags
from confrere.images.bank import PAINTED, TEXT, TWIN, Bank
from confrere.images.bank_cases import Cases
from confrere.images.bank_pixels import alike, cleaned, dhash, lab, painted, read, tone_name, tone_of, words
from confrere.images.bank_text import burned_in
from confrere.images.similar import similar
from confrere.images.skin import SKIN
from federate import SHARED
from images.lesions import jpeg, picture, png, written_on

BY = "Dr Martin"


class Told:
    """A ledger for tests."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, event: str, **facts: Any) -> None:
        self.entries.append((event, facts))


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def bank(tmp_path: Path, told: Told) -> Bank:
    return Bank(tmp_path, told)


def filled(bank: Bank, many: int = 4, uses: tuple[str, ...] = ("training",)) -> list[str]:
    """One picture for each of some people."""
    images = [bank.add(png(picture(i)), f"p{i}", BY, label="nevus").image for i in range(many)]
    for image in images:
        for use in uses:
            bank.consent(image, use, BY)
    return images


# in -----------------------------------------------------------------------------------------------------------


def test_the_pixels_stay_and_nothing_else(bank: Bank) -> None:
    exif = PIL.Exif()
    exif[0x010E], exif[0x9003] = "Jeanne Dupont, room 12", "2024:05:01 10:00:00"
    raw = jpeg(picture(1), exif=exif, comment=b"Jeanne Dupont") + b"Jeanne Dupont after the end"
    assert raw.count(b"Jeanne Dupont") == 3
    got = bank.add(raw, "p1", BY)
    (file,) = bank.store.pictures.iterdir()
    kept = file.read_bytes()
    assert b"Jeanne" not in kept
    assert kept[12:16] == b"IHDR"
    with PIL.open(io.BytesIO(kept)) as image:
        assert not image.info
        assert not image.getexif()
    with PIL.open(io.BytesIO(raw)) as image:
        assert np.array_equal(read(kept), np.asarray(image.convert("RGB")))
    assert got.state == "in"


def test_chunks_of_a_png_are_gone(bank: Bank) -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Patient", "Jeanne Dupont")
    info.add_itxt("XML:com.adobe.xmp", "<x>Jeanne Dupont</x>")
    raw = png(picture(1), pnginfo=info, dpi=(72, 72))
    assert b"Jeanne" in raw
    bank.add(raw, "p1", BY)
    (file,) = bank.store.pictures.iterdir()
    names = []
    data, at = file.read_bytes(), 8
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        names.append(data[at + 4 : at + 8])
        at += size + 12
    assert set(names) == {b"IHDR", b"IDAT", b"IEND"}


def test_a_picture_is_turned_as_its_exif_says_before_that_is_dropped() -> None:
    exif, pixels = PIL.Exif(), picture(1)
    exif[0x0112] = 6  # to be turned by 90 degrees
    assert np.array_equal(cleaned(png(pixels, exif=exif)).pixels, np.rot90(pixels, -1))


def test_what_lies_under_a_transparent_layer_is_gone() -> None:
    pixels = np.dstack([picture(1), np.full((128, 128), 255, np.uint8)])
    pixels[:64, :, 3] = 0
    assert not cleaned(png(pixels)).pixels[:64].any()


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "no picture"),
        (b"GIF89a" + b"\0" * 40, "no picture"),
        (jpeg(picture(1))[:900], "damaged"),
        (png(picture(1, side=20)), "20 x 20"),
        (png(np.zeros((64, 64, 3), np.uint8)), "one colour"),
        (png(np.zeros((1, 20_000, 3), np.uint8)), "20000 x 1"),
    ],
)
def test_what_is_no_picture_is_noted_with_the_reason(raw: bytes, why: str, bank: Bank, told: Told) -> None:
    got = bank.add(raw, "p1", BY, name="x.jpg")
    assert got.state == "quarantine"
    assert why in got.why
    assert [(name, why in said) for name, said in bank.check().quarantine] == [("x.jpg", True)]
    assert not bank.pictures()
    assert told.entries == [("image quarantined", {"by": BY, "why": got.why})]


def test_two_files_of_the_same_bytes_are_both_in_quarantine(bank: Bank) -> None:
    for name in ("a.jpg", "b.jpg"):
        bank.add(b"nothing", "p1", BY, name=name)
    assert [name for name, _ in bank.check().quarantine] == ["a.jpg", "b.jpg"]


def test_moving_pictures_and_bombs_are_refused(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    from confrere.images import bank_pixels

    frames, out = [PIL.fromarray(picture(i)) for i in range(3)], io.BytesIO()
    frames[0].save(out, "PNG", save_all=True, append_images=frames[1:])
    assert "3 frames" in bank.add(out.getvalue(), "p1", BY).why
    monkeypatch.setattr(bank_pixels, "MOST", 1000)
    assert "more than 1,000 pixels" in bank.add(png(picture(1)), "p1", BY).why


def test_files_are_for_their_owner_alone(bank: Bank) -> None:
    filled(bank, 1)
    (file,) = bank.store.pictures.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(bank.store.file.stat().st_mode) == 0o600
    assert stat.S_IMODE(bank.store.pictures.stat().st_mode) == 0o700


def test_the_ledger_knows_no_patient(bank: Bank, told: Told, tmp_path: Path) -> None:
    (image,) = filled(bank, 1)
    bank.revoke(image, "training", BY)
    bank.erase(image, BY)
    assert [event for event, _ in told.entries] == ["image added", "image consent", "image revoked", "image erased"]
    assert "p0" not in str([list(facts.values()) for _, facts in told.entries]).replace(image, "")


# text ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [(6, 4), (30, 270)])
@pytest.mark.parametrize("text", ["DUPONT J 12/03/1961", "ID 0042137"])
def test_burned_in_text_is_found(at: tuple[int, int], text: str) -> None:
    hits = [
        burned_in(written_on(picture(seed, side=300), text, at, size, colour))
        for seed in range(2) for size in (10, 14, 22) for colour in ("white", "black", "yellow")
    ]  # fmt: skip
    assert np.mean(hits) >= 0.9


def test_text_at_the_side_is_found_and_a_lesion_is_no_text() -> None:
    upright = np.rot90(written_on(picture(1, side=300), "DUPONT J 1961", (40, 4), 14))
    assert burned_in(upright)
    kinds = ("nevus", "melanoma", "keratosis", "vascular")
    assert np.mean([burned_in(picture(i, kinds[i % 4], side=200)) for i in range(40)]) <= 0.05


@pytest.mark.shared
def test_the_detector_on_dermoscopy() -> None:
    pd = pytest.importorskip("pandas")
    raws = pd.read_parquet(SHARED / "images" / "ham10000_64px.parquet").image_jpeg[::4]
    pixels = [cleaned(raw).pixels for raw in raws]
    assert np.mean([burned_in(p) for p in pixels]) <= 0.02
    large = [np.asarray(PIL.fromarray(p).resize((256, 256))) for p in pixels[:40]]
    assert np.mean([burned_in(written_on(p, "DUPONT J 12/03/1961", (5, 4), 12)) for p in large]) >= 0.9


def test_a_picture_with_text_is_held_until_somebody_looked(bank: Bank) -> None:
    got = bank.add(png(written_on(picture(1, side=300), "DUPONT J 1961", (6, 4), 14)), "p1", BY)
    assert (got.state, got.why) == ("held", TEXT)
    bank.consent(got.image, "training", BY)
    assert not bank.pictures("training")
    with pytest.raises(Refused, match="held"):
        bank.png(got.image, "training")
    bank.release(got.image, "Dr Durand")
    assert bank.pixels(got.image, "training").shape == (300, 300, 3)
    with pytest.raises(StudyError, match="not held"):
        bank.release(got.image, "Dr Durand")


# paint ---------------------------------------------------------------------------------------------------------

NAME = (0, 0, 200, 28)  # where `named` has its text


def named(seed: int = 1) -> Any:
    """A picture with a name burned in."""
    return written_on(picture(seed, side=300), "DUPONT J 1961", (6, 4), 14)


def test_text_is_painted_over_and_the_pixels_under_it_are_gone(bank: Bank, told: Told) -> None:
    got = bank.add(png(named()), "p1", BY)
    bank.consent(got.image, "training", BY)
    before = bank.file(got.image)
    masked = bank.mask(got.image, [NAME], "Dr Durand")
    assert (masked.image, masked.state, masked.why) == (got.image, "held", PAINTED)
    with pytest.raises(Refused):
        bank.pixels(got.image, "training")
    bank.release(got.image, "Dr Durand")  # who has looked at all of it
    after, pixels = bank.file(got.image), bank.pixels(got.image, "training")
    assert not before.exists()
    assert [file.name for file in after.parent.iterdir()] == [after.name]
    left, top, right, bottom = NAME
    assert len(np.unique(pixels[top:bottom, left:right].reshape(-1, 3), axis=0)) == 1
    kept = np.ones(pixels.shape[:2], dtype=bool)
    kept[top:bottom, left:right] = False
    assert (pixels[kept] == named()[kept]).all()
    (facts,) = [facts for event, facts in told.entries if event == "image masked"]
    assert facts["boxes"] == [list(NAME)]
    assert (facts["before"], f"{facts['after']}.png") == (before.name[:8], after.name)  # no hash to guess a name by
    assert not bank.check().damaged
    assert not bank.check().strays


def test_what_is_left_of_a_text_is_found_again(bank: Bank) -> None:
    got = bank.add(png(named()), "p1", BY)
    half = bank.mask(got.image, [(0, 0, 40, 28)], BY)
    assert (half.state, half.why) == ("held", TEXT)
    assert bank.mask(got.image, [(40, 0, 200, 28)], BY).why == PAINTED


def test_text_that_is_not_found_again_waits_for_somebody_to_look(bank: Bank) -> None:
    """Three letters that a box left, and text in the middle, where none is looked for."""
    pixels = written_on(picture(5, side=300), "DUPONT MARIE", (6, 4), 14)
    got = bank.add(png(written_on(pixels, "NEE 12/03/1961", (90, 150), 14)), "p1", BY)
    assert got.why == TEXT
    assert bank.mask(got.image, [(0, 0, 85, 28)], BY).state == "held"
    assert bank.mask(got.image, [(0, 0, 10, 10)], BY).state == "held"  # and again


def test_the_file_before_is_removed_also_after_a_stop(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    got = bank.add(png(named()), "p1", BY)
    before = bank.file(got.image)
    with monkeypatch.context() as stopped:
        stopped.setattr(Bank, "_sweep", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            bank.mask(got.image, [NAME], BY)
    assert before.exists()
    assert not bank.check().strays
    assert not before.exists()


def test_the_colour_is_not_that_of_the_text_nor_of_another_box() -> None:
    pixels = np.full((60, 60, 3), 150, dtype=np.uint8)
    pixels[:20] = 0
    made = painted(pixels, [(0, 0, 60, 10), (0, 10, 60, 20)])
    assert (made == 150).all()


def test_paint_does_not_hide_a_picture_of_another(bank: Bank) -> None:
    bank.add(png(picture(1, side=300)), "p1", BY)
    got = bank.add(png(picture(1, side=300)), "p2", BY)
    assert got.why == TWIN
    masked = bank.mask(got.image, [(0, 0, 300, 140)], BY)
    assert (masked.state, masked.why) == ("held", TWIN)
    text = bank.add(png(named()), "p3", BY)  # held for its text; looks like the others beneath it
    assert bank.mask(text.image, [NAME], BY).why == TWIN


def test_a_file_of_two_people_stays_for_the_other(bank: Bank) -> None:
    one, other = (bank.add(png(named()), person, BY).image for person in ("p1", "p2"))
    bank.mask(one, [NAME], BY)
    assert bank.file(other).exists()
    assert not bank.check().damaged


def test_a_picture_in_bags_that_is_painted_over_leaves_them_until_they_are_extracted(
    bank: Bank, tmp_path: Path
) -> None:
    images = filled(bank, 3)
    made = bank.bagged.extract(tmp_path / "images.bags", SKIN)
    assert bank.mask(images[1], [(0, 0, 30, 30)], BY).state == "in"
    assert Bags.open(made.folder).people == ("p0", "p2")
    assert "p1" not in made.table.read_text(encoding="utf-8")
    assert bank.bagged.extract(made.folder, SKIN).people == 3


@pytest.mark.parametrize(
    ("boxes", "said"),
    [
        ([], "what to paint over"),
        ([(0, 0, 129, 10)], "not within the picture"),
        ([(10, 0, 10, 10)], "not within the picture"),
        ([(-1, 0, 10, 10)], "not within the picture"),
        ([(0, 0, 128, 128)], "one colour alone"),
    ],
)
def test_a_box_that_cannot_be_changes_nothing(boxes: Any, said: str, bank: Bank) -> None:
    (image,) = filled(bank, 1)
    with pytest.raises(StudyError, match=said):
        bank.mask(image, boxes, BY)
    assert (bank.pixels(image, "training") == picture(0)).all()


def test_stopped_while_it_is_painted_over_a_picture_is_held_and_whole(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    (image,) = filled(bank, 1)

    def stopped(*_: Any) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(bank, "_why", stopped)
    with pytest.raises(KeyboardInterrupt):
        bank.mask(image, [(0, 0, 30, 30)], BY)
    assert not bank.pictures("training")
    assert not bank.check().damaged
    monkeypatch.undo()
    assert bank.mask(image, [(0, 0, 30, 30)], BY).state == "in"


# duplicates ---------------------------------------------------------------------------------------------------


def test_a_picture_that_was_changed_a_little_looks_the_same_and_others_do_not() -> None:
    originals = [picture(i, side=160) for i in range(30)]
    for other in (
        lambda p: np.asarray(PIL.open(io.BytesIO(jpeg(p))).convert("RGB")),
        lambda p: np.asarray(PIL.fromarray(p).resize((90, 90))),
        lambda p: np.clip(p * 1.15, 0, 255).astype(np.uint8),
        *(lambda p, n=n: np.ascontiguousarray(np.rot90(p, n)) for n in (1, 2, 3)),
        *(lambda p, n=n: np.ascontiguousarray(np.rot90(p, n)[:, ::-1]) for n in range(4)),
    ):
        found = [alike(words([dhash(p)]), words([dhash(other(p))])[0])[0] for p in originals]
        assert np.mean(found) >= 0.9
    hashes = words([dhash(p) for p in originals])
    assert not any(alike(hashes[:i], one).any() for i, one in enumerate(hashes))


def test_the_same_picture_again_is_known_and_that_of_another_is_held(bank: Bank) -> None:
    pixels = picture(1)
    one = bank.add(png(pixels), "p1", BY)
    again = bank.add(png(pixels, dpi=(300, 300)), "p1", BY)
    assert (again.image, again.state) == (one.image, "known")
    for other in (pixels, np.asarray(PIL.fromarray(pixels).resize((100, 100)))):
        got = bank.add(png(other), "p2", BY)
        assert (got.state, got.why) == ("held", TWIN)
    found = bank.check()
    assert [sorted(g) for g in found.groups] == [["p1", "p2"]]
    assert len(found.twins) == 1
    assert len(found.held) == 2


def test_pictures_of_one_person_may_look_alike(bank: Bank) -> None:
    pixels = picture(1)
    states = [bank.add(png(p), "p1", BY).state for p in (pixels, pixels[:, :127])]
    assert states == ["in", "in"]
    found = bank.check()
    assert len(found.twins) == 1
    assert not found.groups


# consents -----------------------------------------------------------------------------------------------------


def test_each_use_has_its_own_consent_and_history(bank: Bank) -> None:
    (image,) = filled(bank, 1, ())
    assert not bank.pictures("training")
    bank.consent(image, "training", BY)
    with pytest.raises(Refused, match="discussing"):
        bank.png(image, "discussing")
    bank.consent(image, "discussing", BY)
    bank.revoke(image, "training", "Dr Durand")
    bank.png(image, "discussing")
    with pytest.raises(Refused, match="training"):
        bank.png(image, "training")
    bank.consent(image, "training", BY)
    history = [(c.use, c.by, bool(c.revoked), c.revoked_by) for c in bank.consents(image)]
    assert history == [
        ("training", BY, True, "Dr Durand"), ("discussing", BY, False, ""), ("training", BY, False, ""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda b, i: b.consent(i, "selling", BY), "discussing or training"),
        (lambda b, i: b.consent("im-0", "training", BY), "there is no picture 'im-0'"),
        (lambda b, i: b.consent(i, "training", " "), "names nobody"),
        (lambda b, i: b.revoke(i, "training", BY), "no consent for training"),
        (lambda b, i: b.add(png(picture(3)), " ", BY), "the person"),
    ],
)
def test_what_is_wrong_is_said(wrong: Any, said: str, bank: Bank) -> None:
    (image,) = filled(bank, 1, ())
    with pytest.raises((StudyError, DataError), match=said):
        wrong(bank, image)


# bags ---------------------------------------------------------------------------------------------------------


def test_what_a_stopped_extraction_left_is_removed(bank: Bank, tmp_path: Path) -> None:
    filled(bank)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    folder = tmp_path / "out" / "images.bags"
    left, other = (folder.with_name(f".images.bags.{process}.new") for process in (gone.pid, os.getppid()))
    for half in (left, other):
        half.mkdir(parents=True)
    bank.bagged.extract(folder, SKIN)
    assert not left.exists()
    assert other.exists()  # that of a process that runs is its own


def test_what_is_revoked_is_in_no_bag_and_no_table_at_once(bank: Bank, tmp_path: Path) -> None:
    images = filled(bank)
    more = bank.add(png(picture(50)), "p0", BY, label="nevus").image
    bank.consent(more, "training", BY)
    folder = tmp_path / "out" / "images.bags"
    folder.parent.mkdir()
    got = bank.bagged.extract(folder, SKIN)
    before = Bags.open(folder)
    assert (got.images, got.people, got.size) == (5, 4, SKIN.size)
    assert before.about["encoder"] == "skin"
    bank.revoke(images[1], "training", BY)
    bank.revoke(images[0], "training", BY)
    after = Bags.open(folder)
    assert set(after.people) == {"p0", "p2", "p3"}
    (left,), both = after.of("p0"), before.of("p0")  # two of one second come in either order
    assert sorted([np.array_equal(left, both[0]), np.array_equal(left, both[1])]) == [False, True]
    assert np.array_equal(after.of("p3"), before.of("p3"))
    assert "p1" not in got.table.read_text(encoding="utf-8")
    assert not list(folder.parent.glob(".*"))
    bank.erase(images[2], BY)
    assert set(Bags.open(folder).people) == {"p0", "p3"}
    for image in (more, images[3]):
        bank.revoke(image, "training", BY)
    assert not folder.exists()
    assert not got.table.exists()


@pytest.mark.parametrize("moment", ["before the word", "after the word"])
def test_stopped_at_a_revocation_bags_are_missing_until_they_are_right(
    moment: str, bank: Bank, tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, folder = filled(bank), tmp_path / "images.bags"
    bank.bagged.extract(folder, SKIN)

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    if moment == "before the word":
        monkeypatch.setattr(bank, "_log", stop)
    monkeypatch.setattr(bank.bagged, "mend", stop)
    with pytest.raises(KeyboardInterrupt):
        bank.revoke(images[0], "training", BY)
    assert not folder.exists()
    again = Bank(tmp_path, told)
    again.check()
    gone = moment == "after the word"
    assert ("p0" in Bags.open(folder).people) is not gone


def test_another_process_cannot_make_bags_anew_before_the_word_is_written(
    bank: Bank, tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, folder = filled(bank), tmp_path / "images.bags"
    bank.bagged.extract(folder, SKIN)
    other = Thread(target=Bank(tmp_path, told).bagged.mend)

    def log(*_: Any, **__: Any) -> None:
        other.start()
        other.join(0.2)  # it waits for the transaction
        assert not folder.exists()

    monkeypatch.setattr(bank, "_log", log)
    bank.revoke(images[0], "training", BY)
    other.join()
    assert "p0" not in Bags.open(folder).people


def test_a_first_extraction_stopped_at_the_last_moment_leaves_nothing(
    bank: Bank, tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, folder = filled(bank), tmp_path / "images.bags"
    with monkeypatch.context() as patch:
        patch.setattr(bank_bags, "_aside", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            bank.bagged.extract(folder, SKIN)
    bank.revoke(images[0], "training", BY)
    left = folder.with_name(f".images.bags.{os.getpid()}.new")
    left.rename(left.with_name(".images.bags.999999999.new"))  # the process has ended
    Bank(tmp_path, told).bagged.mend()
    assert not list(tmp_path.glob("*.bags*"))
    assert not list(tmp_path.glob(".*"))


def test_who_has_pictures_of_several_kinds_has_no_label_and_is_counted(bank: Bank, tmp_path: Path) -> None:
    for i, (person, label) in enumerate(
        (("p1", "nevus"), ("p1", "melanoma"), ("p2", "nevus"), ("p2", "nevus"), ("p3", "nevus"), ("p3", ""), ("p4", ""))
    ):
        bank.consent(bank.add(png(picture(i)), person, BY, label=label).image, "training", BY)
    made = bank.bagged.extract(tmp_path / "images.bags", SKIN)
    assert (made.people, made.several, made.none) == (4, 1, 1)
    labels = dict(line.split(",")[:2] for line in made.table.read_text(encoding="utf-8").splitlines()[1:])
    assert labels == {"p1": "", "p2": "nevus", "p3": "nevus", "p4": ""}


def test_bags_of_others_are_not_written_over(bank: Bank, tmp_path: Path) -> None:
    filled(bank)
    for name in ("mine", "ours"):
        if name == "ours":
            bank.bagged.extract(tmp_path / "ours.bags", SKIN)
            shutil.rmtree(tmp_path / "ours.bags")  # then somebody makes one of the same name
        (tmp_path / f"{name}.bags").mkdir()
        with pytest.raises(StudyError, match="did not make it"):
            bank.bagged.extract(tmp_path / f"{name}.bags", SKIN)
    with pytest.raises(StudyError, match=r"ends in \.bags"):
        bank.bagged.extract(tmp_path / "mine", SKIN)


def test_nothing_to_extract_is_said(bank: Bank, tmp_path: Path) -> None:
    filled(bank, 2, ("discussing",))
    with pytest.raises(StudyError, match="no picture has a consent for training"):
        bank.bagged.extract(tmp_path / "images.bags", SKIN)


# nothing lost -------------------------------------------------------------------------------------------------


def test_stopped_between_file_and_row_nothing_is_half_there(
    bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bank, "_log", stop)
    with pytest.raises(KeyboardInterrupt):
        bank.add(png(picture(1)), "p1", BY)
    again = Bank(tmp_path, Told())
    assert again.check().strays == 1
    assert not again.pictures()
    assert again.add(png(picture(1)), "p1", BY).state == "in"
    assert again.check().strays == 0


def test_a_file_that_was_changed_is_found_and_mended_by_adding_it_again(bank: Bank) -> None:
    (image,) = filled(bank, 1)
    (file,) = bank.store.pictures.iterdir()
    file.write_bytes(png(picture(9)))
    assert bank.check().damaged == (image,)
    with pytest.raises(DataError, match="gone or changed"):
        bank.png(image, "training")
    file.unlink()
    bank.add(png(picture(0)), "p0", BY)
    assert not bank.check().damaged


def test_two_processes_add_and_none_is_lost(bank: Bank, tmp_path: Path) -> None:
    pids = []
    for part in range(2):
        if not (pid := os.fork()):
            mine = Bank(tmp_path, Told())
            for i in range(5):
                mine.add(png(picture(100 * part + i)), f"p{part}", BY)
            os._exit(0)
        pids.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0]
    assert len(bank.pictures()) == 10


# similar, tones -----------------------------------------------------------------------------------------------


def test_similar_pictures_are_those_of_others_by_distance(bank: Bank, tmp_path: Path) -> None:
    images = filled(bank, 8)
    mine = bank.add(png(picture(0)[:, :126]), "p0", BY).image
    bank.consent(mine, "training", BY)
    folder = tmp_path / "images.bags"
    bank.bagged.extract(folder, SKIN)
    found = similar(bank, images[0], folder, most=5)
    bags = Bags.open(folder)
    away = {p: np.linalg.norm(bags.of(p) - bags.of("p0")[0], axis=1).min() for p in bags.people if p != "p0"}
    assert [s.person for s in found] == sorted(away, key=lambda p: away[p])[:5]
    bank.revoke(images[3], "training", BY)
    assert "p3" not in {s.person for s in similar(bank, images[0], folder, most=8)}
    with pytest.raises(StudyError, match="is not in"):
        similar(bank, "im-0", folder)


def test_lab_is_that_of_the_standard() -> None:
    known = {(255, 255, 255): (100, 0, 0), (255, 0, 0): (53.24, 80.09, 67.20), (119, 119, 119): (50.03, 0, 0)}
    for rgb, expected in known.items():
        assert np.allclose(lab(np.array(rgb, dtype=np.uint8)), expected, atol=0.03)


@pytest.mark.parametrize(
    ("skin", "names"),
    [("light", {"light", "very light"}), ("intermediate", {"light", "intermediate", "tan"}), 
     ("brown", {"brown", "tan"}), ("dark", {"dark", "brown"})],
)  # fmt: skip
def test_tones_follow_the_skin(skin: str, names: set[str]) -> None:
    from confrere.images.lesions import lesion

    found = [tone_name(tone_of(lesion(np.random.default_rng(i), "nevus", skin))) for i in range(8)]
    assert sum(name in names for name in found) >= 7
    assert tone_of(np.zeros((64, 64, 3), np.uint8)) is None


# cases --------------------------------------------------------------------------------------------------------


@pytest.fixture
def cases(bank: Bank, told: Told) -> Cases:
    return Cases(bank.store, told)


def test_a_case_is_seen_by_those_invited_and_the_ledger_has_each_look(bank: Bank, cases: Cases, told: Told) -> None:
    (image,) = filled(bank, 1, ("discussing",))
    name = cases.begin(image, "Is this border regular?", "steward", ("martin", "durand"), days=2)
    cases.say(name, "durand", "I would take it out.")
    case = cases.show(name, "martin")
    assert [(c.who, c.text) for c in case.comments] == [("durand", "I would take it out.")]
    assert read(cases.png(name, "martin")).shape == (128, 128, 3)
    with pytest.raises(Refused):
        cases.show(name, "petit")
    cases.withdraw(name, "durand", "steward")
    with pytest.raises(Refused):
        cases.say(name, "durand", "And yet")
    looked = ["case opened", "case comment", "case shown", "case shown", "case withdrawn"]  # the page, and the picture
    assert [e for e, _ in told.entries][-5:] == looked
    assert cases.mine("durand") == ()
    assert [c.name for c in cases.mine("martin")] == [name]


def test_a_case_ends_with_its_time_its_consent_or_by_a_word(
    bank: Bank, cases: Cases, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = filled(bank, 3, ("discussing",))
    names = [cases.begin(i, "What is it?", "steward", ("martin",), days=1) for i in images]
    bank.revoke(images[0], "discussing", BY)
    cases.close(names[1], "steward")
    assert [c.name for c in cases.heads()] == names[2:]
    for name in names[:2]:
        with pytest.raises(Refused):
            cases.png(name, "martin")
    with bank.store.open() as db:
        db.execute("UPDATE cases SET expires = '2020-01-01T00:00:00Z'")
    with pytest.raises(Refused):
        cases.show(names[2], "martin")
    with bank.store.open() as db:
        assert not db.execute("SELECT * FROM comments").fetchall()
        assert not db.execute("SELECT * FROM cases").fetchall()


def test_a_case_past_its_day_is_erased_without_being_looked_at(tmp_path: Path) -> None:
    """By the hourly work of whatever serves the hospital."""
    home = Home.make(tmp_path / "h", "curie", {}, "")
    (image,) = filled(home.images, 1, ("discussing",))
    home.cases.begin(image, "What is it?", "steward", ("martin",), days=1)
    home.expire()
    with home.images.store.open() as db:
        assert db.execute("SELECT count(*) FROM cases").fetchone()[0] == 1
        db.execute("UPDATE cases SET expires = '2020-01-01T00:00:00Z'")
    home.expire()
    with home.images.store.open() as db:
        assert not db.execute("SELECT * FROM cases").fetchall()
    assert next(home.ledger.entries(event="case erased"))


def test_bags_written_anew_after_a_revocation_are_seen_to_be_others(bank: Bank, tmp_path: Path) -> None:
    """What a run under way is held to."""
    images = filled(bank, 3)
    folder = tmp_path / "images.bags"
    bank.bagged.extract(folder, SKIN)
    before = standing([folder])
    assert standing([folder]) == before
    bank.revoke(images[0], "training", BY)
    assert standing([folder]) != before
    assert standing([tmp_path / "none.bags"]) == (None,)


@pytest.mark.parametrize("given", [("", ("a",), 3), ("x", (), 3), ("x", ("a",), 0), ("x", ("a",), 91)])
def test_a_case_needs_title_readers_and_an_end(given: Any, bank: Bank, cases: Cases) -> None:
    (image,) = filled(bank, 1, ("discussing",))
    with pytest.raises(StudyError):
        cases.begin(image, given[0], "steward", *given[1:])


def test_no_case_without_consent(bank: Bank, cases: Cases) -> None:
    (image,) = filled(bank, 1, ("training",))
    with pytest.raises(Refused, match="discussing"):
        cases.begin(image, "What is it?", "steward", ("martin",))

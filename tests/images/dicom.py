"""A whole slide as DICOM files, one per level, as a scanner writes it: JPEG tiles in full rows (PS3.3, A.32.8)."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, generate_uid

TILE = 256
STORAGE = "1.2.840.10008.5.1.4.1.1.77.1.6"  # VL Whole Slide Microscopy Image Storage
Pixels = NDArray[np.uint8]


def write(folder: Path, pixels: Pixels, mpp: float | None) -> Path:
    """Write two levels, the second half as fine; the first file. `mpp` None: pixels of no size."""
    folder.mkdir(parents=True)
    height, width = pixels.shape[:2]
    half = np.asarray(Image.fromarray(pixels).resize((width // 2, height // 2), Image.Resampling.BOX))
    ids = [str(generate_uid()) for _ in range(3)]
    _level(folder / "1.dcm", pixels, mpp, "ORIGINAL", ids)
    _level(folder / "2.dcm", half, None if mpp is None else 2 * mpp, "DERIVED", ids)
    return folder / "1.dcm"


def _level(path: Path, pixels: Pixels, mpp: float | None, kind: str, ids: list[str]) -> None:
    found = Dataset()
    found.SOPClassUID, found.SOPInstanceUID = STORAGE, generate_uid()
    found.StudyInstanceUID, found.SeriesInstanceUID, found.FrameOfReferenceUID = ids
    found.Modality, found.InstanceNumber = "SM", int(path.stem)
    found.ImageType = [kind, "PRIMARY", "VOLUME", "NONE" if kind == "ORIGINAL" else "RESAMPLED"]
    found.SamplesPerPixel, found.PhotometricInterpretation, found.PlanarConfiguration = 3, "YBR_FULL_422", 0
    found.BitsAllocated, found.BitsStored, found.HighBit, found.PixelRepresentation = 8, 8, 7, 0
    found.Rows = found.Columns = TILE
    found.TotalPixelMatrixRows, found.TotalPixelMatrixColumns = pixels.shape[:2]
    found.DimensionOrganizationType, found.TotalPixelMatrixFocalPlanes = "TILED_FULL", 1
    found.NumberOfOpticalPaths = 1
    measures, groups, light = Dataset(), Dataset(), Dataset()
    if mpp is not None:
        measures.PixelSpacing = [mpp / 1000, mpp / 1000]  # millimetres
    groups.PixelMeasuresSequence, light.OpticalPathIdentifier = [measures], "1"
    found.SharedFunctionalGroupsSequence, found.OpticalPathSequence = [groups], [light]
    tiles = _tiles(pixels)
    found.NumberOfFrames, found.PixelData = len(tiles), encapsulate(tiles)
    found["PixelData"].is_undefined_length = True
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    found.file_meta.MediaStorageSOPClassUID, found.file_meta.MediaStorageSOPInstanceUID = STORAGE, found.SOPInstanceUID
    found.save_as(path, enforce_file_format=True)


def _tiles(pixels: Pixels) -> list[bytes]:
    """JPEG files of the tiles, row by row; what lies beyond the edge is white."""
    tiles = []
    for top in range(0, pixels.shape[0], TILE):
        for left in range(0, pixels.shape[1], TILE):
            part, whole = pixels[top : top + TILE, left : left + TILE], np.full((TILE, TILE, 3), 255, np.uint8)
            whole[: part.shape[0], : part.shape[1]] = part
            out = io.BytesIO()
            Image.fromarray(whole).save(out, "JPEG", quality=95, subsampling=0)
            tiles.append(out.getvalue())
    return tiles

"""Detection of truncated video files: the sizes in their headers against the size of the file."""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

_EBML, _SEGMENT = 0x1A45DFA3, 0x18538067
_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"moof", b"styp", b"sidx", b"pnot", b"uuid", b"meta")
_MAX_PARTS = 1 << 20


def is_cut_off(file: BinaryIO) -> bool:
    """Returns whether an MP4, MOV, Matroska, WebM or AVI file ends before its last part does.

    What is of no known kind, or was written by a recorder that did not know the length, counts as whole. The position
    in the file is restored.
    """
    size, begun = os.fstat(file.fileno()).st_size, file.tell()
    try:
        file.seek(0)
        head = file.read(12)
        if head[:4] == b"RIFF":
            return _find_end_of_riff(file, size) > size
        if head[4:8] in _BOXES:
            return _find_end_of_boxes(file, size) > size
        if head[:4] == _EBML.to_bytes(4, "big"):
            return _find_end_of_matroska(file, size) > size
        return False
    finally:
        file.seek(begun)


def _find_end_of_boxes(file: BinaryIO, size: int) -> int:
    """Returns the end of the last box of an MP4 or MOV file [bytes]."""
    place = 0
    for _ in range(_MAX_PARTS):
        if place >= size:
            break
        file.seek(place)
        head = file.read(16)
        if len(head) < 8:
            return place if head.strip(b"\0") == b"" else size + 1  # some writers pad with zeros
        length, kind = struct.unpack(">I4s", head[:8])
        if length == 1 and len(head) == 16:
            (length,) = struct.unpack(">Q", head[8:])
        if length == 0 or not kind.isalnum() or length < 8:  # length 0: up to the end of the file; otherwise not a box
            return size
        place += length
    return place


def _find_end_of_riff(file: BinaryIO, size: int) -> int:
    """Returns the end of the last RIFF chunk of an AVI file [bytes]; files of over 1 GB have several."""
    end = 0
    while end < size:
        file.seek(end + end % 2)
        head = file.read(8)
        if head[:4] != b"RIFF" or len(head) < 8:
            break
        (length,) = struct.unpack("<I", head[4:])
        if length in (0, 0xFFFFFFFF):  # the recorder did not write the length: it was not closed
            break
        end = file.tell() + length
    return end


def _find_end_of_matroska(file: BinaryIO, size: int) -> int:
    """Returns the end of a Matroska or WebM file's segment [bytes]; its beginning if the length is unknown."""
    file.seek(0)
    for _ in range(16):
        kind, length = _read_variable_length_int(file, keep_marker=True), _read_variable_length_int(file)
        if kind is None:
            return size
        if length is None:  # unknown (a live recording), or the header is cut off
            return size if kind == _SEGMENT else size + 1
        if kind == _SEGMENT:
            return file.tell() + length
        file.seek(length, os.SEEK_CUR)
    return size


def _read_variable_length_int(file: BinaryIO, keep_marker: bool = False) -> int | None:
    """Reads a number of variable length; None for "unknown" and at the end of the file."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    length = 9 - first[0].bit_length()
    rest = file.read(length - 1)
    if len(rest) < length - 1:
        return None
    value = int.from_bytes(first + rest, "big")
    if keep_marker:
        return value
    value -= 1 << (7 * length)
    return None if value == (1 << (7 * length)) - 1 else value

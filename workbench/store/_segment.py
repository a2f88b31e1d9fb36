"""A file of metrics lines: written through shared memory, so that a line is safe the moment it is copied there.

What a process has stored in a shared mapping belongs to the kernel: it is in the file when the process is killed in the
next instant, as after `os.write`, at a third less time a row. The file is therefore longer than what is in it while it
is written, by zeros; no line holds a zero byte, so the content ends at the first one, and a line whose copy was cut off
is the torn last line that readers know. `close` gives the room back.
"""

import errno
import mmap
import os
import shutil
import weakref
from collections.abc import Iterator
from pathlib import Path

_FIRST, _ROOM = 1 << 16, 1 << 20  # bytes of the first piece in memory, and of later ones
# A disk that is almost full is left alone: where blocks are copied on write (btrfs, zfs) a reservation may not hold,
# and storing into memory that has no disk behind it kills the process.
_MARGIN = 8 * _ROOM
_BLOCK = 1 << 18


class SegmentWriter:
    """Appends to a new file. `put` is the fast way: it raises `ValueError`, and writes nothing, when `write` must."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        self._folder, self._begin = path.parent, 0
        try:
            self._map(0, _FIRST)
        except OSError:
            os.close(self._fd)
            raise
        _OPEN.add(self)

    @property
    def closed(self) -> bool:
        """Whether nothing can be appended any more."""
        return self._fd < 0

    def write(self, lines: bytes) -> None:
        """Append whole lines, or nothing: raises `OSError` on a full disk, and `ValueError` when closed."""
        if self.closed:
            raise ValueError("the segment is closed")
        if self._window.tell() + len(lines) > len(self._window):
            self._map(self._begin + self._window.tell(), max(_ROOM, len(lines) + mmap.ALLOCATIONGRANULARITY))
        self.put(lines)

    def close(self) -> None:
        """Give back the room behind the last line; closing twice changes nothing."""
        if not self.closed:
            end = self._begin + self._window.tell()
            self._window.close()
            os.ftruncate(self._fd, end)
            self._disown()

    def _map(self, end: int, room: int) -> None:
        """Look at the file from the page that holds `end`, with `room` bytes that the disk has promised."""
        begin = end - end % mmap.ALLOCATIONGRANULARITY
        if shutil.disk_usage(self._folder).free < room + _MARGIN:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._folder))
        os.posix_fallocate(self._fd, begin, room)
        window = mmap.mmap(self._fd, room, offset=begin)
        window.seek(end - begin)
        self._begin, self._window, self.put = begin, window, window.write

    def _disown(self) -> None:
        """Close without a change of the file: in a forked child, which would write where its parent does."""
        _OPEN.discard(self)
        self._window.close()
        os.close(self._fd)
        self._fd = -1


_OPEN: "weakref.WeakSet[SegmentWriter]" = weakref.WeakSet()


def _disown_all() -> None:
    for segment in list(_OPEN):
        segment._disown()


os.register_at_fork(after_in_child=_disown_all)


def content_size(path: Path) -> int:
    """The bytes of a segment in front of the room that its writer keeps: zeros follow, so halving finds the border."""
    with path.open("rb") as file:
        low, high = 0, os.fstat(file.fileno()).st_size
        if not high or os.pread(file.fileno(), 1, high - 1) != b"\0":
            return high
        while low < high:
            middle = (low + high) // 2
            if os.pread(file.fileno(), 1, middle) == b"\0":
                high = middle
            else:
                low = middle + 1
        return low


def whole_lines(path: Path, start: int = 0) -> Iterator[bytes]:
    """The whole lines behind `start` in blocks, up to the first zero byte: what is behind it is still being written."""
    with path.open("rb") as file:
        file.seek(start)
        rest = b""
        while block := file.read(_BLOCK):
            written, zero, _ = block.partition(b"\0")
            lines, newline, rest = (rest + written).rpartition(b"\n")
            if newline:
                yield lines + newline
            if zero:
                return

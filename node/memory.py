"""The memory that the C library has handed out to this process, as it counts it (glibc only)."""

import ctypes
from dataclasses import dataclass

_MALLINFO = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"


class _Mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in _MALLINFO.split()]


@dataclass(frozen=True, slots=True)
class Heap:
    """Bytes in use and free, and into how many pieces each is cut."""

    used: int
    free: int
    chunks_used: int
    chunks_free: int


def heap() -> Heap | None:
    """Return the state of the heap; None where the C library does not tell it."""
    try:
        mallinfo = ctypes.CDLL(None).mallinfo2
    except AttributeError:
        return None
    mallinfo.restype = _Mallinfo2
    found = mallinfo()
    # a region of its own for each large piece, and one for all small ones
    return Heap(found.uordblks + found.hblkhd, found.fordblks, found.hblks + 1, found.ordblks)


def heap_report() -> str | None:
    """Return the state of the heap in detail, as XML (malloc_info); None where the C library has no such report."""
    library = ctypes.CDLL(None)
    try:
        malloc_info, open_memstream, close = library.malloc_info, library.open_memstream, library.fclose
    except AttributeError:
        return None
    open_memstream.restype = ctypes.c_void_p
    malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
    close.argtypes = [ctypes.c_void_p]
    text, size = ctypes.c_char_p(), ctypes.c_size_t()
    stream = open_memstream(ctypes.byref(text), ctypes.byref(size))
    if not stream:
        return None
    malloc_info(0, stream)
    close(stream)
    report = ctypes.string_at(text, size.value).decode()
    library.free(text)
    return report

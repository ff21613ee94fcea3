"""libcaloforge through its C interface: found where the environment or the package has it, or not there."""

from __future__ import annotations

import ctypes
import os
import weakref
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caloforge.foundations.errors import CaloforgeError, UsageError

__all__ = ["VARIABLE", "NativeModel", "NativeSampler", "library_path", "primaries"]

VARIABLE = "CALOFORGE_LIBRARY"
"""Names the library's file; empty to go without."""

BESIDE = Path(__file__).parents[1] / "lib" / "libcaloforge.so"

VERSION, EXTRAPOLATE, REPORT_BYTES = 1, 1, 400

PRIMARY = np.dtype(
    [(name, np.float32) for name in ("energy_MeV", "theta_rad", "phi_rad", "x_mm", "y_mm")]
    + [("pdg_id", np.int32)]
)


class _Hits(ctypes.Structure):
    _fields_ = (
        ("showers", ctypes.c_size_t),
        ("first", ctypes.POINTER(ctypes.c_size_t)),
        ("cell", ctypes.POINTER(ctypes.c_uint32)),
        ("energy_MeV", ctypes.POINTER(ctypes.c_float)),
        ("outside", ctypes.c_size_t),
    )


def library_path() -> Path | None:
    """Return where the library is, or None. Raises UsageError where the environment names none that is there."""
    named = os.environ.get(VARIABLE)
    if named is None:
        return BESIDE if BESIDE.is_file() else None
    if named and not Path(named).is_file():
        raise UsageError(f"{VARIABLE}: {named}: no such file")
    return Path(named) if named else None


@cache
def _library(path: Path) -> Any:
    try:
        library = ctypes.CDLL(str(path))
        version = library.caloforge_version()
    except (OSError, AttributeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise CaloforgeError(f"{path}: cannot be loaded as libcaloforge: {reason}") from None
    if version != VERSION:
        raise CaloforgeError(f"{path}: libcaloforge of version {version}, expected {VERSION}")
    pointer, size, word = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint64
    hits = ctypes.POINTER(_Hits)
    for name, result, arguments in (
        ("last_error", ctypes.c_char_p, []),
        ("open", pointer, [ctypes.c_char_p]),
        ("close", None, [pointer]),
        ("check", ctypes.c_int, [pointer, ctypes.c_char_p, size]),
        ("sampler_new", pointer, [pointer]),
        ("sampler_free", None, [pointer]),
        ("sample", ctypes.c_int, [pointer, pointer, size, word, word, ctypes.c_uint, hits]),
        ("sample_noise", ctypes.c_int, [pointer, pointer, size, pointer, ctypes.c_uint, hits]),
        ("images", ctypes.c_int, [hits, size, pointer]),
    ):
        function = getattr(library, f"caloforge_{name}")
        function.restype, function.argtypes = result, arguments
    return library


def primaries(
    energy_N: NDArray[Any],
    theta_N: NDArray[Any],
    phi_N: NDArray[Any],
    impact_N2: NDArray[Any],
    pdg_N: NDArray[Any],
) -> NDArray[np.void]:
    """Return conditions as the library takes them, one after another."""
    given = np.empty(len(energy_N), PRIMARY)
    columns = (energy_N, theta_N, phi_N, impact_N2[:, 0], impact_N2[:, 1], pdg_N)
    for name, values in zip(PRIMARY.names or (), columns, strict=True):
        given[name] = values
    return given


class NativeModel:
    """An open file, for any number of threads. Raises CaloforgeError where it is none, UsageError without the library."""

    def __init__(self, path: Path) -> None:
        found = library_path()
        if found is None:
            raise UsageError(
                f"libcaloforge is not there: build it with CMake and name its file in {VARIABLE}"
            )
        self.interface = _library(found)
        self.handle = self.interface.caloforge_open(os.fsencode(path))
        if not self.handle:
            raise CaloforgeError(last_error(self.interface))
        self._closed = weakref.finalize(self, self.interface.caloforge_close, self.handle)

    def check(self) -> str:
        """Make the golden showers, and return a line about them. Raises CaloforgeError where one is another."""
        report = ctypes.create_string_buffer(REPORT_BYTES)
        if self.interface.caloforge_check(self.handle, report, REPORT_BYTES):
            raise CaloforgeError(report.value.decode(errors="replace"))
        return report.value.decode(errors="replace")


class NativeSampler:
    """Makes showers of a model, in one thread."""

    def __init__(self, model: NativeModel) -> None:
        self._model, self._interface = model, model.interface
        self._handle = self._interface.caloforge_sampler_new(model.handle)
        if not self._handle:
            raise CaloforgeError(last_error(self._interface))
        # The model is kept until its samplers are gone.
        weakref.finalize(self, _free, model, self._handle)

    def of_seed(
        self, given: NDArray[np.void], seed: int, first: int, image: NDArray[np.float32]
    ) -> None:
        """Make showers ``first``, ``first + 1``, ... of a seed, as images (N, ...)."""
        hits = _Hits()
        data, count = _address(given), len(given)
        self._require(
            self._interface.caloforge_sample(self._handle, data, count, seed, first, EXTRAPOLATE, hits)
        )
        self._fill(hits, image)

    def of_noise(
        self, given: NDArray[np.void], noise_NL: NDArray[np.float32], image: NDArray[np.float32]
    ) -> None:
        """Make showers from standard normal noise, as images (N, ...)."""
        hits = _Hits()
        noise_NL = np.ascontiguousarray(noise_NL, np.float32)
        data, count, noise = _address(given), len(given), _address(noise_NL)
        self._require(
            self._interface.caloforge_sample_noise(self._handle, data, count, noise, EXTRAPOLATE, hits)
        )
        self._fill(hits, image)

    def _fill(self, hits: _Hits, image: NDArray[np.float32]) -> None:
        assert image.flags.c_contiguous
        cells = image[0].size if len(image) else 0
        self._require(self._interface.caloforge_images(hits, cells, _address(image)))

    def _require(self, status: int) -> None:
        if status:
            raise CaloforgeError(last_error(self._interface))


def last_error(library: Any) -> str:
    """Return why the last call of this thread failed."""
    text: bytes = library.caloforge_last_error()
    return text.decode(errors="replace")


def _address(values: NDArray[Any]) -> int:
    return values.ctypes.data


def _free(model: NativeModel, handle: int) -> None:
    model.interface.caloforge_sampler_free(handle)

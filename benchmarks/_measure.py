"""How all benchmarks measure: seconds, processors, memory, and the machine they were on."""

import importlib.metadata
import os
import platform
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import psutil


class Clock:
    """Wall seconds and processor seconds since it was made; `with Clock() as clock` stops it."""

    def __init__(self) -> None:
        self.begin = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        return time.perf_counter() - self.begin[0], time.process_time() - self.begin[1]

    def __enter__(self) -> "Clock":
        self.begin = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall, self.cpu = self.read()


class Timed(NamedTuple):
    """What a call took, and what it returned."""

    wall: float  # s
    cpu: float  # s, of all threads of this process
    result: Any


def timed(function: Callable, *args: Any, **kwargs: Any) -> Timed:
    """Call a function once."""
    with Clock() as clock:
        result = function(*args, **kwargs)
    return Timed(clock.wall, clock.cpu, result)


class Peak:
    """Most memory of this process in use beyond what it had at the start, in bytes."""

    def __enter__(self) -> "Peak":
        self.process, self.most, self.stop = psutil.Process(), 0, threading.Event()
        self.before = self.process.memory_info().rss
        self.watcher = threading.Thread(target=self.watch)
        self.watcher.start()
        return self

    def watch(self) -> None:
        while not self.stop.wait(0.005):
            self.most = max(self.most, self.process.memory_info().rss - self.before)

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.watcher.join()


def peak_mb() -> float:
    """Most memory that this program has held; `ru_maxrss` would hold that of its parent too."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # macOS: bytes


def machine() -> str:
    """Processor, cores and the versions that matter, in one line."""
    processor = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.split(": ")[1] for line in lines if line.startswith("model name")]
        processor = names[0] if names else processor
    packages = ("numpy", "scipy", "scikit-learn", "numba", "torch")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    python = platform.python_version()
    return f"{processor}, {os.cpu_count()} cores; Python {python}, {versions}; {blas()}"


def blas() -> str:
    """The library that multiplies matrices, as it was loaded."""
    import numpy  # noqa: F401  # loads it
    from threadpoolctl import threadpool_info

    names = set()
    for one in threadpool_info():
        if one["user_api"] == "blas":
            kernel = one.get("architecture", "unknown kernel")
            names.add(f"{one['internal_api']} {one['version']} ({kernel})")
    return ", ".join(sorted(names))

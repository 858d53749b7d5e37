"""Prints the CPython interpreters of this machine that Segue supports: the newest of each minor version.

Looks on the PATH (`python3.11` …) and among pyenv's versions. One path per line, oldest first.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST = (3, 11)
NEWEST = (3, 15)
VERSION = "import sys; print(sys.implementation.name, *sys.version_info[:3])"


def candidates() -> list[str]:
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    found = [str(path) for path in sorted(pyenv.glob("versions/*/bin/python"))]
    for minor in range(OLDEST[1], NEWEST[1] + 1):
        # pyenv's shims answer for versions that aren't chosen; the real ones were found above.
        path = shutil.which(f"python{OLDEST[0]}.{minor}")
        if path is not None and "shims" not in Path(path).parts:
            found.append(path)
    return [*found, sys.executable]


def version_of(interpreter: str) -> tuple[int, int, int] | None:
    """Its version, or None when it doesn't run, isn't CPython or isn't supported."""
    try:
        output = subprocess.run(
            [interpreter, "-c", VERSION], capture_output=True, text=True, timeout=30, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    implementation, *numbers = output.split()
    major, minor, patch = (int(number) for number in numbers)
    if implementation != "cpython" or not OLDEST <= (major, minor) <= NEWEST:
        return None
    return major, minor, patch


def main() -> None:
    best: dict[tuple[int, int], tuple[int, str]] = {}
    for interpreter in candidates():
        version = version_of(interpreter)
        if version is None:
            continue
        known = best.get(version[:2])
        # An interpreter built from source brings CPython's tests; it was listed first and wins a tie.
        if known is None or version[2] > known[0]:
            best[version[:2]] = (version[2], interpreter)
    for minor_version in sorted(best):
        print(best[minor_version][1])


if __name__ == "__main__":
    main()

"""The demo's web pages: SQLAlchemy's HTML documentation (239 pages, 39 MB), from its source package.

Fetched once with pip into a folder of the caller's choice. Nothing of the package is installed or imported.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "sqlalchemy==2.1.9"


def fetch(folder: Path) -> Path:
    """Makes sure that `folder` holds the pages; returns it. RuntimeError with pip's words if pip fails."""
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
        ]
        command += ["--no-binary", "sqlalchemy", "--dest", scratch, PACKAGE]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"could not download the demo's pages ({PACKAGE}) with pip:\n{done.stderr}")
        (archive,) = Path(scratch).glob("*.tar.gz")
        unpacked = Path(scratch) / "pages"
        count = extract_pages(archive, unpacked)
        if count < 200:
            raise RuntimeError(
                f"{archive.name} has {count} HTML pages under doc/; the demo needs a few hundred"
            )
        unpacked.rename(folder)
    return folder


def extract_pages(archive: Path, target: Path) -> int:
    """Writes every doc/**/*.html of the source archive under `target`; returns how many there were."""
    count = 0
    with tarfile.open(archive) as source:
        for member in source:
            name = Path(*Path(member.name).parts[1:])  # without the package's own folder
            if not (
                member.isfile()
                and name.suffix == ".html"
                and name.parts[0] == "doc"
                and ".." not in name.parts
            ):
                continue
            content = source.extractfile(member)
            if content is None:
                continue
            page = target / name.relative_to("doc")
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_bytes(content.read())
            count += 1
    return count

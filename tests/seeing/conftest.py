from __future__ import annotations

from pathlib import Path

import pytest

from segue import _core


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of a crawler with some hundred tasks."""
    path = tmp_path_factory.mktemp("recordings") / "small.segue"
    _core._synthetic_recording(str(path), 300)
    return path


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a hundred thousand."""
    path = tmp_path_factory.mktemp("recordings") / "crawl.segue"
    _core._synthetic_recording(str(path), 100_000)
    return path

"""Fixtures for every test: a fresh workspace and the real command."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builder import Pit


@pytest.fixture
def pit(tmp_path: Path) -> Pit:
    """An empty workspace with the real command."""
    return Pit(tmp_path)

"""A filled store for the tests of the pages, and the warning that a library beneath them cannot help."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from example_store import PAPERS, TOY, fill, named_studies

from apps.source import Source


@pytest.fixture(scope="session")
def filled(tmp_path_factory):
    """The path of a filled store, and the ids of its runs."""
    path = tmp_path_factory.mktemp("store")
    with named_studies(PAPERS, TOY):
        ids = fill(path)
    return path, ids


@pytest.fixture
def source(filled):
    """The example store as the pages see it, with the papers of the tests in the catalogue."""
    with named_studies(PAPERS, TOY):
        source = Source(filled[0])
        yield source
        source.log.close()

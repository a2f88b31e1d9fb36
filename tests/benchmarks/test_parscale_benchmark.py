"""The settings of benchmarks/parscale.py: none stands twice, and all rows of streams have those to be held against."""

import dataclasses
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import parscale as benchmark


def test_streams_stand_beside_one_stream_with_and_without_their_prefix():
    cells = list(benchmark.cells())
    assert len(set(cells)) == len(cells)
    for cell in cells:
        if cell.arm.streams > 1:
            plain = benchmark.Cell(benchmark.PLAIN, cell.hidden_dim, cell.second, two_stages=cell.two_stages)
            assert plain in cells
            if cell.two_stages:
                assert dataclasses.replace(cell, arm=dataclasses.replace(cell.arm, streams=1)) in cells

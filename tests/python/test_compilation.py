"""Compiled loops and the files that numba keeps of them: without these, or with damaged ones, results are the same."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

COUNT = """
import numpy
from scrae.pp import moments
n = numpy.zeros(3, int)
moments._count(n, n)
print(n, moments._count.stats.cache_hits.total())
"""


def counted(cache):
    """What the loop gives, and whether its compiled code was read from the cache: in a process of its own."""
    environment = os.environ | {
        "NUMBA_CACHE_DIR": str(cache),
        "NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator",
    }
    run = subprocess.run([sys.executable, "-c", COUNT], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout.strip()


def emptied(path):
    path.write_bytes(b"")


def cut_short(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def overwritten(path):
    path.write_bytes(b"\x80\x04" + bytes(range(256)))


def in_the_way(path):
    path.unlink()
    path.mkdir()


@pytest.mark.slow
@pytest.mark.parametrize("damage", [emptied, cut_short, overwritten])
@pytest.mark.parametrize("kind", ["nbi", "nbc"])
def test_damaged_files_of_compiled_code_change_nothing_and_are_replaced(tmp_path, kind, damage):
    assert counted(tmp_path) == "[3 0 0] 0"
    assert counted(tmp_path) == "[3 0 0] 1"
    (kept,) = tmp_path.rglob(f"*_count-*.{kind}")
    damage(kept)
    assert counted(tmp_path) == "[3 0 0] 0"
    assert counted(tmp_path) == "[3 0 0] 1"


@pytest.mark.slow
def test_where_compiled_code_can_no_longer_be_written_it_is_done_without(tmp_path):
    assert counted(tmp_path) == "[3 0 0] 0"
    (index,) = tmp_path.rglob("*_count-*.nbi")
    index.unlink()
    index.mkdir()
    assert counted(tmp_path) == "[3 0 0] 0"


# Loops of scanpy, of umap and of pynndescent, many of which are compiled when they are imported.
OF_OTHERS = """
import anndata, numpy
import scrae
from numba.core.caching import Cache
before = Cache.load_overload, Cache.save_overload
rng = numpy.random.default_rng(0)
points = rng.normal(size=({n}, 5)).astype("float32")
print(len(set(scrae.metrics.leiden(points))), end=" ")
cells = anndata.AnnData(rng.poisson(1.0, (50, 40)).astype("float32"))
print(scrae.metrics.scaled_pca(cells, 3).shape)
assert before == (Cache.load_overload, Cache.save_overload), "numba is not as it was"
"""


def of_others(cache, n):
    environment = os.environ | {
        "NUMBA_CACHE_DIR": str(cache),
        "NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator",
    }
    code = OF_OTHERS.replace("{n}", str(n))
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout.strip()


@pytest.mark.slow
def test_damaged_files_of_the_loops_of_other_packages_change_nothing_and_are_replaced(tmp_path):
    expected = of_others(tmp_path, 300)
    kept = sorted(tmp_path.rglob("*.nbi"))
    assert {"umap", "pynndescent", "preprocessing"} <= {path.parent.name.split("_")[0] for path in kept}, kept
    for path in kept:
        path.write_bytes(b"")
    assert of_others(tmp_path, 300) == expected
    assert all(path.stat().st_size for path in kept)

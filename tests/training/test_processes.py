"""Several processes train what one does: the same weights from the same parts of each batch."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="torch needs the train extra")

from metatrack.training.loading import Share  # noqa: E402
from metatrack.training.matching import train_matching  # noqa: E402
from metatrack.training.processes import ProcessGroup, split  # noqa: E402
from metatrack.training.run import check_parts  # noqa: E402
from metatrack.training.sampling import Pair  # noqa: E402
from tests.conftest import REPOSITORY, torch_threads  # noqa: E402
from tests.training.test_run import matching_config, read  # noqa: E402

SETTINGS = dict(iterations=3, batch=4, parts=2, validate_every=3, precision="float32", freeze_norms=True, threads=1)


@pytest.mark.slow
def test_two_processes_give_the_weights_of_one(data, tmp_path) -> None:
    with torch_threads(1):
        assert train_matching(matching_config(data, tmp_path / "one", **SETTINGS)).finished
    options = {**SETTINGS, "trunk": "paper", "val-clips": 1, "workers": 0}
    options |= {"mix": data / "train.json", "val-mix": data / "val.json", "out": tmp_path / "two"}
    named = {name.replace("_", "-"): value for name, value in options.items()}
    flags = [f"--{name}" if value is True else f"--{name}={value}" for name, value in named.items()]
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "metatrack"]
    paths = os.pathsep.join([str(REPOSITORY / "src"), str(REPOSITORY)])
    done = subprocess.run(
        [*words, "train", "matching", *flags],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (read(tmp_path / name) for name in ("one", "two"))
    assert one["step"] == two["step"] == 3
    for name, value in one["network"].items():
        assert torch.allclose(value.float(), two["network"][name].float(), atol=1e-6), name
    start = read(tmp_path / "one", "best.pt")["network"]
    assert start.keys() == read(tmp_path / "two", "best.pt")["network"].keys()
    assert done.stdout.count("precision ") == 1 and "best weights on validation" in done.stdout


@pytest.mark.parametrize(("batch", "parts", "size"), [(4, 1, 2), (4, 3, 1), (4, 0, 1), (6, 4, 2)])
def test_batches_that_cannot_be_shared(batch, parts, size) -> None:
    with pytest.raises(ValueError, match=f"a batch of {batch} in {parts} parts cannot be shared by {size} processes"):
        check_parts(SimpleNamespace(batch=batch, parts=parts), size)  # type: ignore[arg-type]


def test_parts_and_shares_are_the_whole() -> None:
    batch = Pair(*(torch.arange(4 * n).reshape(4, n) for n in (1, 2, 3, 4)))
    parts = split(batch, 2)
    assert all(torch.equal(torch.cat([a, b]), whole) for a, b, whole in zip(*parts, batch, strict=True))
    assert split([1, 2, 3, 4], 2) == [[1, 2], [3, 4]] and split(batch, 1) == [batch]
    shares = [[Share(4, rank, 2).number(i) for i in range(4)] for rank in (0, 1)]
    assert shares == [[0, 1, 4, 5], [2, 3, 6, 7]]


def test_alone_nothing_is_exchanged() -> None:
    alone, one = ProcessGroup(0, 1), torch.ones(2)
    alone.sum([one])
    assert torch.equal(one, torch.ones(2)) and alone.any(True) and not alone.any(False)
    alone.require_same(3, "the step")

"""The rows of an audit, made in processes of Ray: the same as in one process, and in the same order.

Plain actors and not Ray Data: a row depends on the images that share its batch, so whole chunks are handed out, and what comes
back is put in their order. Ray starts an actor that died again, and the chunks that it had.
"""

from __future__ import annotations

import logging
import math
import os
import pickle
import platform
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

from pytest_gradcam.cam.sending import needs, packed, unpacked
from pytest_gradcam.data.case import Cases
from pytest_gradcam.data.plan import Plan, Row, alike
from pytest_gradcam.data.worker import CHUNK, Chunk, Worker, chunks, made_by
from pytest_gradcam.errors import GradcamWarning, HeatmapError, said
from pytest_gradcam.questions.explained_model import ExplainedModel

_TOGETHER = 4  # chunks that an actor gets at once: it reads the second while it explains the first
_AHEAD = 4  # handfuls an actor that may wait for an older one to be written
_PATIENCE = 300  # seconds
_RETRIES = 3  # actors that may die of the same chunks
_NO_STATISTICS = "RAY_USAGE_STATS_ENABLED"


@dataclass(frozen=True)
class Work:
    """What an actor needs to make rows, and the rows of one chunk, by which it shows that it makes the same as this process."""

    model: bytes
    threads: int
    by: dict[str, str | None]
    exact: bool
    plan: Plan
    chunk: bytes
    rows: list[Row]
    folder: str
    modules: list[str]


class RowMaker:
    """Makes rows in a process of its own. Its methods raise HeatmapError if it would not make the same rows.

    The work comes with each call, and not when it begins: Ray lets go of what an actor began with, and one that starts again
    needs it. It comes in a list, so that it is fetched once only.
    """

    _worker: Worker | None = None

    def ready(self, work: list[Any]) -> None:
        """Returns once the model is there, and makes the rows that are known."""
        self._worker = self._worker or _proved(installed().get(work[0]))

    def rows(self, work: list[Any], several: bytes) -> list[list[Row]]:
        """The rows of each of several chunks."""
        self.ready(work)
        assert self._worker is not None
        return list(self._worker.rows(_cases(several)))


def _proved(work: Work) -> Worker:
    """What makes the rows, in the process of an actor. Raises HeatmapError if they would not be the same."""
    sys.path += [each for each in work.modules if each not in sys.path]
    if os.path.isdir(work.folder):
        os.chdir(work.folder)  # for paths that are relative
    model = unpacked(work.model, work.threads)
    worker = Worker(model, work.plan)
    where = f"on {platform.node() or 'a machine'}"
    if (by := made_by(model)) != work.by:
        differing = ", ".join(name for name in work.by if by.get(name) != work.by[name])
        raise HeatmapError(
            f"a worker {where} has another model than this process: another {differing}; expected the same files and "
            "packages on every machine"
        )
    [again] = worker.rows(_cases(work.chunk))
    if not alike(work.rows, again, exact=work.exact):
        raise HeatmapError(
            f"a worker {where} makes other rows than this process of case {_first_other(work.rows, again)!r}; expected the "
            "same packages, files and kind of processor on every machine. Compare them, or use engine='local'"
        )
    return worker


def installed() -> Any:
    """The module ray. Raises HeatmapError that names the extra where it is missing."""
    try:
        return import_module("ray")
    except ImportError:
        raise HeatmapError(
            "engine='ray' needs Ray, which is not installed; install the extra: pip install 'pytest-gradcam[ray]'"
        ) from None


def rows(model: ExplainedModel, plan: Plan, cases: Cases, known: list[Row] | None, first: int) -> Iterator[list[Row]]:
    """The rows of each chunk from this number on, in order; `known` are those of the chunk before, None where there is none.

    The first chunk of all is made in this process, so that each actor can be held against it.
    Raises HeatmapError where the model cannot be sent, and for actors that keep dying or would make other rows.
    """
    if known is None:
        [known] = Worker(model, plan).rows(islice(chunks(cases), 1))
        yield known
        first = 1
    total = math.ceil(len(cases) / CHUNK)
    if first >= total:
        return
    ray = installed()
    threads, cuda = needs(model)
    work = Work(
        packed(model, ray.cloudpickle),
        threads,
        made_by(model),
        model.engine.exact,
        plan,
        _sendable(ray, islice(chunks(cases, first - 1), 1)),
        known,
        os.getcwd(),
        [str(Path(each).absolute()) for each in sys.path],
    )
    with _started(ray):
        sent = [ray.put(work)]  # held until the end
        makers = _makers(ray, threads, cuda)
        source = chunks(cases, first)
        handfuls = (_sendable(ray, islice(source, _TOGETHER)) for _ in range(first, total, _TOGETHER))
        try:
            for several in _in_order(ray, makers, sent, handfuls, math.ceil((total - first) / _TOGETHER)):
                yield from several
        finally:
            for maker in makers:
                ray.kill(maker)


def _in_order(
    ray: Any, makers: Sequence[Any], work: list[Any], handfuls: Iterator[bytes], total: int
) -> Iterator[list[list[Row]]]:
    """What the makers make of each handful, in order. Who has finished one gets the next."""
    begun = written = 0
    at_work = {maker.ready.remote(work): (-1, maker) for maker in makers}
    idle: list[Any] = []
    done: dict[int, list[list[Row]]] = {}
    while written < total:
        ready, _ = ray.wait(list(at_work), timeout=_PATIENCE)
        if not ready:
            warnings.warn(
                f"no worker of Ray has answered for {_PATIENCE} s: they may wait for processors or GPUs that others hold, or be "
                "slow; look at ray.available_resources()",
                GradcamWarning,
                stacklevel=2,
            )
            continue
        [ended] = ready
        number, maker = at_work.pop(ended)
        found = _got(ray, ended)
        idle.append(maker)
        if number >= 0:
            done[number] = found
        while written in done:
            yield done.pop(written)
            written += 1
        while idle and begun < min(total, written + _AHEAD * len(makers)):
            maker = idle.pop()
            at_work[maker.rows.remote(work, next(handfuls))] = begun, maker
            begun += 1


def _got(ray: Any, answer: Any) -> Any:
    try:
        return ray.get(answer)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None  # as it would be raised in this process
    except ray.exceptions.RayError as error:
        reason = next(iter(str(error).splitlines()), "")
        raise HeatmapError(
            f"over the same images workers of Ray died {_RETRIES + 1} times ({type(error).__name__}: {reason:.200}); "
            "their memory may be too small. The rows before these are kept where rows= was passed: an audit with "
            "engine='local' goes on from there, and shows what ends it"
        ) from None


def _makers(ray: Any, threads: int, cuda: bool) -> list[Any]:
    """An actor for each GPU, or for each `threads` processors."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if cuda:
        share = {"num_cpus": 1, "num_gpus": 1}
        count = sum(int(min(node.get("GPU", 0), node.get("CPU", 0))) for node in nodes)
    else:
        cpus = max(1, min(threads, max((int(node.get("CPU", 0)) for node in nodes), default=0)))
        share = {"num_cpus": cpus, "num_gpus": 0}
        count = sum(int(node.get("CPU", 0) // cpus) for node in nodes)
    if not count:
        what = "GPU, and the model is on one" if cuda else "CPU"
        raise HeatmapError(f"Ray has no {what}; check ray.cluster_resources(), and where the model is")
    actor = ray.remote(RowMaker).options(max_restarts=-1, max_task_retries=_RETRIES, **share)
    return [actor.remote() for _ in range(count)]


@contextmanager
def _started(ray: Any) -> Iterator[None]:
    """Inside, Ray runs: as the caller started it, or else with a cluster that is found, or one of this machine alone."""
    if ray.is_initialized():
        yield
        return
    before = os.environ.get(_NO_STATISTICS)
    os.environ[_NO_STATISTICS] = "0"
    try:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        yield
    finally:
        ray.shutdown()
        os.environ.pop(_NO_STATISTICS)
        if before is not None:
            os.environ[_NO_STATISTICS] = before


def _sendable(ray: Any, found: Iterator[Chunk]) -> bytes:
    """The chunks as bytes. Raises HeatmapError for a case that cannot be sent."""
    several = list(found)
    try:
        return bytes(ray.cloudpickle.dumps(several))
    except Exception as error:  # of any object of the user's
        raise HeatmapError(
            f"the cases from {several[0][0][1].name!r} on cannot be sent to another process: {said(error)}; "
            "pass paths, or callables that open what they read"
        ) from None


def _cases(several: bytes) -> list[Chunk]:
    try:
        found: list[Chunk] = pickle.loads(several)
    except Exception as error:
        raise HeatmapError(
            f"a worker cannot read the cases: {said(error)}; expected the modules that they come from on every machine"
        ) from None
    return found


def _first_other(known: Sequence[Row], again: Sequence[Row]) -> str:
    pairs = zip(known, again, strict=False)
    return str(next((one["case"] for one, other in pairs if one != other), known[0]["case"]))

"""An audit: checks on every case of a data set, a row each, on disk as they are made."""

from __future__ import annotations

import math
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from pytest_gradcam.data import attention, group_reliance, on_ray, single, suspects, verdicts
from pytest_gradcam.data.case import Case, Cases, as_cases
from pytest_gradcam.data.plan import Plan, Row, alike, plan
from pytest_gradcam.data.results import Results
from pytest_gradcam.data.rows import RowFile
from pytest_gradcam.data.worker import CHUNK, Chunk, Worker, chunks, made_by
from pytest_gradcam.errors import HeatmapError
from pytest_gradcam.questions.explained_model import ExplainedModel
from pytest_gradcam.validation import count, knows_its_keywords, nearest, shown

ENGINES = ("local", "ray")
#: Gives the rows of the chunks from this number on; the rows of the chunk before it are known, unless it is the first.
_Maker = Callable[[ExplainedModel, Plan, Cases, list[Row] | None, int], Iterator[list[Row]]]


@knows_its_keywords
class Audit(Results):
    """The rows of an audit, what follows from them for the whole data set, and the verdicts on it.

    Images count by content: copies of one count once in every rate, mean, interval and p-value. A group is a value of a
    slice; the slices "class" (what was explained) and "predicted" are there for every data set.
    """

    assert_rate = verdicts.assert_rate
    assert_slices_equal = verdicts.assert_slices_equal
    assert_no_reliance = group_reliance.assert_no_reliance
    reliance_by = group_reliance.reliance_by
    assert_case = single.assert_case
    suspects = suspects.suspects
    attention = attention.attention


def audit(
    model: ExplainedModel,
    cases: Any,
    checks: Mapping[str, Any] | Sequence[str] | None = None,
    *,
    sample: int | None = None,
    seed: int = 0,
    rows: str | Path | None = None,
    name: str = "",
    engine: str = "local",
) -> Audit:
    """Checks on every case of a data set: an `Audit` with a row for each case and check.

    `cases` are `Cases`, or an iterable of cases, images, (image, mask) pairs or dicts. `checks` names the checks, or maps their
    names to bounds: focus_within (0.5), peak_within (0), overlap (0.3) on a case's mask, focus_avoids (0.1) on its invalid
    pixels; by default those of the masks that a case has, without overlap. `sample` audits only so many cases, drawn with the
    `seed`. `rows` is a file to which rows are appended as they are made: an audit that was interrupted goes on from there,
    one that was finished is read from it, after the last chunk of images was computed again and gave the same rows.
    `engine` "ray" makes the same rows in the processes of a Ray cluster, or of this machine (docs/scale.md).
    A case that cannot be judged leaves rows with the outcome "invalid", which never count as passed.
    Raises HeatmapError for no cases, unknown checks, and rows that belong to another audit or come out differently now.
    """
    make = _maker(engine)
    every = as_cases(cases)
    own = _sampled(every, sample, seed)
    if not own:
        raise HeatmapError("there are no cases, so there is nothing to audit; check how they were selected")
    planned, label = plan(checks), name or every.name or "data set"
    run = _Run(model, own, planned, make)
    if rows is not None:
        run.into(Path(rows), label)
        return Audit(label, Path(rows), own, model)
    folder = tempfile.mkdtemp(prefix="gradcam-audit-")
    found = Audit(label, Path(folder) / "rows.jsonl", own, model)
    weakref.finalize(found, shutil.rmtree, folder, ignore_errors=True)
    run.into(found.path, label)
    return found


@dataclass(frozen=True)
class _Run:
    """Cases on their way to a file of rows."""

    model: ExplainedModel
    cases: Cases
    plan: Plan
    make: _Maker

    def into(self, path: Path, label: str) -> None:
        """Make the rows that the file lacks."""
        file = RowFile(path, self._head(label))
        with file.alone():
            self._append(file, label)

    def _append(self, file: RowFile, label: str) -> None:
        from tqdm.auto import tqdm

        done = file.resume()
        if done:
            self._require_the_same(file, done - 1)
        total = math.ceil(len(self.cases) / CHUNK)
        if done >= total:
            return
        with tqdm(total=len(self.cases), initial=done * CHUNK, unit="image", desc=label, disable=None) as bar:
            for made in self.make(self.model, self.plan, self.cases, file.last() if done else None, done):
                file.append(made)
                bar.update(len({row["place"] for row in made}))

    def _head(self, label: str) -> dict[str, Any]:
        """What makes it this audit and no other."""
        digest = sha256()
        for case in self.cases:
            digest.update(case.fingerprint().encode(errors="replace") + b"\n")
        return {
            "name": label,
            **made_by(self.model),
            "checks": self.plan.plain(),
            "images": len(self.cases),
            "cases": digest.hexdigest(),
        }

    def _require_the_same(self, file: RowFile, number: int) -> None:
        """Raises HeatmapError unless this chunk of cases still gives the rows that the file has."""
        again = next(Worker(self.model, self.plan).rows(_one(chunks(self.cases, number))))
        if not alike(file.last(), again, exact=self.model.engine.exact):
            raise HeatmapError(
                f"the rows in {file.path} come out differently now, for the same files and weights: the preprocess, a setting "
                "or a library has changed since; remove the file, and run the audit again"
            )


def _maker(engine: str) -> _Maker:
    """What makes the rows, from the chunk of a number on. Raises HeatmapError for another word, and where Ray is missing."""
    if engine == "ray":
        on_ray.installed()
        return on_ray.rows
    if engine != "local":
        raise HeatmapError(f"engine={shown(engine)} is not known; expected local or ray{nearest(str(engine), ENGINES)}")
    return lambda model, plan, cases, _, first: Worker(model, plan).rows(chunks(cases, first))


def _one(found: Iterator[Chunk]) -> Iterable[Chunk]:
    return [next(found)]


def _sampled(cases: Cases, sample: int | None, seed: int) -> Cases:
    if sample is None or count("sample", sample) >= len(cases):
        return cases
    places = np.sort(np.random.default_rng(count("seed", seed, 0)).choice(len(cases), sample, replace=False))
    chosen: list[Case] = [cases[int(place)] for place in places]
    return Cases(chosen, cases.name)

"""The seven key requirements, which checks are evidence for each, and what none covers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pytest_gradcam.evidence import requirements
from pytest_gradcam.evidence.record import Record
from pytest_gradcam.report.order import OUTCOMES

NOTICE = (
    "This is evidence towards requirements, not a statement of conformity: whether a requirement is met is for people "
    "to judge, on more than tests of attention."
)

#: What belongs to a requirement and no check of this package can show.
OUT_OF_REACH = {
    requirements.AGENCY: "fundamental rights, human oversight, the user's ability to disagree with the system",
    requirements.ROBUSTNESS: "security against attack, fallback plans, accuracy on the whole of the data",
    requirements.DATA: "privacy, lawful processing, access to data, the quality of data that no check was given",
    requirements.TRANSPARENCY: "traceability of data and training, telling people that they deal with a machine",
    requirements.FAIRNESS: "unfair outcomes between groups of people, accessibility, participation of those affected",
    requirements.WELLBEING: "energy and resources, effects on society, work and democracy",
    requirements.ACCOUNTABILITY: "responsibility and redress, independent audit; this report is a record for one",
}


@dataclass
class Coverage:
    """One requirement: outcomes of the checks that are evidence for it, by kind of check, and what stays open."""

    name: str
    outcomes: Counter[str] = field(default_factory=Counter)
    checks: Counter[str] = field(default_factory=Counter)

    @property
    def open(self) -> str:
        return OUT_OF_REACH[self.name]

    @property
    def phrase(self) -> str:
        if not self.outcomes:
            return "**no check covers this**"
        kinds = ", ".join(sorted(self.checks))
        return f"{', '.join(f'{self.outcomes[o]} {o}' for o in OUTCOMES if self.outcomes[o])} ({kinds})"

    def to_plain(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "covered": bool(self.outcomes),
            "outcomes": {outcome: self.outcomes[outcome] for outcome in OUTCOMES},
            "checks": dict(sorted(self.checks.items())),
            "not_covered": self.open,
        }


def coverage(records: Iterable[Record]) -> list[Coverage]:
    """Every requirement, covered or not, in the order of the guidelines."""
    found = {name: Coverage(name) for name in requirements.REQUIREMENTS}
    for record in records:
        for name in record.requirements:
            if name in found:
                found[name].outcomes[record.outcome] += 1
                found[name].checks[record.check] += 1
    return list(found.values())

"""The seven key requirements for trustworthy AI, and which of them a kind of check speaks to.

After the High-Level Expert Group on AI, Ethics Guidelines for Trustworthy AI (European Commission, 2019), chapter II.
What is mapped is evidence; whether a requirement is met is for people to judge. docs/trustworthy-ai.md gives reasons.
"""

from __future__ import annotations

from collections.abc import Iterable

from pytest_gradcam.errors import SettingsError
from pytest_gradcam.validation import nearest

AGENCY = "human agency and oversight"
ROBUSTNESS = "technical robustness and safety"
DATA = "privacy and data governance"
TRANSPARENCY = "transparency"
FAIRNESS = "diversity, non-discrimination and fairness"
WELLBEING = "societal and environmental well-being"
ACCOUNTABILITY = "accountability"

#: In the order of the guidelines.
REQUIREMENTS = (AGENCY, ROBUSTNESS, DATA, TRANSPARENCY, FAIRNESS, WELLBEING, ACCOUNTABILITY)

_DEFAULT = (ROBUSTNESS,)
#: What every kind of check speaks to where no marker says otherwise; the default is for users' own kinds.
BY_CHECK: dict[str, tuple[str, ...]] = {
    "test": (),  # a test that broke before its checks speaks to nothing
    # Where the evidence for a prediction lies: right for the right reason, and shown.
    "focus_within": (ROBUSTNESS, TRANSPARENCY),
    "focus_avoids": (ROBUSTNESS, TRANSPARENCY),
    "peak_within": (ROBUSTNESS, TRANSPARENCY),
    "overlap": (ROBUSTNESS, TRANSPARENCY),
    # Whether pixels matter to it: a shortcut is learnt from the training data, and breaks where the data differ.
    "ignores": (ROBUSTNESS, DATA),
    "relies_on": (ROBUSTNESS,),
    "no_reliance": (ROBUSTNESS, DATA),
    # Whether the explanation can be believed.
    "faithful": (TRANSPARENCY,),
    "depends_on_weights": (TRANSPARENCY,),
    "deterministic": (ROBUSTNESS, TRANSPARENCY),
    "similar": (TRANSPARENCY,),
    # Whether model and explanation stay what they were, under perturbation and from one version to the next.
    "stable": (ROBUSTNESS,),
    "matches_baseline": (ROBUSTNESS,),
    "prediction": (ROBUSTNESS,),
    # Whether what holds for an image holds for a data set, and for each group of it alike.
    "rate": (ROBUSTNESS,),
    "slices_equal": (ROBUSTNESS,),
    "no_reliance_by": (ROBUSTNESS, DATA),
}


def of_check(check: str) -> tuple[str, ...]:
    """The requirements that a kind of check speaks to by default."""
    return BY_CHECK.get(check, _DEFAULT)


def resolve(names: Iterable[object]) -> tuple[str, ...]:
    """The requirements by their names, each once, in the order of the guidelines.

    Raises SettingsError for a name that is none of the seven.
    """
    asked = set()
    for name in names:
        text = str(name).strip().lower()
        if text not in REQUIREMENTS:
            expected = f"expected one of {', '.join(map(repr, REQUIREMENTS))}{nearest(text, REQUIREMENTS)}"
            raise SettingsError(f"@pytest.mark.gradcam_requirement does not know {name!r}; {expected}")
        asked.add(text)
    return tuple(name for name in REQUIREMENTS if name in asked)

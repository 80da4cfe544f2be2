"""Run the tests of this example on the biased model, and expect them to fail: for the caption, and for nothing else.

Exits with 0 if exactly the expected tests fail, each by a verdict (FocusError) and not by a mishap.
"""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
EXPECTED = {
    "test_the_attention_lies_on_the_walkers",
    "test_the_attention_peaks_on_a_walker",
    "test_the_attention_keeps_off_the_caption",
    "test_the_date_does_not_matter",
    "test_a_pedestrian_stays_one_under_another_date",
    "test_without_the_walkers_there_is_no_pedestrian",
}


class Outcomes:
    """The tests that ran and those that were refused by a verdict, each with its first; what else went wrong."""

    def __init__(self) -> None:
        self.ran, self.refused, self.mishaps = set(), {}, []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item, call):
        report = yield
        self.ran.add(item.originalname)
        if report.failed and call.excinfo.typename == "FocusError":
            self.refused.setdefault(item.originalname, str(call.excinfo.value).splitlines()[0])
        elif report.failed:
            self.mishaps.append(f"{item.nodeid}: {call.excinfo.exconly()}")
        return report


def main() -> int:
    outcomes = Outcomes()
    pytest.main(
        [str(HERE), f"--gradcam-weights={HERE / 'weights' / 'biased.safetensors'}", "--tb=no", "-rN", *sys.argv[1:]],
        [outcomes],
    )
    print(
        f"\nThe biased model failed {len(outcomes.refused)} of {len(outcomes.ran)} tests, of which it must fail {len(EXPECTED)}:"
    )
    for name in sorted(outcomes.refused | dict.fromkeys(EXPECTED - outcomes.refused.keys(), "")):
        print(f"  {name}{'' if name in EXPECTED else ' SHOULD HAVE PASSED'}")
        print(f"    {outcomes.refused.get(name, 'SHOULD HAVE FAILED')}")
    print(*outcomes.mishaps, sep="\n")
    return int(outcomes.refused.keys() != EXPECTED or bool(outcomes.mishaps))


if __name__ == "__main__":
    sys.exit(main())

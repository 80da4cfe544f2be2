"""What a user of the package can meet when a check does not pass.

Each says that it is of the package itself, from where users import it: pytest's summary shows the name in full, and cuts
the line where the figure would stand.
"""


class FocusError(AssertionError):
    """A check was decided, and the model failed it."""

    __module__ = "pytest_gradcam"


class HeatmapError(ValueError):
    """No verdict is possible, so the check does not pass: the input to it was invalid."""

    __module__ = "pytest_gradcam"


class NoEvidenceError(HeatmapError):
    """No verdict is possible: the heatmap holds no positive evidence for its target."""

    __module__ = "pytest_gradcam"


def raised(error: Exception) -> str:
    """What code of the user's, or of another library, raised, in a few words: a refusal says it, and is raised from it."""
    return f"raised {said(error)}"


def said(error: Exception) -> str:
    """The error's kind and the first line of its text, up to 200 characters."""
    reason = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__} ({reason[:200]})"


class SettingsError(ValueError):
    """A setting is unknown, has a value that cannot be used, or is missing."""

    __module__ = "pytest_gradcam"


class GradcamWarning(UserWarning):
    """A check was decided, but something about it deserves a second look."""

    __module__ = "pytest_gradcam"

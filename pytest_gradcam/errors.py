"""What a user of the package can meet when a check does not pass."""


class FocusError(AssertionError):
    """A check was decided, and the model failed it."""


class HeatmapError(ValueError):
    """No verdict is possible, so the check does not pass: the input to it was invalid."""


class NoEvidenceError(HeatmapError):
    """No verdict is possible: the heatmap holds no positive evidence for its target."""


class SettingsError(ValueError):
    """A setting is unknown, has a value that cannot be used, or is missing."""


class GradcamWarning(UserWarning):
    """A check was decided, but something about it deserves a second look."""

"""What a check leaves behind, and the one place where a check is settled."""

#: The folder, beside a file of tests, that holds their baselines. It is here since every run of pytest looks for it.
BASELINES = "__gradcam__"

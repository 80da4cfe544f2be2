"""python -m pytest_gradcam COMMAND."""

import sys

from pytest_gradcam.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""`python -m mm_keras`: the command `mm-keras`, where its script is not on the path."""

import sys

from mm_keras.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""``python -m pagemig.cli``: the console script without its name. Start with :func:`pagemig.cli.main`."""

import sys

from . import main

if __name__ == "__main__":
    sys.exit(main())

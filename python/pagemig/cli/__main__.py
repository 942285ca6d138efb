"""``python -m pagemig.cli``: the console script without its name. Start with :func:`pagemig.cli.command`."""

import sys

from . import command

if __name__ == "__main__":
    sys.exit(command())

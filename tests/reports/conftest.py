"""Which tests of pages are collected: those in a real browser only when asked for.

``PAGEMIG_BROWSER=1`` asks, as ``make browser`` does: not every machine has Chromium.
"""

from __future__ import annotations

import os

collect_ignore = [] if os.environ.get("PAGEMIG_BROWSER") else ["test_browser.py"]

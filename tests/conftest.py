"""What all tests share: property tests that choose the same cases on every machine, every time."""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

# Who is started in the background may be deaf to Ctrl-C, and his children with him. Tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A failing example must be found by everybody or by nobody, so nothing is drawn from a clock or kept
# from an earlier run. A deadline would make the result depend on how busy the machine is.
settings.register_profile(
    "house",
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("house")

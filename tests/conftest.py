"""What holds for every test: one thread a process, since the tests themselves run side by side."""

from __future__ import annotations

import os

# Before anything imports torch or numpy; processes that a test starts inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

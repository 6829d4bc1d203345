"""Entry of the child process that scans and verifies: ``python -m aiidpd.components.models``."""

from __future__ import annotations

from aiidpd.components.models.process import main

if __name__ == "__main__":
    main()

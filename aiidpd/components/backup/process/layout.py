"""Names of what lies on a target (pure). They are here since the start of the process needs them at once."""

from __future__ import annotations

MARKER = "aiidpd-backup.json"
PROOFS = "proofs.json"
UNCHANGED = "unchanged.json"
OBJECTS = "objects"
SNAPSHOTS = "snapshots"
INCOMPLETE = "incomplete"
PARTIAL = "partial"
LOCK = ".lock"
MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"
FILES = "files"

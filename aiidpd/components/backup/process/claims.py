"""Hashes that the names of a cache's files state of their contents.

A name proves a content offline, also in the first backup: a download that is damaged, or a disk that has
changed it before there was anything to compare with.
"""

from __future__ import annotations

from collections.abc import Iterable

from aiidpd.components.backup.process.plan import Entry
from aiidpd.formats import huggingface, ollama
from aiidpd.formats.model_files import Proof


def claims(files: Iterable[Entry], links: Iterable[Entry], folder: str) -> dict[str, Proof]:
    """Return the hash that each of ``files`` must have, by its path, where a name says so.

    ``links`` are the symbolic links of the source: a blob of a Hugging Face cache may be one, and its name is
    about the file that it leads to. ``folder`` is the source's own name, which may be that of a repository.
    """
    within = f"{folder}/" if huggingface.repository_of(folder) is not None else ""
    found: dict[str, Proof] = {}
    for entry in files:
        head, _, name = entry.path.rpartition("/")
        proof = huggingface.proof_at(within + entry.path)
        if proof is None and (head == "blobs" or head.endswith("/blobs")):
            proof = ollama.proof_of_blob(name)
        if proof is not None:
            found[entry.path] = proof
    for link in links:
        proof = huggingface.proof_at(within + link.path)
        reached = huggingface.follow(link.path, link.target)
        if proof is not None and reached is not None:
            found[reached] = proof
    return found

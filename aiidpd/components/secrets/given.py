"""Facts about a key as a command line gives them."""

from __future__ import annotations

import argparse
import grp
import os
import pwd
import sys
from contextlib import suppress
from dataclasses import replace
from typing import Final

from aiidpd.components.secrets.formats import LONGEST_KEY, key_problem
from aiidpd.components.secrets.problem import Refused, words
from aiidpd.components.secrets.registry import KeyEntry

_NONE: Final = "none"
_STANDARD_INPUT: Final = "-"


def with_facts(entry: KeyEntry, options: argparse.Namespace) -> KeyEntry:
    """Return ``entry`` with what ``options`` give; raises :class:`Refused` where that can't be."""
    if options.owner is not None:
        uid, gid = owner(options.owner)
        entry = replace(entry, uid=uid, gid=gid)
    if options.url is not None:
        entry = replace(entry, url=options.url.rstrip("/"))
    if options.container is not None:
        entry = replace(entry, engine=f"container:{options.container}")
    if options.unit is not None:
        entry = replace(entry, engine=f"unit:{options.unit}")
    if options.users is not None:
        entry = replace(entry, users=tuple(dict.fromkeys(options.users)))
    if options.copies is not None:
        entry = replace(
            entry, copies=() if options.copies == [_NONE] else tuple(dict.fromkeys(options.copies))
        )
    if problem := entry.problem():
        raise Refused("note key", entry.name[:64], reason=problem)
    return entry


def facts_given(options: argparse.Namespace) -> bool:
    """Return whether ``options`` give facts that belong to one key alone."""
    given = (options.url, options.container, options.unit, options.users, options.copies, options.owner)
    return any(each is not None for each in given)


def owner(text: str) -> tuple[int, int]:
    """Return uid and gid of ``USER[:GROUP]``, by names or numbers; raises :class:`Refused`."""
    user, colon, group = text.partition(":")
    try:
        if user.isdecimal():
            uid, gid = int(user), int(user)
            with suppress(KeyError):  # an id of the container alone
                gid = pwd.getpwuid(uid).pw_gid
        else:
            found = pwd.getpwnam(user)
            uid, gid = found.pw_uid, found.pw_gid
        if colon:
            gid = int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
    except (KeyError, OverflowError, ValueError):
        raise Refused(
            "give files to",
            repr(text[:40]),
            reason="there is no such user or group",
            remedy="write it as 1000:1000",
        ) from None
    return uid, gid


def read_key(source: str) -> tuple[str, float | None]:
    """Return the key in the file ``source``, or on standard input, and the time of that file.

    Raises :class:`Refused`; no message holds what was read.
    """
    shown = "standard input" if source == _STANDARD_INPUT else source
    try:
        if source == _STANDARD_INPUT:
            made_at, data = None, sys.stdin.buffer.read(LONGEST_KEY + 3)
        else:
            descriptor = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.set_blocking(descriptor, True)  # a pipe of the shell may have nothing to say yet
            with os.fdopen(descriptor, "rb") as file:
                made_at, data = os.fstat(descriptor).st_mtime, file.read(LONGEST_KEY + 3)
        key = (data or b"").decode("ascii").removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise Refused("read a key from", shown, reason=words(error)) from None
    except ValueError:
        raise Refused("read a key from", shown, reason="it holds letters outside of ASCII") from None
    if problem := key_problem(key):
        raise Refused("use the key from", shown, reason=problem, remedy="let aiidpctl generate one")
    return key, made_at

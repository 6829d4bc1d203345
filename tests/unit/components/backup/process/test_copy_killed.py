"""A copy that is killed at a random moment, again and again, until it is done: a wrong byte at no time."""

import hashlib
import os
import random
import time
from pathlib import Path

from aiidpd.components.backup.process.partial import Draft, clean_partials
from tests.fakes.copying import files_of, start
from tests.forms import short_and_long
from tests.waiting import until

MEBIBYTE = 1024 * 1024
RATE = 64 * MEBIBYTE  # bytes a second: slower than any disk here
OPTIONS = {"resumable": 8 * MEBIBYTE, "note_every": 4 * MEBIBYTE}


@short_and_long("kills", 6, 120)
def test_a_copy_that_is_killed_goes_on_and_is_right_in_the_end(source: Path, kills: int):
    numbers = random.Random()
    data = {"model": os.urandom(96 * MEBIBYTE + 11), "small": os.urandom(70_000)}
    for name, content in data.items():
        (source / name).write_bytes(content)
    target = source.parent / "target"
    resumed = 0
    while kills > 0 or not resumed:
        kills -= 1
        assert kills > -20, "it was never resumed"
        (entry,) = (each for each in files_of(source) if each.path == "model")
        draft = Draft(target / "partial", entry)
        with start(source, target, rate=RATE, **OPTIONS) as process:
            until(lambda draft=draft: draft.path.exists())
            time.sleep(numbers.uniform(0, 1))  # a moment of the kill's own, after which nothing is expected
            process.kill()
            process.wait()
        files = target / "files"
        if (files / "model").exists():  # under its own name it is whole
            assert (files / "model").read_bytes() == data["model"]
            (files / "model").unlink()
        if files.exists():
            for path in files.iterdir():
                path.unlink()  # as the next run does with all that is incomplete
        if (target / "partial").exists():
            clean_partials(target / "partial", [entry])
            draft = Draft(target / "partial", entry)
            if draft.done:
                resumed += 1
                with draft.path.open("rb") as file:
                    assert hashlib.sha256(file.read(draft.done)).hexdigest() == draft.sha256
    with start(source, target, **OPTIONS) as process:
        process.communicate(timeout=200)
    for name, content in data.items():
        assert (target / "files" / name).read_bytes() == content
    assert list((target / "partial").iterdir()) == []

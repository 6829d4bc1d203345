"""The pipeline between a reader, a hasher and a writer."""

import threading

import pytest

from aiidpd.components.backup.process.pipeline import Pipeline


def nothing() -> None:
    pass


def test_blocks_are_hashed_and_then_written_each_in_its_order():
    pipeline = Pipeline(4096, 3)
    hashed: list[tuple[bytes, int]] = []
    written: list[tuple[bytes, int]] = []
    for index in range(20):
        buffer = pipeline.buffer(nothing)
        buffer[:1] = bytes([index])
        pipeline.send(
            buffer,
            1,
            index,
            lambda block, at: hashed.append((bytes(block), at)),
            lambda block, at: written.append((bytes(block), at)),
        )
    pipeline.settle(nothing)
    assert hashed == written == [(bytes([index]), index) for index in range(20)]
    pipeline.close()


def test_zeros_are_hashed_and_not_written():
    pipeline = Pipeline(4096, 3)
    hashed: list[bytes] = []
    pipeline.send_zeros(pipeline.buffer(nothing), 5, 0, lambda block, _: hashed.append(bytes(block)))
    pipeline.settle(nothing)
    assert hashed == [bytes(5)]
    pipeline.close()


@pytest.mark.parametrize("stage", ["hashing", "writing"])
def test_an_error_comes_back_and_is_forgotten(stage: str):
    pipeline = Pipeline(4096, 2)
    written: list[int] = []

    def fail(*_: object) -> None:
        raise OSError(5, "broken")

    def write(_: memoryview, at: int) -> None:
        written.append(at)

    pipeline.send(
        pipeline.buffer(nothing),
        1,
        0,
        fail if stage == "hashing" else lambda *_: None,
        fail if stage == "writing" else write,
    )
    with pytest.raises(OSError, match="broken"):
        pipeline.settle(nothing)
    with pytest.raises(OSError, match="broken"):
        pipeline.buffer(nothing)
    assert written == []
    assert not pipeline.drain(nothing)
    pipeline.send(pipeline.buffer(nothing), 1, 7, lambda *_: None, write)
    pipeline.settle(nothing)
    assert written == [7]
    pipeline.close()


def test_a_writer_that_hangs_is_given_up_on_and_what_waits_for_it_is_not_written():
    pipeline = Pipeline(4096, 3)
    hang = threading.Event()
    written: list[int] = []

    def write(_: memoryview, at: int) -> None:
        hang.wait(30)
        written.append(at)

    for at in range(2):
        pipeline.send(pipeline.buffer(nothing), 1, at, lambda *_: None, write)
    assert not pipeline.abandon()
    assert not pipeline.usable
    hang.set()
    pipeline.drain(nothing)
    assert written == [0]
    pipeline.close()


def test_whoever_waits_is_called_meanwhile():
    pipeline = Pipeline(4096, 1)
    pipeline.buffer(nothing)

    class Enough(Exception):
        pass

    def stop() -> None:
        raise Enough

    with pytest.raises(Enough):
        pipeline.buffer(stop)
    with pytest.raises(Enough):
        pipeline.settle(stop)

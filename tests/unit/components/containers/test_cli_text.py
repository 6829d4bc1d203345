from __future__ import annotations

from aiidpd.cli.text import Paint
from aiidpd.components.containers.api import ContainersDocument
from aiidpd.components.containers.cli_text import container_table, count_states
from tests.documents import NOW, container, empty

PLAIN = Paint()


def test_containers_that_need_a_look_come_first_and_the_rest_is_counted() -> None:
    many = [container(f"calm-{number:02}") for number in range(20)]
    many += [container("ill", health="unhealthy"), container("dead", state="exited", exit_code=137)]
    document = empty(ContainersDocument, containers=many, unreadable=[{"id": "f" * 64, "name": "stuck"}])
    lines = container_table(document, NOW, PLAIN, most=5)
    assert lines[1].startswith("dead       exited (137)")
    assert lines[2].startswith("ill        running")
    assert lines[6] == "and 17 more: aiidpctl containers list"
    assert lines[7] == "stuck (ffffffffffff): can't be read"
    assert count_states(document) == "1 exited, 21 running"
    assert len(container_table(document, NOW, PLAIN)) == 24


def test_a_container_that_aiidpd_paused_says_why_and_until_when() -> None:
    pause = {"gpu": "GPU 0", "reason": "it is hot", "since": NOW - 10, "until": NOW + 110}
    document = empty(ContainersDocument, containers=[container("vllm", state="paused", pause=pause)])
    lines = container_table(document, NOW, PLAIN)
    assert lines[1].startswith("vllm       paused")
    assert lines[2].startswith("vllm: paused by aiidpd because GPU 0 is hot; until 20")
    assert lines[2].endswith(" at the latest")

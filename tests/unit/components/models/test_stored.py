"""View of the models for other components."""

from __future__ import annotations

from dataclasses import replace

from aiidpd.components.models.record import ModelRecords
from aiidpd.components.models.registry import Known
from aiidpd.components.models.scanned import Scan
from aiidpd.components.models.stored import stored_models
from aiidpd.components.models.uses import ModelUse, UseKind
from aiidpd.formats.model_files import Algorithm, Proof
from tests.unit.components.models.site import made_up

ONE = Proof(Algorithm.SHA256, "aa" * 32)
OTHER = Proof(Algorithm.SHA256, "bb" * 32)
GIT = Proof(Algorithm.GIT_SHA1, "cc" * 20)


def known(*models: object) -> Known:
    return Known(Scan(models=models), ModelRecords())  # type: ignore[arg-type]


def test_the_digest_of_one_file_is_its_own_and_of_several_that_of_all():
    one, two = made_up("one", "/m/a.gguf", proof=ONE), made_up("two", "/m/b.gguf", "/m/c.gguf", proof=ONE)
    first, second = stored_models(known(one, two)).models
    assert first.digest == f"sha256:{ONE.hex}"
    assert second.digest.startswith("sha256:")
    assert second.digest.endswith(" of 2 files")
    other = made_up("two", "/m/b.gguf", "/m/c.gguf", proof=OTHER)
    assert stored_models(known(other)).models[0].digest != second.digest


def test_where_the_content_of_a_file_is_not_known_there_is_no_digest():
    for proof in (None, GIT):
        assert stored_models(known(made_up("one", "/m/a.gguf", proof=proof))).models[0].digest == ""
    assert stored_models(known(made_up("none"))).models[0].digest == ""


def test_engines_are_those_that_have_it_loaded():
    model = made_up("one", "/m/a.gguf")
    uses = (ModelUse(UseKind.LOADED, "vllm", "local"), ModelUse(UseKind.MOUNTED, "other"))
    found = stored_models(replace(known(model), uses={model.key: uses}))
    assert found.models[0].engines == ("local",)

"""Repositories in the configuration: what is refused, and that no secret is repeated."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from aiidpd.components.backup.offsite.settings import OffsiteSettings, RepositorySettings, variables
from aiidpd.config.units import Malformed

SECRET = "hunter2hunter2"


def fault(**given: object) -> str:
    with pytest.raises(ValidationError) as caught:
        RepositorySettings.model_validate({"name": "far", **given})
    return str(caught.value)


def test_a_password_may_hold_spaces_and_an_environment_many_lines() -> None:
    made = RepositorySettings.model_validate(
        {
            "name": "far",
            "repository": "s3:https://s3.example.org/models",
            "password": "correct horse",
            "environment": f"# keys\nAWS_ACCESS_KEY_ID=me\n\nAWS_SECRET_ACCESS_KEY={SECRET}=\n",
        }
    )
    assert made.password is not None
    assert made.password.get_secret_value() == "correct horse"
    assert made.environment is not None
    assert variables(made.environment.get_secret_value()) == {
        "AWS_ACCESS_KEY_ID": "me",
        "AWS_SECRET_ACCESS_KEY": f"{SECRET}=",
    }
    assert SECRET not in repr(made)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "is missing"),
        ({"engine": "rclone"}, "is missing"),
        ({"engine": "rclone", "repository": "models"}, "no remote"),
        ({"engine": "rclone", "repository": ":s3,secret_access_key=x:models"}, "no remote"),
        ({"engine": "rclone", "repository": "nas:x", "keep_weekly": 3}, "nothing is removed"),
        ({"repository": "--help"}, "dash"),
        ({"repository": f"rest:https://me:{SECRET}@example.org/"}, "user name or a password"),
        ({"repository": "/x", "environment": f"{SECRET}"}, "no variable in line 1"),
        ({"repository": "/x", "environment": f"LD_PRELOAD={SECRET}"}, "LD_PRELOAD"),
        ({"repository": "/x", "password": f"{SECRET}\nmore"}, "more than one line"),
        ({"repository": "/x", "verify_parts": 257}, "256"),
    ],
)
def test_what_can_not_be_is_refused_and_no_secret_is_repeated(
    given: dict[str, object], expected: str
) -> None:
    message = fault(**given)
    assert expected in message
    assert SECRET not in message


def test_the_address_may_come_with_the_environment() -> None:
    RepositorySettings.model_validate(
        {"name": "far", "environment": f"RESTIC_REPOSITORY=rest:https://me:{SECRET}@example.org/"}
    )


def test_each_name_and_each_place_is_listed_once() -> None:
    one = {"name": "one", "repository": "/srv/one"}
    for other in ({"name": "one", "repository": "/srv/two"}, {"name": "two", "repository": "/srv/one"}):
        with pytest.raises(ValidationError):
            OffsiteSettings.model_validate({"repositories": [one, other]})


@given(st.text())
def test_any_text_is_variables_or_is_refused_without_a_repetition(text: str) -> None:
    try:
        found = variables(text)
    except Malformed as error:
        hidden = error.hide
    else:
        hidden = all(name.isascii() and not name.startswith("LD_") for name in found)
    assert hidden

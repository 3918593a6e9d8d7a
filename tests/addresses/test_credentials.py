"""Credentials are removed from URIs, and MLflow gets them through the environment."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from fastdfkd.addresses import credentials
from fastdfkd.text.shown import reason, shown, shown_message, shown_name, without_credentials


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in (credentials.URI, credentials.USER, credentials.PASSWORD, credentials.TOKEN):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(credentials, "_full_uris", {})
    yield
    credentials.set_login_variables("http://no-credentials")


@pytest.mark.parametrize(
    ("uri", "bare"),
    [
        ("http://me:hunter2@host:5000", "http://host:5000"),
        ("https://me:hun%40ter2@host/mlflow", "https://host/mlflow"),
        ("postgresql://me:hunter2@host/db?sslmode=require", "postgresql://host/db?sslmode=require"),
        ("postgresql://host/db?user=me&password=hunter2", "postgresql://host/db?user=me"),
        ("mysql+pymysql://me:hun/ter2@host/db", "mysql+pymysql://host/db"),
        ("sqlite:////data/me@home.db", "sqlite:////data/me@home.db"),
        ("sqlite:///C:/data/x.db", "sqlite:///C:/data/x.db"),
        ("http://[::1]:5000", "http://[::1]:5000"),
        ("file:///tmp/x", "file:///tmp/x"),
        ("", ""),
    ],
)
def test_credentials_are_removed_from_a_uri(uri: str, bare: str) -> None:
    assert credentials.strip_credentials(uri) == bare
    if uri.startswith("http"):
        assert credentials.with_credentials(bare) == bare, (
            "MLflow reads a server's from the environment"
        )
    else:
        assert credentials.with_credentials(bare) == uri


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("http://host?token=hunter2", "MLFLOW_TRACKING_TOKEN"),
        ("http://host/#hunter2", "MLFLOW_TRACKING_TOKEN"),
        ("http://me:hunter2/x@host", "%2F"),
        ("http://me:1@hunter2@host", "%40"),
        ("http://hunter2@host", "user and password"),
        ("http://me:@host", "user and password"),
        ("http://me:hunter2", "as the port"),
    ],
)
def test_a_uri_that_mlflow_cannot_use_is_refused_and_not_repeated(uri: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        credentials.strip_credentials(uri)
    assert "hunter2" not in str(caught.value)


def test_a_server_gets_its_own_credentials_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(credentials.USER, "usual")
    credentials.set_login_variables(credentials.strip_credentials("http://me:hun%40ter2@one:5000"))
    assert os.environ[credentials.USER] == "me"
    assert os.environ[credentials.PASSWORD] == "hun@ter2"
    credentials.set_login_variables("http://two:5000")
    assert os.environ[credentials.USER] == "usual"
    assert credentials.PASSWORD not in os.environ
    credentials.set_login_variables("http://one:5000")
    assert os.environ[credentials.USER] == "me"
    variables = credentials.subprocess_variables("http://one:5000")
    assert variables == {credentials.USER: "me", credentials.PASSWORD: "hun@ter2"}


def test_the_environments_uri_applies_to_the_same_server_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(credentials.URI, "http://me:hunter2@one:5000/")
    assert credentials.login_variables("http://one:5000")[credentials.PASSWORD] == "hunter2"
    assert credentials.login_variables("http://one:5001") == {}
    assert credentials.login_variables("https://one:5000") == {}
    monkeypatch.setenv(credentials.URI, "postgresql://me:hunter2@host/db")
    assert credentials.with_credentials("postgresql://host/db") == "postgresql://me:hunter2@host/db"
    assert credentials.with_credentials("postgresql://host/other") == "postgresql://host/other"


def test_texts_are_shown_without_credentials() -> None:
    text = "no 'http://me:hunter2@host/x@y', --redis-password=hunter2 ?api_key=hunter2&a=1"
    assert "hunter2" not in without_credentials(text)
    assert "a=1" in without_credentials(text)
    for show in (shown, shown_name, shown_message, reason):
        assert "hunter2" not in show(text)
    assert "hunter2" not in shown({"password": "hunter2", "uri": "http://me:hunter2@host"})
    kept = "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH=/x; a@b.c http://host"
    assert without_credentials(kept) == kept


def test_shown_values_are_short_and_on_one_line() -> None:
    assert shown("k" * 10_000).endswith("k' (10,002 characters)")
    assert len(shown("k" * 10_000)) < 110
    assert shown_name("a\nb‮" + "k" * 1000).startswith("a\\nb\\u202ekkk")
    assert len(shown_name("k" * 1000)) < 230
    assert len(shown_message(f"no file {'k' * 10_000}\nbut kept")) < 450
    assert reason(ValueError("\n first\nsecond")) == "first"
    assert reason(ValueError()) == "ValueError"
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]
    assert shown(deep) == "<list>"

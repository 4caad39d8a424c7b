"""What a request may ask of its caller is what the Python API offers."""

from __future__ import annotations

import inspect

import pytest

from segplug import Segplug
from segplug.progress import QuietReporter
from segplug.session import Session

METHODS = sorted(
    name for name, member in vars(Session).items() if inspect.isfunction(member) and not name.startswith("_")
)


def test_there_are_methods_to_compare() -> None:
    assert {"load_model", "export", "open", "evaluate"} <= set(METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_the_api_takes_the_keywords_of_the_protocol(method: str) -> None:
    # The registry refuses options that have the name of one of these keywords.
    promised = inspect.signature(getattr(Session, method)).parameters
    offered = inspect.signature(getattr(Segplug, method)).parameters
    assert [(p.name, p.kind, p.default) for p in offered.values()] == [
        (p.name, p.kind, p.default) for p in promised.values()
    ]


def test_another_reporter_leaves_the_first_session_as_it_was() -> None:
    session = Segplug(without_addons=())
    reporter = QuietReporter()
    other = session.with_reporter(reporter)
    assert other.reporter is reporter
    assert session.reporter is not reporter
    assert other.registry is session.registry

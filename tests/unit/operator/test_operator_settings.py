"""Settings come from files and environment; what the broker is reached with follows from them."""

from __future__ import annotations

import pytest

from packhound.kit.errors import Usage
from packhound.operator.__main__ import address
from packhound.operator.settings import bus_settings, read, site


def test_defaults_and_environment():
    options = read(environ={"PACKHOUND_OPERATOR_IMAGE": "x:1", "PACKHOUND_NATS_URLS": "nats://a:1,nats://b:2",
                            "PACKHOUND_OPERATOR_POD_LABELS": "app, tier", "PACKHOUND_OPERATOR_PRIVILEGED": "true"}).value  # fmt: skip
    assert site(options, {}).image == "x:1"
    assert site(options, {}).privileged
    assert options.operator.pod_labels == ("app", "tier")
    assert bus_settings(options, "main", None).urls == ("nats://a:1", "nats://b:2")
    assert bus_settings(options, "main", "nats://own:4222").urls == ("nats://own:4222",)
    assert bus_settings(options, "main", None).inbox == "_INBOX.main.operator.operator"


def test_unknown_variables_are_refused():
    with pytest.raises(Usage, match="did you mean PACKHOUND_OPERATOR_IMAGE"):
        read(environ={"PACKHOUND_OPERATOR_IMGE": "x"})


@pytest.mark.parametrize(("text", "found"), [("[::]:9443", ("::", 9443)), ("127.0.0.1:0", ("127.0.0.1", 0))])
def test_addresses(text, found):
    assert address(text) == found


@pytest.mark.parametrize("text", ["", "9443x", "a:99999", "localhost:"])
def test_what_is_no_address(text):
    with pytest.raises(Usage):
        address(text)

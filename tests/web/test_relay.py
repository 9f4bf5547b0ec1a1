"""What stands between a contained browser and this machine: its messages, and its system calls."""

from __future__ import annotations

import json

import pytest

from branchwise.web.container_settings import browser_filter
from branchwise.web.relay import Refused, check


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "", ".", "a" * 65, 7, None, ["a"]])
def test_no_file_is_called_by_what_the_browser_says(name: object) -> None:
    """The driver outside makes paths of it: only what is a name passes, however its message is written."""
    plain = json.dumps({"method": "Browser.downloadWillBegin", "params": {"guid": name}})
    for text in (plain, plain.replace("Browser", "\\u0042rowser"), plain.replace('"method"', '"m\\u0065thod"')):
        assert json.loads(text)["method"] == "Browser.downloadWillBegin"
        with pytest.raises(Refused):
            check(text.encode())


def test_what_browsers_say_passes() -> None:
    """Replies, events, downloads by name, and letters that stand escaped."""
    check(json.dumps({"method": "Browser.downloadWillBegin", "params": {"guid": "8c1f-2"}}).encode())
    check(json.dumps({"id": 1, "result": {"text": "\u00e9<Browser.download"}}).encode())
    check(b'{"method":"Page.x","params":{"guid":"../../x"}}')
    check(b'{"id":2,"result":{"text":"\\u003Cbody>\xff"}}')
    with pytest.raises(Refused, match="no message"):
        check(b'["\\u0041"')


def test_its_filter_is_the_sandboxes_own_but_for_namespaces() -> None:
    """It refuses mounts, and all namespaces but those of users, processes and network."""
    rules = json.loads(browser_filter())
    allowed = {name for rule in rules["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]}
    assert rules["defaultAction"] == "SCMP_ACT_ERRNO"
    assert not allowed & {"mount", "umount2", "setns", "bpf", "ptrace", "io_uring_setup", "pivot_root", "keyctl"}
    masks = {rule["names"][0]: rule["args"] for rule in rules["syscalls"] if rule["names"][0] in {"clone", "unshare"}}
    [flags] = masks["clone"]
    assert not flags["value"] & 0x70000000
    assert flags["value"] == 0x02000000 | 0x04000000 | 0x08000000 | 0x00020000

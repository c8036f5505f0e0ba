from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
import pytest

from line_requests.api.auth import Credential, read_credential
from line_requests.api.http import Request
from line_requests.domain.errors import Unauthorized
from line_requests.domain.ids import iso_utc, sha256_hex
from line_requests.domain.model import ApiKey
from line_requests.settings import Settings

if TYPE_CHECKING:
    from tests.operator.conftest import Console, Deployment
    from tests.operator.shop import Shop


@pytest.fixture
def acme(shop: Shop, console: Console) -> str:
    console.json("workspace", "create", "acme", "--customer", shop.customer())
    return "acme"


def test_a_key_is_shown_once_and_only_its_hash_is_stored(console: Console, deployment: Deployment, acme: str) -> None:
    issued = console.json("key", "issue", acme, "--label", "website")
    key = issued["key"]
    assert key.startswith("tuco_acme_")
    stored = str(boto3.client("dynamodb").scan(TableName=deployment.table_name)["Items"])
    assert sha256_hex(key) in stored
    assert key not in stored
    assert key.removeprefix("tuco_acme_")[:32] not in stored

    listed = console.text("key", "list", acme)
    assert key.removeprefix("tuco_acme_")[:32] not in listed
    (row,) = console.json("key", "list", acme)
    assert (row["hash"], row["label"], row["revoked"]) == (sha256_hex(key)[:12], "website", None)
    assert row["created"].endswith("Z")


def test_the_text_says_to_keep_the_key(console: Console, acme: str) -> None:
    printed = console.text("key", "issue", acme)
    assert "tuco_acme_" in printed
    assert "it is shown this once" in printed


@pytest.mark.parametrize("by", ["key", "hash"])
def test_a_key_is_revoked_by_itself_or_by_its_hash(
    console: Console, deployment: Deployment, acme: str, by: str
) -> None:
    key, other = (console.json("key", "issue", acme)["key"] for _ in range(2))
    named = key if by == "key" else sha256_hex(key)[:12]
    revoked = console.json("key", "revoke", acme, named, "--yes")
    assert revoked["revoked"] is not None
    stored = {stored.hash: stored.revoked_at_ms for stored in deployment.stores.api_keys.list(acme)}
    assert stored[sha256_hex(key)] is not None
    assert stored[sha256_hex(other)] is None
    # Again: the first revocation counts.
    assert console.json("key", "revoke", acme, named, "--yes") == revoked


def test_what_names_no_key_of_the_workspace_is_refused(console: Console, shop: Shop, acme: str) -> None:
    console.json("workspace", "create", "other", "--customer", shop.customer())
    foreign = console.json("key", "issue", "other")["key"]
    assert console.refused("key", "revoke", acme, foreign, "--yes") == "that is not a key of the workspace acme"
    assert console.refused("key", "revoke", acme, "0123456", "--yes") == "0123456 names no key of the workspace acme"
    assert console.refused("key", "revoke", acme, "01234", "--yes") == "at least 6 digits of the hash are needed"
    assert console.json("key", "list", "other")[0]["revoked"] is None


def test_a_hash_prefix_of_two_keys_is_refused(console: Console, deployment: Deployment, acme: str) -> None:
    for last in "ab":
        deployment.stores.api_keys.insert(acme, ApiKey("c0ffee" + "0" * 57 + last, "", 0))
    assert console.refused("key", "revoke", acme, "c0ffee", "--yes") == "c0ffee names 2 keys of the workspace acme"


def _credential(key: str, at_ms: int) -> Credential:
    """Of a request with this key at this time."""
    request = Request({"authorization": f"Bearer {key}"}, "", {}, b"", at_ms)
    return read_credential(request, Settings.from_environment({"TABLE_NAME": "lines"}))


def test_a_rotated_key_works_until_the_overlap_ends(console: Console, deployment: Deployment, acme: str) -> None:
    old = console.json("key", "issue", acme, "--label", "website")["key"]
    rotated = console.json("key", "rotate", acme, sha256_hex(old)[:12], "--overlap", "2h")
    assert rotated["label"] == "website"
    stored = {stored.hash: stored for stored in deployment.stores.api_keys.list(acme)}
    new_key, old_key = stored[sha256_hex(rotated["key"])], stored[sha256_hex(old)]
    assert (new_key.label, new_key.expires_at_ms) == ("website", None)
    assert old_key.expires_at_ms == new_key.created_at_ms + 2 * 3_600_000
    assert rotated["old"][0]["expires"] == iso_utc(old_key.expires_at_ms)
    _credential(old, old_key.expires_at_ms - 1).confirm(old_key)
    with pytest.raises(Unauthorized):
        _credential(old, old_key.expires_at_ms).confirm(old_key)


@pytest.mark.parametrize("overlap", ["-1h", "366d", "3000000d"])
def test_an_overlap_is_0_to_365_days(console: Console, acme: str, overlap: str) -> None:
    old = console.json("key", "issue", acme)["key"]
    assert console.refused("key", "rotate", acme, old, "--overlap", overlap) == "an overlap is 0 to 365 days"
    assert len(console.json("key", "list", acme)) == 1


def test_an_overlap_is_never_extended(console: Console, acme: str) -> None:
    old = console.json("key", "issue", acme)["key"]
    first = console.json("key", "rotate", acme, old, "--overlap", "1h")["old"]
    assert console.json("key", "rotate", acme, old, "--overlap", "2h")["old"] == first
    console.json("key", "rotate", acme, old, "--overlap", "0s")
    assert "is revoked or expired; issue a new one" in console.refused("key", "rotate", acme, old)


@pytest.mark.parametrize("command", [("issue", "nobody"), ("list", "nobody"), ("revoke", "nobody", "c0ffee", "--yes")])
def test_an_unknown_workspace_has_no_keys(console: Console, command: tuple[str, ...]) -> None:
    assert console.refused("key", *command) == "there is no workspace nobody"

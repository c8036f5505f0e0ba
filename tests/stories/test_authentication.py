from __future__ import annotations

import time
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from line_requests.domain.ids import new_api_key, sha256_hex
from line_requests.operator.commands import issue_key, revoke_key
from tests.local.session_tokens import AUTHORIZED_PARTY
from tests.stories.world import EMAIL, LINES, PHONE, Workspace, World, eventually, together

if TYPE_CHECKING:
    import httpx

Json = dict[str, Any]

YEARS_AHEAD_S = int(time.time()) + 10 * 365 * 86_400  # beyond where a story may have moved the stack's clock
ROUTES = [
    ("POST", LINES),
    ("GET", LINES),
    ("GET", f"{LINES}/{'0' * 24}"),
    ("POST", f"{LINES}/{'0' * 24}"),
    # Their other errors must not come first.
    ("GET", f"{LINES}/not-an-id"),
    ("POST", f"{LINES}/not-an-id"),
    ("GET", f"{LINES}?limit=none"),
]


def second_key(workspace: Workspace) -> str:
    stores = workspace.world.stores
    return issue_key(stores.workspaces, stores.api_keys, workspace.id, "second", 0)


def signed_in(workspace: Workspace, claims: Json | None = None, header: Json | None = None) -> str:
    parameters = {"workspaceId": workspace.id, "claims": claims or {}, "header": header or {}}
    return "Bearer " + str(workspace.world.control("session-tokens", **parameters)["token"])


def with_checksum(body: str) -> str:
    return f"{body}{zlib.crc32(body.encode()):08x}"


def refused(answer: httpx.Response) -> bool:
    return (answer.status_code, answer.text) == (401, '{"error": "Unauthorized"}')


def test_api_key_works_on_every_route(workspace: Workspace) -> None:
    """[1]"""
    line_id = workspace.awaiting()["line"]["_id"]
    assert workspace.page().status_code == 200
    assert workspace.get(line_id).status_code == 200
    assert workspace.manage(line_id, "payment_link").status_code == 200


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Basic dHVjbzpzZWNyZXQ=",
        "Bearer nonsense",
        "Bearer a.b.c",
        "Bearer tuco_acme_" + "0" * 40,
        "Bearer " + with_checksum("tuco_nobody_" + "0" * 32),
    ],
)
def test_missing_or_bad_credential_is_401_before_any_other_error(world: World, authorization: str | None) -> None:
    """[1] [5] The same body on every route."""
    headers = {} if authorization is None else {"Authorization": authorization}
    for method, path in ROUTES:
        content = "not even JSON" if method == "POST" else None
        assert refused(world.send(method, path, headers=headers, content=content))


def test_unknown_key_of_known_workspace_is_401(workspace: Workspace) -> None:
    """[1] Well formed, but never issued."""
    unknown = {"Authorization": f"Bearer {new_api_key(workspace.id)}"}
    for method, path in ROUTES:
        assert refused(workspace.send(method, path, headers=unknown, json={} if method == "POST" else None))


def test_revoked_key_is_401_from_the_next_call_on(workspace: Workspace) -> None:
    """[2] The workspace's other keys still work."""
    other = {"Authorization": f"Bearer {second_key(workspace)}"}
    assert workspace.page().status_code == 200
    stores = workspace.world.stores
    revoke_key(stores.workspaces, stores.api_keys, workspace.id, workspace.api_key, 1)
    for method, path in ROUTES:
        assert refused(workspace.send(method, path, json=PHONE if method == "POST" else None))
    assert workspace.send("GET", LINES, headers=other).status_code == 200


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"azp": None},
        {"azp": AUTHORIZED_PARTY},
        {"v": 2, "org_id": None, "o": "its organisation"},
    ],
)
def test_session_token_of_mapped_organisation_acts_for_its_workspace(workspace: Workspace, claims: Json) -> None:
    """[3] Both versions of the organisation claim."""
    if "o" in claims:
        claims = claims | {"o": {"id": f"org_{workspace.id.replace('-', '')}", "rol": "admin", "slg": "acme"}}
    session = {"Authorization": signed_in(workspace, claims)}
    created = workspace.send("POST", LINES, json=PHONE, headers=session)
    assert created.status_code == 201
    line_id = created.json()["line"]["_id"]
    assert workspace.send("GET", f"{LINES}/{line_id}", headers=session).status_code == 200
    assert workspace.send("GET", LINES, headers=session).status_code == 200
    assert [line["_id"] for line in workspace.lines()] == [line_id]
    canceled = workspace.send("POST", f"{LINES}/{line_id}", json={"action": "cancel"}, headers=session)
    assert canceled.status_code == 409


@pytest.mark.parametrize(
    ("claims", "header"),
    [
        ({"exp": int(time.time()) - 60}, {}),
        ({"nbf": YEARS_AHEAD_S}, {}),
        ({"azp": "https://evil.test"}, {}),
        ({"org_id": "org_without_a_workspace"}, {}),
        ({"org_id": "x" * 2100}, {}),
        ({"org_id": "\ud800"}, {}),
        ({"org_id": None, "o": {"id": "org_without_a_workspace"}}, {}),
        ({"sid": None}, {}),
        ({}, {"alg": "none"}),
    ],
)
def test_session_token_with_wrong_claims_is_401(spare: Workspace, claims: Json, header: Json) -> None:
    """[3]"""
    bad = {"Authorization": signed_in(spare, claims, header)}
    assert refused(spare.send("GET", LINES, headers=bad))
    assert refused(spare.send("POST", LINES, json=PHONE, headers=bad))


def test_session_token_with_foreign_signature_is_401(workspace: Workspace) -> None:
    """[3] One workspace's signature under another workspace's claims."""
    other = workspace.world.workspace()
    head, _, signature = signed_in(workspace).split(".")
    _, claims, _ = signed_in(other).split(".")
    assert refused(workspace.send("GET", LINES, headers={"Authorization": f"{head}.{claims}.{signature}"}))


def test_browsers_of_allowed_origins_may_call(workspace: Workspace) -> None:
    """[3] The preflight answers, and pages may read the exposed headers."""
    http = workspace.world.http
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,idempotency-key"}
    preflight = http.options(LINES, headers={"Origin": AUTHORIZED_PARTY} | asks)
    allowed = preflight.headers["access-control-allow-headers"].lower()
    assert preflight.is_success
    assert preflight.headers["access-control-allow-origin"] == AUTHORIZED_PARTY
    assert {"authorization", "content-type", "idempotency-key"} <= set(allowed.replace(" ", "").split(","))
    answer = workspace.send("GET", LINES, headers={"Origin": AUTHORIZED_PARTY})
    exposed = answer.headers["access-control-expose-headers"].lower().replace(" ", "").split(",")
    assert answer.headers["access-control-allow-origin"] == AUTHORIZED_PARTY
    assert {"retry-after", "idempotency-replayed", "idempotency-mismatch"} <= set(exposed)


def test_browsers_of_other_origins_may_not_call(workspace: Workspace) -> None:
    """[3]"""
    foreign = {"Origin": "https://evil.test"}
    preflight = workspace.world.http.options(LINES, headers=foreign | {"Access-Control-Request-Method": "POST"})
    assert "access-control-allow-origin" not in preflight.headers
    assert "access-control-allow-origin" not in workspace.send("GET", LINES, headers=foreign).headers


def test_workspace_comes_from_credential_alone(world: World, workspace: Workspace) -> None:
    """[4] A workspace id in the body is ignored."""
    other = world.workspace()
    line_id = workspace.included(PHONE | {"workspaceId": other.id, "workspace_id": other.id})["line"]["_id"]
    assert [line["_id"] for line in workspace.lines()] == [line_id]
    assert other.lines() == []
    assert other.get(line_id).status_code == 404
    assert other.manage(line_id, "cancel").status_code == 404


def test_two_keys_of_a_workspace_share_its_state(workspace: Workspace) -> None:
    """[5] Lines, lock, capacity, idempotency keys and rate limit."""
    second = {"Authorization": f"Bearer {second_key(workspace)}"}
    first = workspace.create(EMAIL, key="same")
    again = workspace.send("POST", LINES, json=EMAIL, headers=second | {"Idempotency-Key": "same"})
    assert (again.content, again.headers["Idempotency-Replayed"]) == (first.content, "true")
    awaiting = workspace.awaiting()
    blocked = workspace.send("POST", LINES, json=EMAIL, headers=second)
    assert blocked.json()["existingLine"] == awaiting["line"]
    assert workspace.send("GET", LINES, headers=second).json()["lines"] == workspace.lines()
    workspace.use_up()
    soon = together(8, lambda _: workspace.send("POST", LINES, content="{", headers=second).status_code)
    assert 429 in soon


def test_keys_are_stored_hashed(world: World, workspace: Workspace) -> None:
    """[5] The table has neither an API key nor an idempotency key."""
    workspace.create(key="an-idempotency-key")
    ministack = world.stack.ministack
    dynamodb = ministack.session.client("dynamodb", endpoint_url=ministack.endpoint)
    partition = {":pk": {"S": f"W#{workspace.id}"}}
    query = {"KeyConditionExpression": "pk = :pk", "ExpressionAttributeValues": partition, "ConsistentRead": True}
    found = dynamodb.query(TableName=world.stack.deployment.table, **query)  # type: ignore[arg-type] # plain dictionaries
    assert sha256_hex(workspace.api_key) in str(found["Items"])
    assert workspace.api_key.rpartition("_")[2] not in str(found["Items"])
    assert "an-idempotency-key" not in str(found["Items"])


def test_keys_tokens_and_bodies_never_reach_a_log(world: World, workspace: Workspace) -> None:
    """[5] After success, refusals and failures of Stripe."""
    secret = {"firstName": "Secretfirst", "email": "secret@private.test", "zipcode": "SECRETZIP"}
    token = signed_in(workspace)
    workspace.create(PHONE | secret, key="secret-idempotency-key")
    workspace.send("POST", LINES, json=PHONE | secret | {"lineType": "Secretkind"}, headers={"Authorization": token})
    world.faults("error_before", path="/v1/invoices")
    assert workspace.create(PHONE | secret, key="secret-key-in-trouble").status_code == 503
    world.no_faults()
    world.webhooks("drop")
    world.stripe.v1.customers.delete(workspace.customer)
    assert workspace.create(PHONE | secret, key="secret-key-in-trouble").status_code == 502
    eventually(lambda: world.alarmed("BillingRefused", ""))
    logs = "\n".join(world.logs())
    for never in (workspace.api_key.rpartition("_")[2], token[-40:], "secret-", "Secret", "SECRETZIP", "private.test"):
        assert never not in logs

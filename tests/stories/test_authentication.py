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

ROUTES = [
    ("POST", LINES),
    ("GET", LINES),
    ("GET", f"{LINES}/{'0' * 24}"),
    ("POST", f"{LINES}/{'0' * 24}"),
    # Worse requests, whose other faults must not come first.
    ("GET", f"{LINES}/not-an-id"),
    ("POST", f"{LINES}/not-an-id"),
    ("GET", f"{LINES}?limit=none"),
]


def second_key(workspace: Workspace) -> str:
    stores = workspace.world.stores
    return issue_key(stores.workspaces, stores.api_keys, workspace.id, "second", 0)


def signed_in(workspace: Workspace, claims: Json | None = None, header: Json | None = None) -> str:
    told = {"workspaceId": workspace.id, "claims": claims or {}, "header": header or {}}
    return "Bearer " + str(workspace.world.control("session-tokens", **told)["token"])


def with_checksum(body: str) -> str:
    return f"{body}{zlib.crc32(body.encode()):08x}"


def refused(answer: httpx.Response) -> bool:
    return (answer.status_code, answer.text) == (401, '{"error": "Unauthorized"}')


def test_an_api_key_works_on_every_route(workspace: Workspace) -> None:
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
def test_no_credential_or_a_bad_one_is_401_before_anything_else(world: World, authorization: str | None) -> None:
    """[1] [5] The same body on every route, whatever else is wrong with the request."""
    headers = {} if authorization is None else {"Authorization": authorization}
    for method, path in ROUTES:
        content = "not even JSON" if method == "POST" else None
        assert refused(world.send(method, path, headers=headers, content=content))


def test_an_unknown_key_of_a_known_workspace_is_401(workspace: Workspace) -> None:
    """[1] Well formed, but never issued."""
    unknown = {"Authorization": f"Bearer {new_api_key(workspace.id)}"}
    for method, path in ROUTES:
        assert refused(workspace.send(method, path, headers=unknown, json={} if method == "POST" else None))


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "BeArEr"])
def test_the_scheme_is_case_insensitive(workspace: Workspace, scheme: str) -> None:
    """[2]"""
    answer = workspace.send("GET", LINES, headers={"Authorization": f"{scheme} {workspace.api_key}"})
    assert answer.status_code == 200


def test_the_token_is_case_sensitive_and_stands_alone(workspace: Workspace) -> None:
    """[2]"""
    key = workspace.api_key
    for authorization in (f"Bearer {key.upper()}", f"Bearer {key[:-1]}", f"Bearer {key}0", key, f"Bearer {key} {key}"):
        assert refused(workspace.send("GET", LINES, headers={"Authorization": authorization}))


def test_revoking_a_key_takes_effect_on_the_next_call(workspace: Workspace) -> None:
    """[2] And only that key's."""
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
def test_a_session_of_a_mapped_organisation_is_its_workspace(workspace: Workspace, claims: Json) -> None:
    """[3] Both versions of the organisation claim; lines are the workspace's."""
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
        ({"exp": None}, {}),
        ({"nbf": int(time.time()) + 3600}, {}),
        ({"iat": int(time.time()) + 3600}, {}),
        ({"iss": "https://clerk.elsewhere.test"}, {}),
        ({"iss": None}, {}),
        ({"azp": "https://evil.test"}, {}),
        ({"org_id": None}, {}),
        ({"org_id": "org_without_a_workspace"}, {}),
        ({"org_id": 7}, {}),
        ({"org_id": "x" * 2100}, {}),
        ({"org_id": "\ud800"}, {}),
        ({"org_id": None, "o": {"id": "org_without_a_workspace"}}, {}),
        ({"org_id": None, "o": "org"}, {}),
        ({"sid": None}, {}),
        ({"sid": ""}, {}),
        ({}, {"alg": "none"}),
        ({}, {"alg": "None"}),
        ({}, {"alg": "HS256"}),
        ({}, {"alg": "RS512"}),
        ({}, {"alg": None}),
    ],
)
def test_a_session_that_is_not_in_order_is_401(spare: Workspace, claims: Json, header: Json) -> None:
    """[3]"""
    bad = {"Authorization": signed_in(spare, claims, header)}
    assert refused(spare.send("GET", LINES, headers=bad))
    assert refused(spare.send("POST", LINES, json=PHONE, headers=bad))


def test_a_session_token_that_was_tampered_with_is_401(workspace: Workspace) -> None:
    """[3] One workspace's signature under another workspace's claims."""
    other = workspace.world.workspace()
    head, _, signature = signed_in(workspace).split(".")
    _, claims, _ = signed_in(other).split(".")
    assert refused(workspace.send("GET", LINES, headers={"Authorization": f"{head}.{claims}.{signature}"}))


def test_browsers_of_the_allowed_origins_may_call(workspace: Workspace) -> None:
    """[3] CORS by a parameter: the preflight, and the headers that a page may read."""
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


def test_browsers_of_other_origins_may_not(workspace: Workspace) -> None:
    """[3]"""
    foreign = {"Origin": "https://evil.test"}
    preflight = workspace.world.http.options(LINES, headers=foreign | {"Access-Control-Request-Method": "POST"})
    assert "access-control-allow-origin" not in preflight.headers
    assert "access-control-allow-origin" not in workspace.send("GET", LINES, headers=foreign).headers


def test_the_workspace_comes_from_the_credential_alone(world: World, workspace: Workspace) -> None:
    """[4] A workspace id in the body is ignored."""
    other = world.workspace()
    line_id = workspace.included(PHONE | {"workspaceId": other.id, "workspace_id": other.id})["line"]["_id"]
    assert [line["_id"] for line in workspace.lines()] == [line_id]
    assert other.lines() == []
    assert other.get(line_id).status_code == 404
    assert other.manage(line_id, "cancel").status_code == 404


def test_two_keys_of_a_workspace_share_everything(workspace: Workspace) -> None:
    """[5] Lines, lock, capacity, idempotency keys and rate budget."""
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
    """[5] Neither an API key nor an idempotency key can be read from the table."""
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
    """[5] Not when all goes well, not when it does not."""
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

"""The pages about the examples: their code is in the examples, their commands run, their events are real."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml

from tests.examples import node
from tests.examples.conftest import QUICKSTART, ROOT, Json, Provisioner, Workspace
from tests.local.__main__ import LINE
from tests.support.markdown import all_blocks, assert_console, blocks, kinds, missing_links

if TYPE_CHECKING:
    from collections.abc import Callable

PAGES = ["docs/integrate.md", "docs/provisioner.md"]
EXCERPTS = {"bash": "sh", "python": "py", "typescript": "ts"}


@pytest.mark.parametrize("page", PAGES)
def test_page_shows_only_code_of_the_examples_that_are_tested(page: str) -> None:
    """And has no block of a kind that no test knows."""
    assert set(kinds(page)) <= {*EXCERPTS, "console", "console after payment", "console aws", "json"}
    excerpts = [(text, suffix) for kind, suffix in EXCERPTS.items() for text in blocks(page, kind)]
    assert excerpts
    for text, suffix in excerpts:
        assert any(text in path.read_text() for path in ROOT.glob(f"examples/**/*.{suffix}")), text


def test_commands_of_the_integration_page_print_what_it_shows(workspace: Callable[..., Workspace]) -> None:
    """In one workspace, in the order of the page; `…` stands for anything."""
    starter = workspace()
    consoles = [(kind, text) for kind, text in all_blocks("docs/integrate.md") if kind.startswith("console")]
    assert {kind for kind, _ in consoles} == {"console", "console after payment"}
    for kind, text in consoles:
        if kind == "console after payment":
            newest, *_ = starter.http.get("/api/line-requests").json()["lines"]
            assert httpx.post(f"{newest['paymentLinkUrl']}/pay").is_redirect
        assert_console(text, API=starter.origin, AUTH=starter.auth, LINE=LINE)


def test_integration_page_says_how_each_quickstart_is_run() -> None:
    """With the program that test_quickstart.py runs it with, and the oldest Node that needs no package."""
    text = (ROOT / "docs/integrate.md").read_text()
    rows = re.findall(r"^\| \[\w+\]\(\.\./(\S+)\) \| `(\S+) (\S+)` \|", text, re.MULTILINE)
    assert all(link == file for link, _, file in rows)
    assert {(program, ROOT / file) for _, program, file in rows} == {
        ("bash", QUICKSTART / "curl.sh"),
        ("python3", QUICKSTART / "quickstart.py"),
        ("node", QUICKSTART / "quickstart.ts"),
    }
    major, minor = node.STRIPS_TYPES_SINCE
    for page in (text, (QUICKSTART / "quickstart.ts").read_text()):
        assert f"Node {major}.{minor} or later" in page


def test_events_of_the_provisioner_page_are_what_the_reference_receives_and_publishes(provisioner: Provisioner) -> None:
    """The page's results are those that its event leads to, but for the order's number."""
    event, succeeded, failed = (json.loads(text) for text in blocks("docs/provisioner.md", "json"))
    assert provisioner.invoke(event)
    [result] = provisioner.results.receive(event["lineId"], 1)
    assert result["delivered"].keys() == succeeded["delivered"].keys()
    assert result | {"delivered": succeeded["delivered"]} == succeeded
    other: Json = {"eventId": f"{'0' * 24}:1", "lineId": "0" * 24}
    assert provisioner.invoke(event | other | {"line": event["line"] | {"lastName": "Sold-Out"}})
    assert provisioner.results.receive(other["lineId"], 1) == [failed | other]


def test_event_of_the_provisioner_page_has_the_fields_of_the_bus(
    workspace: Callable[..., Workspace], provisioner: Provisioner
) -> None:
    """The product's own event for a new line."""
    [shown, *_] = (json.loads(text) for text in blocks("docs/provisioner.md", "json"))
    line_id = workspace().create().json()["line"]["_id"]
    # The next one may have come, too: the local stack provisions the line.
    [published, *_] = provisioner.changes.receive(line_id, 1)
    assert (published.keys(), published["line"].keys()) == (shown.keys(), shown["line"].keys())
    assert published["eventId"] == f"{line_id}:1"


def test_llms_txt_is_small_and_names_every_route_status_and_error() -> None:
    """[22] Of openapi.yaml: nothing is missing and nothing is made up."""
    text = (ROOT / "llms.txt").read_text()
    assert len(text.encode()) <= 6 * 1024
    description: Json = yaml.safe_load((ROOT / "openapi.yaml").read_text())
    routes = {f"{method.upper()} {path}" for path, methods in description["paths"].items() for method in methods}
    named = set(re.findall(r"^- `((?:GET|POST|DELETE|PUT|PATCH) /\S+?)`", text, re.MULTILINE))
    assert named == {route for route in routes if not route.startswith("PARAMETERS")}
    responses: Any = description["paths"]["/api/line-requests"]["post"]["responses"]
    assert {found[:3] for found in re.findall(r"^- (\d{3} .)", text, re.MULTILINE)} == set(responses)
    assert set(re.findall(r"^- `([a-z_]+)`:", text, re.MULTILINE)) == set(
        description["components"]["schemas"]["Status"]["enum"]
    )


def test_integration_page_names_every_status_and_error() -> None:
    """Each has its row: what it means and what to do."""
    text = (ROOT / "docs/integrate.md").read_text()
    description: Json = yaml.safe_load((ROOT / "openapi.yaml").read_text())
    assert set(re.findall(r"^\| `([a-z_]+)` \|", text, re.MULTILINE)) == set(
        description["components"]["schemas"]["Status"]["enum"]
    )
    statuses = {
        status
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
        if path.startswith("/api/") and method != "parameters"
        for status in operation["responses"]
        if status >= "400"
    }
    assert set(re.findall(r"^\| (\d{3}) \|", text, re.MULTILINE)) == statuses


def test_integration_page_explains_every_error_code() -> None:
    """[64] In the table of errors."""
    table = re.findall(r"^\| (?:\d{3}|none) \|.*$", (ROOT / "docs/integrate.md").read_text(), re.MULTILINE)
    codes = yaml.safe_load((ROOT / "openapi.yaml").read_text())["components"]["schemas"]["ErrorCode"]["enum"]
    assert set(codes) - {"invalid_signature"} == {code for code in codes if f"`{code}`" in "".join(table)}


@pytest.mark.parametrize(
    "question",
    ["retry", "click", "pays twice", "webhook is late", "long does a key live", "on 409", "on 503", "on 502"],
)
def test_integration_page_answers_what_integrators_ask(question: str) -> None:
    asked = re.findall(r"^\*\*(.+\?)\*\* \S", (ROOT / "docs/integrate.md").read_text(), re.MULTILINE)
    assert [text for text in asked if question in text]


def test_every_file_of_the_examples_is_one_that_is_tested() -> None:
    """The quickstarts run in test_quickstart.py, the provisioner and its carrier in test_provisioner.py."""
    there = {str(path.relative_to(ROOT)) for path in ROOT.glob("examples/**/*") if path.is_file()}
    quickstarts = {f"examples/quickstart/{name}" for name in ("curl.sh", "quickstart.py", "quickstart.ts")}
    provisioner = {"carrier_double.py", "function/app.py", "function/carrier.py", "template.yaml"}
    tested = quickstarts | {f"examples/provisioner/{name}" for name in provisioner}
    assert {name for name in there if "__pycache__" not in name} == tested


@pytest.mark.parametrize("page", [*PAGES, "llms.txt"])
def test_page_links_to_files_that_are_there(page: str) -> None:
    assert missing_links(page) == []

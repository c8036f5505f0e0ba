"""The pages say what is there: links, names, events, scopes, parameters, permissions, commands."""

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from line_requests.billing.client import API_VERSION
from line_requests.billing.events import INVOICE_EVENTS, REVERSAL_EVENTS, SUBSCRIPTION_EVENTS
from tests.examples.conftest import Workspace, workspace
from tests.shape.cloudformation import Json, of_type, statements
from tests.support import markdown
from tests.support.markdown import kinds

__all__ = ["workspace"]

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("**/*.md"))
OPERATORS = ("deploy", "operate", "recover", "security", "upgrade")
BILLING = ROOT / "layers/line_requests/billing"
READS = {"list", "retrieve", "retrieve_current"}

# What only commands do at Stripe, with a person's own key.
PERSONS = {"credit_notes.py", "setup.py"}


def text(page: str) -> str:
    return (DOCS / f"{page}.md").read_text()


def blocks(page: str, kind: str) -> list[str]:
    return markdown.blocks(f"docs/{page}.md", kind)


def rows(page: str, heading: str) -> Iterator[list[str]]:
    """The cells of a table's rows, without code marks; the table is the one whose first heading this is."""
    [table] = re.findall(rf"^\| {heading} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", text(page), re.MULTILINE)
    for row in table.splitlines():
        yield [cell.strip().strip("`") for cell in row.strip("|").split("|")]


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_page_starts_with_who_it_is_for(page: Path) -> None:
    title, empty, audience, *_ = page.read_text().splitlines()
    assert (title[:2], empty, audience[:4]) == ("# ", "", "For ")


@pytest.mark.parametrize("page", OPERATORS)
def test_every_name_on_an_operators_page_exists(page: str, template: Json, template_text: str) -> None:
    """Resources, parameters, outputs, metrics and alarms in CamelCase; events in capital words."""
    sources = [*(ROOT / "layers/line_requests").rglob("*.py"), *ROOT.glob("functions/*/app.py")]
    code = template_text + "".join(path.read_text() for path in sources)
    known = {*template["Resources"], *template["Parameters"], *template["Outputs"], *re.findall(r"\w+", code)}
    prose = re.sub(r"^```.*?^```$", "", text(page), flags=re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"`([A-Z][a-z]+(?:[A-Z0-9][a-z0-9]*)+)`", prose))
    assert named
    assert {name for name in named if not {name, f"{name}Alarm"} & known} == set()
    events = re.findall(r"`((?:[A-Z][a-z]+ )+[A-Z][a-z]+)`", prose)
    assert [name for name in events if not re.search(rf"\b{name}\b", code)] == []


def test_deploy_page_has_every_parameter_with_its_default_in_the_order_of_the_questions(template: Json) -> None:
    shown = [(name, default.strip("`")) for name, default, _ in rows("deploy", "parameter")]
    assert shown == [(name, str(given.get("Default", ""))) for name, given in template["Parameters"].items()]


def words(said: str) -> set[str]:
    """Its words without plurals and links; AlarmTopicArn is three."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", re.sub(r"\]\(.*?\)", "", said))
    return {word.rstrip("s") for word in re.findall(r"[a-z]{3,}", apart.lower())}


def test_meaning_of_a_parameter_on_the_deploy_page_is_that_of_the_template(template: Json) -> None:
    """No other parameter's description shares more words with it, and it has no number that is not there."""
    says = {name: f"{name} {given['Description']}" for name, given in template["Parameters"].items()}
    for name, _, meaning in rows("deploy", "parameter"):
        shared = {other: len(words(meaning) & words(text)) for other, text in says.items()}
        assert shared[name] == max(shared.values()) > 0, (name, shared)
        assert set(re.findall(r"(?<!step )\b\d+", meaning)) <= set(re.findall(r"\d+", says[name])), name


def test_upgrade_page_has_every_way_to_move_traffic(template: Json) -> None:
    shown = [name for name, _ in rows("upgrade", "`DeploymentType`")]
    assert shown == template["Parameters"]["DeploymentType"]["AllowedValues"]


def test_deploy_page_has_the_events_and_the_version_of_the_webhook() -> None:
    """[43][44]"""
    events = INVOICE_EVENTS + SUBSCRIPTION_EVENTS + REVERSAL_EVENTS
    assert tuple(re.findall(r"^- `([a-z_.]+)`$", text("deploy"), re.MULTILINE)) == events
    assert f"`{API_VERSION}`" in text("deploy")


def scopes(code: str) -> dict[str, str]:
    """What the code may need at Stripe, by resource."""
    paths = {"invoiceitems": "invoice_items"}
    found = {(paths.get(path, path), "list") for path in re.findall(r'"/v1/(\w+)', code)}
    for resource, method in re.findall(r"\bv1\.(\w+(?:\.settings|\.configurations)?)(?:\.(\w+))?", code):
        found.add((resource, method))
    access = {resource: "read" for resource, _ in found}
    access |= {resource: "write" for resource, method in found if method not in READS}
    return {resource.replace(".", " ").replace("_", " ").capitalize(): level for resource, level in access.items()}


def test_deploy_page_has_the_scopes_that_the_code_needs() -> None:
    """[34] One that is missing stops every request; the second table is what only an operator's key needs."""
    deployment = scopes("".join(path.read_text() for path in BILLING.glob("*.py") if path.name not in PERSONS))
    needed = scopes("".join((BILLING / name).read_text() for name in sorted(PERSONS)))
    operators = {name: level for name, level in needed.items() if deployment.get(name) not in {level, "write"}}
    first, second = re.findall(r"^\| scope \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", text("deploy"), re.MULTILINE)
    shown = [dict(re.findall(r"^\| ([\w ]+) \| (read|write) \|", table, re.MULTILINE)) for table in (first, second)]
    assert shown == [deployment, operators]


def test_security_page_has_what_each_function_may_do(resources: Json) -> None:
    shown = {row[0]: set(re.findall(r"\b[a-z0-9]+:[A-Z]\w+", row[1])) for row in rows("security", "function")}
    assert shown == {
        function: set().union(*(actions for actions, _ in statements(resources, function)))
        for function in of_type(resources, "AWS::Lambda::Function")
    }


# --- commands: run here or in tests/operator/test_docs.py, or tagged as in need of AWS ------------------

# The test that runs or checks the blocks of a page, by their kind.
TESTED_BY = {
    ("README.md", "console"): "examples/test_readme.py",
    ("README.md", "console after payment"): "examples/test_readme.py",
    ("README.md", "console run"): "local/test_process.py",
    ("README.md", "tree"): "examples/test_readme.py",
    ("docs/add-a-field.md", "python"): "growth/test_add_a_field.py",
    ("docs/add-a-field.md", "yaml"): "growth/test_add_a_field.py",
    ("docs/add-a-kind.md", "python"): "growth/test_add_a_kind.py",
    ("docs/add-a-kind.md", "yaml"): "growth/test_add_a_kind.py",
    ("docs/billing.md", "console"): "stories/test_months.py",
    ("docs/billing.md", "text"): "stories/test_months.py",
    ("docs/deploy.md", "console"): "shape/test_docs.py",
    ("docs/deploy.md", "sh"): "operator/test_docs.py",
    ("docs/events.md", "json"): "edges/test_workspace_events.py",
    ("docs/integrate.md", "console"): "examples/test_docs.py",
    ("docs/integrate.md", "console after payment"): "examples/test_docs.py",
    ("docs/integrate.md", "python"): "examples/test_docs.py",
    ("docs/operate.md", "sh"): "operator/test_docs.py",
    ("docs/provisioner.md", "json"): "examples/test_docs.py",
    ("docs/provisioner.md", "python"): "examples/test_docs.py",
    ("docs/recover.md", "sh"): "operator/test_docs.py",
    ("docs/upgrade.md", "sh"): "operator/test_docs.py",
}
NOT_RUN = {("README.md", "console test"), ("README.md", "mermaid")}  # the suite itself, and a diagram
NEED_AWS = """
aws cloudformation describe-stacks
aws secretsmanager create-secret
aws secretsmanager get-secret-value
aws secretsmanager put-secret-value
aws sns create-topic
aws sns subscribe
cd examples/provisioner
export
git checkout
make deploy
python3
read -rs
sam deploy
unset
"""


def test_every_block_of_every_page_is_tested_or_needs_aws() -> None:
    """By a test that names the page; the commands that need AWS are listed here."""
    pages = [str(page.relative_to(ROOT)) for page in (*ROOT.glob("*.md"), *PAGES)]
    there = {(page, kind) for page in pages for kind in kinds(page)}
    assert {block for block in there if block[1] != "console aws"} == {*TESTED_BY, *NOT_RUN}
    for (page, _), test in TESTED_BY.items():
        assert re.search(rf"\b{Path(page).stem}\b", (ROOT / "tests" / test).read_text()), (page, test)
    tagged = [block for page in pages for block in markdown.blocks(page, "console aws")]
    commands = re.findall(
        r"(?:^\$ (?:\w+=\$\()?|\| )(?!printf)((?:aws \S+ |git |make |sam |cd |read )?\S+)",
        "".join(tagged),
        re.MULTILINE,
    )
    assert sorted(set(commands)) == NEED_AWS.split("\n")[1:-1]


@pytest.mark.parametrize("page", OPERATORS)
def test_every_block_is_of_a_kind_that_is_tested(page: str) -> None:
    assert set(kinds(f"docs/{page}.md")) <= {"sh", "console", "console aws"}
    for block in blocks(page, "sh"):
        assert all(line.split()[0] in {"line-requests", "aws", "jq"} for line in block.splitlines()), block
    for block in blocks(page, "console aws"):
        assert all(line.startswith("$ ") for line in block.splitlines()), block


@pytest.mark.parametrize(
    ("page", "stored"),
    [
        (
            "deploy",
            [
                {"api_key": "rk_test_1", "webhook_secrets": []},
                {"api_key": "rk_test_2", "webhook_secrets": ["whsec_2"]},
            ],
        ),
        ("upgrade", [{"api_key": "rk_test_0", "webhook_secrets": ["whsec_2", "whsec_1"]}]),
    ],
)
def test_secrets_reach_no_arguments_and_no_history(page: str, stored: list[Json], tmp_path: Path) -> None:
    """The page's commands, with an `aws` that records how it was called."""
    fake = tmp_path / "aws"
    before = json.dumps({"api_key": "rk_test_old", "webhook_secrets": ["whsec_2", "whsec_1"]})
    fake.write_text(
        f'#!/bin/sh\necho "$@" >> "$RECORD.argv"\n[ "$2" != get-secret-value ] || {{ echo \'{before}\'; exit; }}\n'
        'tr -d "\n" >> "$RECORD.stdin"\necho >> "$RECORD.stdin"\n'
    )
    fake.chmod(0o700)
    commands = [line[2:] for block in blocks(page, "console aws") for line in block.splitlines() if "read -rs" in block]
    done = subprocess.run(
        ["bash", "-c", "set -o history\n" + "\n".join(commands) + "\nhistory"],
        input="rk_test_0\nrk_test_1\nrk_test_2\nwhsec_2\n",
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "RECORD": str(tmp_path / "record")},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert [json.loads(line) for line in (tmp_path / "record.stdin").read_text().splitlines()] == stored
    seen = done.stdout + done.stderr + (tmp_path / "record.argv").read_text()
    assert "put-secret-value" in seen
    assert "rk_test" not in seen
    assert "whsec_2" not in seen


def test_first_line_by_hand_prints_what_the_page_shows(request: pytest.FixtureRequest) -> None:
    """In one shell, in the order of the page; `…` stands for anything."""
    make: Callable[..., Workspace] = request.getfixturevalue("workspace")
    starter = make("starter")
    [shown] = blocks("deploy", "console")
    commands = "\n".join(line[2:] for line in shown.splitlines() if line.startswith("$ "))
    done = subprocess.run(
        ["bash", "-c", commands.replace("curl", "curl -w '\\n'").replace("-w '\\n' -sS -o", "-sS -o")],
        env={"PATH": os.environ["PATH"], "API": starter.origin, "AUTH": starter.auth},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    output = [line for line in shown.splitlines() if not line.startswith("$ ")]
    printed = done.stdout.splitlines()
    assert len(printed) == len(output), done
    for line, expected in zip(printed, output, strict=True):
        assert re.fullmatch(".*".join(map(re.escape, expected.split("…"))), line), (line, expected)

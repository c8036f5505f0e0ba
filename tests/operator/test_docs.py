"""Every command of the operators' pages: ours run on the local stack, AWS's are checked against botocore's models.

`make deploy` has its own check, tests/vendor/check_deploy.py.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore import xform_name

from line_requests.clock import wall_time_ms
from line_requests.domain.ids import sha256_hex
from line_requests.operator import cli
from line_requests.operator.groups.deployment import CHECKS
from line_requests.operator.plan_files import to_toml
from line_requests.operator.target import Target
from tests.local.deployment import STACK_NAME
from tests.operator import lines

if TYPE_CHECKING:
    from line_requests.domain.model import Line
    from tests.operator.local import Local

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLE = DOCS.parent / "lines.example.csv"
PAGES = ("deploy.md", "operate.md", "recover.md", "upgrade.md")
LINE, INVOICE, KEY = "01a201e51d611380de40ba3c", "in_1NabcDEF", "3f9a1c"
# It writes to the operator's own shell.
NOT_RUN = {"line-requests --install-completion"}
# Of the AWS CLI itself: https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-options.html
OPTIONS = {"query", "output"}
# `--endpoint` would be taken for an option: https://docs.aws.amazon.com/cli/latest/reference/sns/subscribe.html
RENAMED = {"notification-endpoint": "endpoint"}


def commands(page: str, tool: str) -> list[str]:
    """The page's commands of this tool, also behind a pipe or in a substitution."""
    blocks = re.findall(r"```(?:sh|console aws)\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    found = rf"(?:^|^\$ |\| |\$\()({tool} [^)\n]+)"
    return [command for block in blocks for command in re.findall(found, block, re.MULTILINE)]


@pytest.mark.timeout(400)
@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_runs(local: Local, page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "AT_MS", wall_time_ms())
    local.stack.provisioner.set_mode("manual")
    local.capsys.readouterr()
    wrong = []
    for command in commands(page, "line-requests"):
        if command in NOT_RUN:
            continue
        argv = World(local, tmp_path).argv(command)
        if cli.main(argv) != cli.DONE:
            wrong.append((command, argv, local.capsys.readouterr()))
    assert wrong == []


class World:
    """What a page's command names, made anew for each: the workspace acme, its line, key, invoice, and files."""

    def __init__(self, local: Local, folder: Path) -> None:
        self.local = local
        self.folder = folder
        self.plans = local.stores.plans.all()
        self.workspace = ""

    def argv(self, command: str) -> list[str]:
        words = shlex.split(command)[1:]
        names = {"prod": STACK_NAME, "staging": STACK_NAME}
        if "plans.toml" in words:
            names["plans.toml"] = self._file("plans.toml", to_toml(self.plans))
        if "lines.csv" in words:
            names["lines.csv"] = self._lines_file()
        # Only these: what there is of the others makes `doctor` take longer.
        if {"acme", LINE, INVOICE} & {*words}:
            names |= self._acme(words)
        api_url = ["--api-url", self.local.stack.origin] if words[2] == "smoke" else []
        return [names.get(word, word) for word in words] + api_url

    def _acme(self, words: list[str]) -> dict[str, str]:
        customer = self._subscriber("Acme")
        self.workspace = f"acme-{customer[-8:].lower()}"
        names = {"acme": self.workspace, "cus_123": customer}
        names |= {"org_123": f"org_{customer}", "org_456": f"org_2{customer}"}
        if words[2:4] != ["workspace", "create"]:
            assert self.local.run("workspace", "create", self.workspace, "--customer", customer)[0] == cli.DONE
        if "unlink" in words:
            self.local.run("workspace", "link", self.workspace, names["org_123"])
        if KEY in words:
            names[KEY] = sha256_hex(self.local.run("key", "issue", self.workspace)[1]["key"])
        if LINE in words:
            names[LINE] = self._line(words[3]).id
        if INVOICE in words:
            names[INVOICE] = self._line("cancel").invoice_id or ""
        return names

    def _lines_file(self) -> str:
        """A line of a customer who has no workspace yet."""
        customer = self._subscriber("Beta")
        header, row, *_ = EXAMPLE.read_text(encoding="utf-8").splitlines()
        row = row.replace("acme", f"beta-{customer[-8:].lower()}").replace("cus_123", customer)
        return self._file("lines.csv", f"{header}\n{row}\n")

    def _subscriber(self, name: str) -> str:
        customer = self.local.stripe.customers.create({"name": name}).id
        base = next(plan for plan in self.plans if plan.name == "starter").base_prices[0]
        self.local.stripe.subscriptions.create({"customer": customer, "items": [{"price": base}]})
        return customer

    def _file(self, name: str, text: str) -> str:
        file = self.folder / name
        file.write_text(text, encoding="utf-8")
        return str(file)

    def _line(self, verb: str) -> Line:
        """A line in the state in which the command makes sense."""
        if verb == "cancel":
            return lines.invoiced(self.local, self.workspace, Target(STACK_NAME))
        if verb == "refund":
            line = lines.invoiced(self.local, self.workspace, Target(STACK_NAME))
            return lines.paid_and_failed(self.local, self.local.stack.double, line)
        make = {"answer": lines.requested, "retry": lines.failed}.get(verb, lines.active)
        return make(self.local, self.workspace)


@pytest.mark.parametrize("page", PAGES)
def test_every_aws_command_of_a_page_exists_with_its_parameters(page: str) -> None:
    """Nothing here is AWS, so they are not run."""
    for command in commands(page, "aws"):
        _, service, operation, *rest = shlex.split(command)
        client = boto3.client(service.removesuffix("api"), region_name="us-east-1")  # type: ignore[call-overload] # any service
        if operation == "wait":
            assert rest[0].replace("-", "_") in client.waiter_names, command
            continue
        names = {xform_name(name, "-"): name for name in client.meta.service_model.operation_names}
        shape = client.meta.service_model.operation_model(names[operation]).input_shape
        given = {word.removeprefix("--").removeprefix("no-") for word in rest if word.startswith("--")}
        there = {xform_name(name, "-") for name in shape.members}
        assert {RENAMED.get(name, name) for name in given - OPTIONS} <= there, command


def test_pages_name_no_command_that_is_not_there() -> None:
    """In tables and sentences commands have placeholders, so they are only parsed."""
    for page in PAGES:
        for command in re.findall(r"`line-requests ([^`]+)`", (DOCS / page).read_text(encoding="utf-8")):
            words = [{"LINE": LINE, "WORKSPACE": "acme"}.get(word, word) for word in shlex.split(command)]
            if words != ["--help"]:
                cli.app.parse_args(words, exit_on_error=False, print_error=False)


def test_every_fix_of_the_doctor_is_a_command_or_a_page() -> None:
    for check in CHECKS:
        for command in re.findall(r"line-requests ([a-z][^;,:]*)", check.fix):
            words = [{"LINE": LINE, "FILE": "plans.toml"}.get(word, word) for word in command.split()]
            cli.app.parse_args(words, exit_on_error=False, print_error=False)
        assert re.search(r"line-requests |aws |https://|docs/", check.fix), check.name

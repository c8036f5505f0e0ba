"""`line-requests doctor | reindex | setup-stripe | smoke`: the deployment as a whole."""

from typing import Annotated

from cyclopts import App, Parameter

from line_requests.clock import wall_time_ms
from line_requests.operator import doctor as examination
from line_requests.operator import doctor_aws, doctor_lines, doctor_stripe, render, stripe_setup
from line_requests.operator import smoke as smoke_test
from line_requests.operator.groups.arguments import Deployed
from line_requests.operator.refusal import Incomplete, Refused, Row, View
from line_requests.operator.target import new_clock

CHECKS = [*doctor_aws.CHECKS, *doctor_stripe.CHECKS, *doctor_lines.CHECKS]


def register(app: App) -> None:
    """These commands have no group."""
    app.command(doctor, help_epilogue="Example:\n  line-requests --stack prod doctor")
    app.command(reindex, help_epilogue="Example:\n  line-requests --stack prod reindex")
    app.command(smoke, help_epilogue="Example:\n  line-requests --stack staging smoke")
    app.command(setup_stripe, help_epilogue="Example:\n  line-requests --stack prod setup-stripe")


def doctor(*, target: Deployed) -> View:
    """Check the deployment, without changing anything; exits with 1 when it finds a fault.

    Every fault names the command or page that fixes it. Set STRIPE_API_KEY to a key of your own, which may also read
    webhook endpoints, the account and the customer portal.
    """
    patient = examination.Patient(target, wall_time_ms())
    rows: list[Row] = []
    with render.status("Examining"):
        rows += [
            {"check": found.check, "result": found.result, "detail": found.detail or None, "fix": found.fix or None}
            for found in examination.examine(patient, CHECKS)
        ]
    faults = sum(row["result"] == "fault" for row in rows)
    if faults:
        raise Incomplete(rows, f"{faults} of {len(rows)} checks found a fault")
    return rows


def reindex(*, target: Deployed) -> View:
    """Repair the index that lists are read from, after a restore or an upgrade: it reads the whole table.

    It changes no line and no workspace, and may run while requests come in.
    """
    stores = target.deployment.stores
    read = repaired = 0
    for scanned in render.count(stores.operator.scan(), "Reading the whole table"):
        read += 1
        if scanned.is_stale:
            workspace_id, line = scanned.workspace_id, scanned.line
            record = stores.lines.get(workspace_id, line.id) if line else stores.workspaces.get(workspace_id)
            if record is not None:
                stores.operator.repair(record)
                repaired += 1
    return {"read": read, "repaired": repaired}


def setup_stripe(
    *,
    url: Annotated[str | None, Parameter(help="Where Stripe sends events; --stack knows it.")] = None,
    rotate: Annotated[bool, Parameter(negative="", help="Replace the endpoint, and so the signing secret.")] = False,
    target: Deployed,
) -> View:
    """Create or update the webhook endpoint at Stripe, and store its signing secret.

    The endpoint gets the events and the API version that this release needs. Set STRIPE_API_KEY to a key that may
    write webhook endpoints; the deployment's own key need not.
    """
    url = url or target.environment.get("WEBHOOK_URL")
    secret_arn = target.environment.get("STRIPE_SECRET_ARN")
    if not url or not secret_arn:
        raise Refused("name the deployment with --stack, or set STRIPE_SECRET_ARN and give --url")
    setup, secrets = target.billing().setup, target.client("secretsmanager")
    return stripe_setup.set_up(setup, secrets, secret_arn, url, rotate=rotate)


def smoke(
    *,
    api_url: Annotated[str | None, Parameter(help="Where the API answers; --stack knows it.")] = None,
    target: Deployed,
) -> View:
    """Prove the deployment from outside, on a workspace of its own that is removed again.

    With a test-mode key it also pays for a line and waits for the webhook; the key, your own in STRIPE_API_KEY, has to
    write customers and subscriptions. The provisioner receives each line, and its release.
    """
    url = api_url or target.environment.get("API_URL")
    if not url:
        raise Refused("name the deployment with --stack, or give --api-url")
    clock = new_clock(smoke_test.BUDGET_S)
    test = smoke_test.Smoke(target, target.billing(clock), url.rstrip("/"), clock)
    try:
        with render.status("Trying the deployment"):
            test.run()
    except KeyboardInterrupt:
        if test.left:
            render.note(f"Left behind: {test.left}")
        raise
    if test.failed:
        raise Incomplete(test.rows, f"{test.failed} of {len(test.rows)} steps failed")
    return test.rows

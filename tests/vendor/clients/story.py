"""The story, through the client of openapi-python-client: `story.py ORIGIN API_KEY`."""

import sys
import time

import httpx
from line_requests_client import AuthenticatedClient
from line_requests_client.api.line_requests import (
    create_line_request,
    get_line_request,
    list_line_requests,
    manage_line_request,
)
from line_requests_client.models import (
    CreatedAwaitingPayment,
    LineAction,
    LineActionAction,
    LinePage,
    LineSettled,
    PurchasedPhoneRequest,
    RequestInProgress,
)

ORIGIN, API_KEY = sys.argv[1:]
PHONE = PurchasedPhoneRequest(first_name="Ada", last_name="Lovelace", channel_type="phone")

with AuthenticatedClient(base_url=ORIGIN, token=API_KEY) as client:
    created = create_line_request.sync(client=client, body=PHONE)
    assert isinstance(created, CreatedAwaitingPayment), created
    conflict = create_line_request.sync(client=client, body=PHONE)
    assert isinstance(conflict, RequestInProgress), conflict
    assert conflict.existing_line.field_id == created.line.field_id
    cancel = LineAction(action=LineActionAction.CANCEL)
    canceled = manage_line_request.sync(created.line.field_id, client=client, body=cancel)
    assert isinstance(canceled, LineSettled), canceled
    page = list_line_requests.sync(client=client, limit=1)
    assert isinstance(page, LinePage), page
    assert page.lines[0].field_id == created.line.field_id
    second = create_line_request.sync(client=client, body=PHONE)
    assert isinstance(second, CreatedAwaitingPayment), second
    assert httpx.post(f"{second.payment_url}/pay").status_code < 400
    deadline = time.monotonic() + 30  # one poll of a line in a few seconds asks Stripe
    while not isinstance(paid := get_line_request.sync(second.line.field_id, client=client), LineSettled):
        assert time.monotonic() < deadline, paid
        time.sleep(0.5)
    assert paid.payment_status == "paid"

"""SnapStart: what handlers import is in the snapshot, and each restored process gets new random numbers."""

import random
from importlib import import_module

from snapshot_restore_py import register_after_restore

# What libraries import on first use; a test compares this with every path of the handlers.
LATE_IMPORTS = (
    "email_validator",
    "encodings.punycode",  # addresses outside ASCII
    "idna.uts46data",
    "netrc",  # requests, before its first call
    "stripe._invoice_item",  # the Stripe SDK, for each service and object
    "stripe._invoice_item_service",
    "stripe._invoice_line_item",
    "stripe._invoice_service",
    "stripe._object_classes",
    "stripe._plan",
    "stripe._subscription_item",
    "stripe._subscription_service",
    "stripe._telemetry_id",
)


def prepare() -> None:
    """Imports what is imported late, and has every restored process draw new random numbers; called at init."""
    for module in LATE_IMPORTS:
        import_module(module)
    # botocore's retries draw their pauses from it; each process would repeat the snapshot's.
    register_after_restore(random.seed)

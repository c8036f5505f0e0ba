"""Run the double alone: python -m tests.local.stripe_double --port 12111."""

from __future__ import annotations

import argparse
import threading

from . import StripeDouble


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=12111)
    with StripeDouble(parser.parse_args().port) as double:
        print(double.url, flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()

"""Verifies calls with Stripe's own package: one JSON object a line in, `ok` or `refused` a line out.

`header` and `body` are bytes, written as the letters of Latin-1, which is how Python's web servers hand
headers on. A call is ok if it is by any of the `secrets`. The clock says `now`."""

import json
import sys
import time

from stripe import WebhookSignature

now = 0
time.time = lambda: now


def is_good(call, secret):
    try:
        body = call["body"].encode("latin-1")
        return WebhookSignature.verify_header(body, call["header"], secret, call["tolerance"])
    except Exception:
        # Whatever it raises, the shop's handler does not go on.
        return False


for line in sys.stdin:
    call = json.loads(line)
    now = call["now"]
    print("ok" if any(is_good(call, secret) for secret in call["secrets"]) else "refused")
    if call["flush"]:
        sys.stdout.flush()

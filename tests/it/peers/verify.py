"""Verifies webhooks with the official package: one JSON object a line in, `ok` or `refused` a line out."""

import json
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

for line in sys.stdin:
    call = json.loads(line)
    try:
        Webhook(call["secret"]).verify(call["body"], call["headers"])
        print("ok", flush=True)
    except WebhookVerificationError:
        print("refused", flush=True)

"""A mail server: `smtp.py starttls|tls|none CA_FILE`. Its port is the first line out, then one JSON object
a mail, taken apart by Python's own parser. It takes user paidup with the password hunter2."""

import email
import email.policy
import json
import socket
import ssl
import sys
import warnings

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        told = {
            "recipients": envelope.rcpt_tos,
            "headers": [[name, str(value)] for name, value in mail.items()],
            "text": mail.get_body(("plain",)).get_content(),
            "html": mail.get_body(("html",)).get_content(),
            "tls": session.ssl is not None,
        }
        print(json.dumps(told), flush=True)
        return "250 OK"


def authenticate(server, session, envelope, mechanism, login):
    is_known = (login.login, login.password) == (b"paidup", b"hunter2")
    # Not handled: the server is still to say no.
    return AuthResult(success=is_known, handled=False)


# It warns that it offers AUTH without STARTTLS; in mode tls all of it is in TLS.
warnings.simplefilter("ignore")
mode, ca_file = sys.argv[1:]
ca = trustme.CA()
ca.cert_pem.write_to_path(ca_file)
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
ca.issue_cert("127.0.0.1").configure_cert(context)
with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
arguments = {"hostname": "127.0.0.1", "port": port}
if mode != "none":
    arguments.update(authenticator=authenticate, auth_required=True)
if mode == "starttls":
    arguments.update(tls_context=context, require_starttls=True)
if mode == "tls":
    arguments.update(ssl_context=context, auth_require_tls=False)
controller = Controller(Handler(), **arguments)
controller.start()
print(port, flush=True)
# Until nobody listens any more.
sys.stdin.read()
controller.stop()

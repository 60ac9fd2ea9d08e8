"""Who may drive a microscope over a network: certificates for both ends, and tokens.

Made by ``stemscout serve --init-credentials DIR``: a folder each for the server, for whoever may
control and for whoever may observe, which holds what that end needs and no more.  Both ends show a
certificate of one authority, which is made for this alone; the token says what its bearer may do.
"""

from __future__ import annotations

import datetime
import hmac
import ipaddress
import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DAYS = 365  # for which certificates are good
RIGHTS = OBSERVE, CONTROL = "observe", "control"  # whoever may control may observe
AUTHORITY, SERVER, CLIENT = "authority", "server", "client"
TOKENS = "tokens.json"


@dataclass(frozen=True)
class Credentials:
    """What one end shows.

    Attributes:
        authority, certificate, key: PEM.
        tokens: by right; a client has one of them.
    """

    authority: bytes
    certificate: bytes
    key: bytes = field(repr=False)
    tokens: dict[str, str] = field(repr=False)

    @classmethod
    def of_server(cls, folder: Path) -> Credentials:
        """From ``DIR/server``; ValueError where something is missing."""
        return cls._of(folder, SERVER)

    @classmethod
    def of_client(cls, folder: Path) -> Credentials:
        """From ``DIR/control`` or ``DIR/observe``; ValueError where something is missing."""
        found = cls._of(folder, CLIENT)
        if len(found.tokens) != 1:
            raise ValueError(
                f"{folder} holds {len(found.tokens)} tokens, and a client has one; make new "
                "credentials by stemscout serve --init-credentials"
            )
        return found

    @classmethod
    def _of(cls, folder: Path, end: str) -> Credentials:
        try:
            tokens = json.loads((folder / TOKENS).read_text())
            if not (isinstance(tokens, dict) and set(tokens) <= set(RIGHTS) and tokens):
                raise ValueError(f"it must hold tokens for {' and '.join(RIGHTS)}")
            return cls(
                (folder / f"{AUTHORITY}.crt").read_bytes(),
                (folder / f"{end}.crt").read_bytes(),
                (folder / f"{end}.key").read_bytes(),
                {str(k): str(v) for k, v in tokens.items()},
            )
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{folder} holds no credentials of a {end} ({error}); stemscout serve "
                f"--init-credentials makes them, in folders {SERVER}, {CONTROL} and {OBSERVE}"
            ) from error

    def right_of(self, token: str) -> str | None:
        """What the bearer of a token may do; None for nothing."""
        found = None
        for right, known in self.tokens.items():
            if hmac.compare_digest(token.encode(errors="replace"), known.encode()):
                found = right
        return found


def end_of(folder: Path) -> str:
    """Whose credentials a folder holds: ``SERVER`` or ``CLIENT``; ValueError for none."""
    for end in (SERVER, CLIENT):
        if (folder / f"{end}.crt").exists():
            return end
    raise ValueError(
        f"{folder} holds no credentials; stemscout serve --init-credentials makes them, in folders "
        f"{SERVER}, {CONTROL} and {OBSERVE}"
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_reach(host: str, credentials: Credentials | None) -> None:
    """Beyond this machine nobody listens without; ValueError where somebody would."""
    if credentials is None and not is_loopback(host):
        raise ValueError(
            f"{host} can be reached from elsewhere: certificates and tokens are needed "
            "(--credentials; --init-credentials makes them)"
        )


def make(folder: Path, hosts: list[str]) -> None:
    """Write a certificate and a token for each end; nobody else may read them.

    Args:
        folder: new or empty; ``server``, ``control`` and ``observe`` are made in it.
        hosts: names and addresses of the server.

    Raises:
        ValueError: the folder holds something.
        ImportError: cryptography is not installed.
    """
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
    except ImportError as error:
        raise ImportError("credentials need cryptography: pip install 'stemscout[live]'") from error
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} holds something; name a new or empty folder")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    now = datetime.datetime.now(datetime.UTC)
    until = now + datetime.timedelta(days=DAYS)

    def name(of: str) -> Any:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"stemscout {of}")])

    def begun(of: str, key: Any) -> Any:
        return (
            x509.CertificateBuilder()
            .subject_name(name(of))
            .issuer_name(name(AUTHORITY))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(until)
        )

    authority = ec.generate_private_key(ec.SECP256R1())  # it is written nowhere
    constraint = x509.BasicConstraints(ca=True, path_length=0)
    root = begun(AUTHORITY, authority).add_extension(constraint, critical=True)
    trusted = root.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    tokens = {right: secrets.token_urlsafe(32) for right in RIGHTS}
    for end in (SERVER, *RIGHTS):
        key = ec.generate_private_key(ec.SECP256R1())
        use = ExtendedKeyUsageOID.SERVER_AUTH if end == SERVER else ExtendedKeyUsageOID.CLIENT_AUTH
        leaf = begun(end, key).add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        if end == SERVER:
            names = x509.SubjectAlternativeName([_called(x509, h) for h in hosts])
            leaf = leaf.add_extension(names, critical=False)
        shown = leaf.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        own = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        known = tokens if end == SERVER else {end: tokens[end]}
        place, named = folder / end, SERVER if end == SERVER else CLIENT
        place.mkdir(mode=0o700)
        _private(place / f"{AUTHORITY}.crt", trusted)
        _private(place / f"{named}.crt", shown)
        _private(place / f"{named}.key", own)
        _private(place / TOKENS, json.dumps(known, indent=1).encode())


def _called(x509: Any, host: str) -> Any:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _private(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)

"""A report signed with an Ed25519 key: the signature covers the manifest, which holds the digest of every other file.

The manifest alone shows accidents: whoever changes a file can write a new manifest. The signature shows that as well, to
whoever has the public key from elsewhere. docs/evidence.md says what it does not show.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from pytest_gradcam.errors import SettingsError
from pytest_gradcam.evidence import files, plain
from pytest_gradcam.report import manifest
from pytest_gradcam.report.manifest import SIGNATURE
from pytest_gradcam.report.run import now

_PURPOSE = "pytest-gradcam report signature, version 1"


@dataclass(frozen=True)
class Signature:
    """Who signed which manifest, when by their own clock, and with which key; `key` and `signature` are base64."""

    signer: str
    signed: str
    manifest_sha256: str
    key: str
    signature: str

    @property
    def message(self) -> bytes:
        """What is signed: everything else that is said here, and what for."""
        said = {name: value for name, value in asdict(self).items() if name != "signature"}
        return json.dumps({"purpose": _PURPOSE, **said}, sort_keys=True).encode()

    @property
    def phrase(self) -> str:
        return f"by {self.signer} on {self.signed}, with the key {fingerprint(self.key)}"


def sign(directory: Path, key_file: Path, *, signer: str, password: bytes | None = None) -> Signature:
    """Sign the report in the directory with a private key in PEM or OpenSSH form.

    Raises ValueError for a report that is not as its manifest says, and for a file that holds no Ed25519 key.
    """
    changed = list(manifest.differences(directory))
    if changed:
        raise ValueError(f"{directory} is not as its manifest says ({changed[0]}), so it is not signed")
    private = _private_key(key_file, password)
    public = base64.b64encode(private.public_key().public_bytes_raw()).decode()
    unsigned = Signature(signer, now(), manifest.digest(directory), public, "")
    made = base64.b64encode(private.sign(unsigned.message)).decode()
    signed = Signature(**{**asdict(unsigned), "signature": made})
    files.replace(directory / SIGNATURE, json.dumps({"version": 1, **asdict(signed)}, indent=1).encode())
    return signed


def read(directory: Path) -> Signature | None:
    """The signature beside the manifest, unchecked; None if there is none. Raises ValueError for one that cannot be read."""
    path = directory / SIGNATURE
    try:
        found = plain.parse(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as a signature: {error}") from None
    parts = {name: found.get(name) for name in Signature.__dataclass_fields__}
    if found.get("version") != 1 or not all(isinstance(value, str) for value in parts.values()):
        raise ValueError(f"{path} is not a signature of version 1; sign the report again")
    return Signature(**parts)  # type: ignore[arg-type]


def problems(directory: Path, key_file: Path) -> Iterator[str]:
    """Why the report is not what the owner of this public key signed, a phrase each; nothing if it is.

    Raises ValueError if there is no signature, or no Ed25519 key in the file.
    """
    found = read(directory)
    if found is None:
        raise ValueError(f"{directory} has no {SIGNATURE}: the report is not signed")
    trusted = _public_key(key_file)
    own = base64.b64encode(trusted.public_bytes_raw()).decode()
    if found.key != own:
        yield f"{SIGNATURE}: signed with another key, {fingerprint(found.key)}; the key in {key_file} is {fingerprint(own)}"
        return
    if not _verifies(trusted, found):
        yield f"{SIGNATURE}: the signature does not belong to what it says"
    if found.manifest_sha256 != manifest.digest(directory):
        yield f"{manifest.MANIFEST}: changed since it was signed"


def fingerprint(key: str) -> str:
    """The first 16 digits of the SHA-256 of a public key in base64."""
    try:
        raw = base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        return "(no key)"
    return sha256(raw).hexdigest()[:16]


def _verifies(key: Any, found: Signature) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(base64.b64decode(found.signature, validate=True), found.message)
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def _private_key(path: Path, password: bytes | None) -> Any:
    serialization, ed25519 = _cryptography()
    content = path.read_bytes()
    load = serialization.load_ssh_private_key if b"OPENSSH" in content[:80] else serialization.load_pem_private_key
    try:
        key = load(content, password)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path} cannot be read as a private key ({error}); for a password set GRADCAM_KEY_PASSWORD"
        ) from None
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise ValueError(
            f"{path} holds a {type(key).__name__}; expected an Ed25519 key: openssl genpkey -algorithm ed25519"
        )
    return key


def _public_key(path: Path) -> Any:
    serialization, ed25519 = _cryptography()
    content = path.read_bytes()
    load = serialization.load_ssh_public_key if content.startswith(b"ssh-") else serialization.load_pem_public_key
    try:
        key = load(content)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as a public key ({error})") from None
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise ValueError(f"{path} holds a {type(key).__name__}; expected the public half of an Ed25519 key")
    return key


def _cryptography() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ModuleNotFoundError:
        raise SettingsError(
            "signatures need the package cryptography, which is not installed; pip install pytest-gradcam[sign]"
        ) from None
    return serialization, ed25519

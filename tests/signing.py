"""Content Credentials for tests: a certificate authority of our own, and clips signed with a certificate of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.needs import needs

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "coffee.mp4"
SOURCES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
SIGNER, GENERATOR = "Test Studio", "Make Believe"
MIME = {
    ".apng": "image/png",
    ".avi": "video/avi",
    ".gif": "image/gif",
    ".mov": "video/quicktime",
    ".mp4": "video/mp4",
    ".webp": "image/webp",
}


@dataclass(frozen=True)
class Authority:
    """An authority and one certificate that it issued.

    Attributes:
        root: its own certificate, PEM.
        chain: the signer's certificate, then its own, PEM.
        key: the signer's private key, PEM.
    """

    root: bytes
    chain: bytes
    key: bytes


def make_authority(signer: str = SIGNER) -> Authority:
    """A new one. The signer's certificate is what C2PA asks for: ES256, to sign, for e-mail protection."""
    needs("c2pa", command="make test")
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root_name, name = _name("Test Authority"), _name(signer)
    root = _certificate(root_name, root_name, root_key.public_key(), root_key, authority=True)
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
    leaf = _certificate(name, root_name, key.public_key(), root_key, authority=False, purpose=purpose)
    root_pem, leaf_pem = (one.public_bytes(serialization.Encoding.PEM) for one in (root, leaf))
    form = serialization.PrivateFormat.PKCS8
    key_pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    return Authority(root_pem, leaf_pem + root_pem, key_pem)


def _name(organisation: str) -> Any:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    parts = ((NameOID.COUNTRY_NAME, "XX"), (NameOID.ORGANIZATION_NAME, organisation), (NameOID.COMMON_NAME, "a clip"))
    return x509.Name([x509.NameAttribute(kind, text) for kind, text in parts])


def _certificate(subject: Any, issuer: Any, public: Any, signing: Any, *, authority: bool, purpose: Any = None) -> Any:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    began = datetime.now(UTC) - timedelta(days=1)
    names = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only")
    usage = x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        decipher_only=False,
        **dict.fromkeys(names, False),
    )
    builder = (
        x509.CertificateBuilder(issuer, subject, public, x509.random_serial_number(), began, began + timedelta(days=30))
        .add_extension(x509.BasicConstraints(authority, None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
    )
    if purpose is not None:
        builder = builder.add_extension(purpose, critical=False)
    return builder.sign(signing, hashes.SHA256())


def sign(
    source: Path,
    target: Path,
    authority: Authority,
    *,
    origin: str = "trainedAlgorithmicMedia",
    generator: str = GENERATOR,
    parts: Sequence[Path] = (),
    parent: bool = False,
    address: str | None = None,
) -> Path:
    """Sign `source` into `target`.

    Args:
        source: a clip.
        target: its signed copy.
        authority: whose certificate signs.
        origin: the source type that "created" states; of no account with `parent`.
        generator: what the program calls itself.
        parts: clips that it is said to be made from.
        parent: whether `source` is what it is a later state of.
        address: where the manifest is said to be; it is then not put into the file.
    """
    c2pa = needs("c2pa", command="make test")
    created = {"action": "c2pa.created", "digitalSourceType": SOURCES + origin}
    assertions = [] if parent else [{"label": "c2pa.actions", "data": {"actions": [created]}}]
    builder = c2pa.Builder({"claim_generator_info": [{"name": generator, "version": "2.1"}], "assertions": assertions})
    if parent:
        builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
    if address is not None:
        builder.set_no_embed()
        builder.set_remote_url(address)
    for part in parts:
        with open(part, "rb") as file:
            builder.add_ingredient({"title": part.name, "relationship": "componentOf"}, MIME[part.suffix], file)
    signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(b"es256", authority.chain, authority.key, None))
    with open(source, "rb") as clip, open(target, "w+b") as out:
        builder.sign(signer, MIME[source.suffix], clip, out)
    return target


def change_a_picture(path: Path) -> Path:
    """Change one byte near the end of a clip, in its coded pictures; it still decodes."""
    data = bytearray(path.read_bytes())
    data[-1000] ^= 1
    path.write_bytes(data)
    return path

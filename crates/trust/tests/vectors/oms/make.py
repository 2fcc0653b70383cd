"""Makes the model signatures that `tests/it/oms.rs` verifies, with the reference implementation.

    pip install model-signing==1.1.1 pyOpenSSL && python make.py

Everything is written anew beside this file: throwaway keys, certificates (valid 2020 to 2050 unless the name says
otherwise), a small model, and its signatures. The keys guard nothing.
"""

import base64
import datetime
import json
import pathlib
import shutil

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from model_signing import hashing, signing
from model_signing._signing import sign_sigstore_pb

HERE = pathlib.Path(__file__).parent
MODEL = HERE / "model"
SIGNATURES = HERE / "signatures"
START, END = datetime.datetime(2020, 1, 1), datetime.datetime(2050, 1, 1)


def write_model():
    shutil.rmtree(MODEL, ignore_errors=True)
    (MODEL / "d0").mkdir(parents=True)
    (MODEL / "config.json").write_text('{"model_type": "test"}\n')
    (MODEL / "weights.bin").write_bytes(bytes(range(256)) * 41)
    (MODEL / "d0" / "é.txt").write_text("name beyond ASCII\n")
    (MODEL / "d0-x").write_text("sorts after d0/ by parts, before it by bytes\n")
    (MODEL / "empty").write_bytes(b"")
    (MODEL / ".gitattributes").write_text("# version control, not part of the model\n")


def write_key(name, curve):
    key = ec.generate_private_key(curve)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (HERE / f"{name}.key.pem").write_bytes(private)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (HERE / f"{name}.pub.pem").write_bytes(public)
    return key


def certificate(name, subject_key, issuer, *, ca=False, start=START, end=END, usage=True, purpose=None, san=None):
    issuer_name, issuer_key = issuer or (name, subject_key)
    as_name = lambda text: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(as_name(name))
        .issuer_name(as_name(issuer_name))
        .public_key(subject_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if usage:
        flags = dict.fromkeys(
            ["content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign",
             "encipher_only", "decipher_only"], False)
        builder = builder.add_extension(
            x509.KeyUsage(digital_signature=not ca, key_cert_sign=ca, **flags), critical=True)
    if purpose:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    if san:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.RFC822Name(san)]), critical=False)
    made = builder.sign(issuer_key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM)


def main():
    write_model()
    shutil.rmtree(SIGNATURES, ignore_errors=True)
    SIGNATURES.mkdir()
    keys = {
        "p256": write_key("p256", ec.SECP256R1()),
        "p384": write_key("p384", ec.SECP384R1()),
        "p521": write_key("p521", ec.SECP521R1()),
    }
    encrypted = keys["p256"].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    (HERE / "encrypted.key.pem").write_bytes(encrypted)
    sec1 = keys["p256"].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    (HERE / "sec1.key.pem").write_bytes(sec1)

    def by_key(file, curve="p256", configure=lambda config: config, **ignored):
        config = configure(hashing.Config()).set_ignored_paths(paths=[MODEL / "model.sig"], **ignored)
        signer = signing.Config().use_elliptic_key_signer(private_key=HERE / f"{curve}.key.pem")
        signer.set_hashing_config(config).sign(MODEL, SIGNATURES / file)

    for curve in keys:
        by_key(f"key-{curve}.sig", curve)
    by_key("key-shards.sig", configure=lambda c: c.use_shard_serialization(shard_size=4096))
    by_key("key-blake2.sig", configure=lambda c: c.use_file_serialization(hashing_algorithm="blake2"))
    by_key("key-blake3.sig", configure=lambda c: c.use_file_serialization(hashing_algorithm="blake3"))
    by_key("key-with-git.sig", ignore_git_paths=False)
    signer = signing.Config().use_elliptic_key_signer(private_key=HERE / "p256.key.pem")
    signer.sign(MODEL / "weights.bin", SIGNATURES / "key-single.sig")

    root_key, middle_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root, middle = ("Test Root", root_key), ("Test Intermediate", middle_key)
    (HERE / "root.pem").write_bytes(certificate("Test Root", root_key, None, ca=True))
    (HERE / "root-expired.pem").write_bytes(
        certificate("Test Root", root_key, None, ca=True, end=datetime.datetime(2021, 1, 1)))
    other_key = ec.generate_private_key(ec.SECP256R1())
    (HERE / "root-other.pem").write_bytes(certificate("Test Root", other_key, None, ca=True))
    (HERE / "middle.pem").write_bytes(certificate("Test Intermediate", middle_key, root, ca=True))
    leaves = {
        "plain": {"san": "signer@example.org"},
        "code": {"purpose": ExtendedKeyUsageOID.CODE_SIGNING},
        "server": {"purpose": ExtendedKeyUsageOID.SERVER_AUTH},
        "expired": {"end": datetime.datetime(2021, 1, 1)},
        "authority": {"ca": True},
    }
    for name, options in leaves.items():
        made = certificate(f"Test Signer {name}", keys["p384"], middle, **options)
        (HERE / f"cert-{name}.pem").write_bytes(made)
        if name == "authority":
            continue  # the reference itself refuses to verify what this one signs
        signer = signing.Config().use_certificate_signer(
            private_key=HERE / "p384.key.pem",
            signing_certificate=HERE / f"cert-{name}.pem",
            certificate_chain=[HERE / "middle.pem", HERE / "root.pem"],
        )
        config = hashing.Config().set_ignored_paths(paths=[MODEL / "model.sig"])
        signer.set_hashing_config(config).sign(MODEL, SIGNATURES / f"cert-{name}.sig")

    # The form before 1.0: files as subjects, and the faulty encoding of what is signed.
    current = json.loads((SIGNATURES / "key-p256.sig").read_text())
    payload = json.loads(base64.b64decode(current["dsseEnvelope"]["payload"]))
    old = {
        "_type": payload["_type"],
        "subject": [
            {"name": each["name"], "digest": {"sha256": each["digest"]}} for each in payload["predicate"]["resources"]
        ],
        "predicateType": "https://model_signing/Digests/v0.1",
        "predicate": {"note": "it's \"old\" \\ é"},
    }
    raw = json.dumps(old, indent=1, ensure_ascii=False).encode()
    signature = keys["p256"].sign(sign_sigstore_pb.pae_compat(raw), ec.ECDSA(hashes.SHA256()))
    current["dsseEnvelope"]["payload"] = base64.b64encode(raw).decode()
    current["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(signature).decode()
    current["verificationMaterial"]["publicKey"] = {"rawBytes": "", "keyDetails": "PKIX_ECDSA_P256_SHA_256"}
    (SIGNATURES / "key-old.sig").write_text(json.dumps(current))

    # Validly signed by a hostile signer, with what must be refused by name.
    def hostile(file, change):
        statement = json.loads(base64.b64decode(json.loads((SIGNATURES / "key-p256.sig").read_text())["dsseEnvelope"]["payload"]))
        raw = change(statement)
        raw = (raw if isinstance(raw, str) else json.dumps(statement)).encode()
        bundle = json.loads((SIGNATURES / "key-p256.sig").read_text())
        signature = keys["p256"].sign(sign_sigstore_pb.pae(raw), ec.ECDSA(hashes.SHA256()))
        bundle["dsseEnvelope"]["payload"] = base64.b64encode(raw).decode()
        bundle["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(signature).decode()
        (SIGNATURES / file).write_text(json.dumps(bundle))

    def rooted(statement):
        import hashlib
        digests = b"".join(bytes.fromhex(each["digest"]) for each in statement["predicate"]["resources"])
        statement["subject"][0]["digest"]["sha256"] = hashlib.sha256(digests).hexdigest()

    def rename(name):
        def change(statement):
            statement["predicate"]["resources"][0]["name"] = name
        return change

    def twice(statement):
        statement["predicate"]["resources"].append(dict(statement["predicate"]["resources"][0]))
        rooted(statement)

    def spelled(statement):
        again = dict(statement["predicate"]["resources"][0])
        again["name"] = "./" + again["name"]
        statement["predicate"]["resources"].append(again)
        rooted(statement)

    def ignore(path):
        def change(statement):
            statement["predicate"]["serialization"]["ignore_paths"].append(path)
        return change

    def drop_and_ignore(statement):
        statement["predicate"]["resources"] = [
            each for each in statement["predicate"]["resources"] if each["name"] != "weights.bin"]
        statement["predicate"]["serialization"]["ignore_paths"].append("weights.bin")
        rooted(statement)

    hostile("bad-traversal.sig", rename("../config.json"))
    hostile("bad-absolute.sig", rename("/etc/passwd"))
    hostile("bad-twice.sig", twice)
    hostile("bad-spelling.sig", spelled)
    hostile("bad-ignore-all.sig", ignore("."))
    hostile("bad-ignore-up.sig", ignore(".."))
    hostile("bad-root.sig", lambda statement: statement["subject"][0]["digest"].update(sha256="0" * 64))
    hostile("bad-duplicate-key.sig", lambda statement: json.dumps(statement).replace(
        '"name": "config.json"', '"name": "x", "name": "config.json"'))
    hostile("bad-algorithm.sig", lambda statement: statement["predicate"]["resources"][0].update(algorithm="md5"))
    hostile("unsigned-weights.sig", drop_and_ignore)

    # One tampered signature each: a digit of one file's digest.
    for name in ["key-p256", "cert-plain"]:
        bundle = json.loads((SIGNATURES / f"{name}.sig").read_text())
        raw = base64.b64decode(bundle["dsseEnvelope"]["payload"]).decode()
        at = raw.index('"digest": "') + len('"digest": "')
        flipped = raw[:at] + ("0" if raw[at] != "0" else "1") + raw[at + 1:]
        bundle["dsseEnvelope"]["payload"] = base64.b64encode(flipped.encode()).decode()
        (SIGNATURES / f"{name}-tampered.sig").write_text(json.dumps(bundle))


if __name__ == "__main__":
    main()

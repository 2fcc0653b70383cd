#!/usr/bin/env python3
"""Verifies a mirrored trail (`ringfence trail mirror`) with nothing but this file and Python 3.9 or newer.

    python3 verify_trail.py MIRROR --root lab.root [--checkpoint held.checkpoint] [--witness-policy witnesses.policy]

It shares no code with Ringfence. It reads C2SP tlog-tiles, tlog-checkpoint, tlog-cosignature, tlog-policy and
signed-note, hashes as RFC 6962 (2.1) says, checks Ed25519 as RFC 8032 (5.1.7) and ML-DSA-44 as FIPS 204 (6.3) says,
and the trust root and the entries as docs/format.md says. What it finds goes to standard output as one JSON document
(`ringfence.verify/1`).

Exit codes: 0 verified, 1 too few witnesses, 2 usage, 3 something could not be read (never clean), 5 tampering.

Top-down: `main`, `Mirror` (the pass over all entries), the trust root, checkpoints, witnesses, entries, Ed25519,
ML-DSA-44.
"""

from __future__ import annotations

import argparse
import base64
import datetime
import errno
import hashlib
import json
import os
import stat
import sys

WIDTH = 256  # hashes in a whole tile
ENTRY_BYTES_MAX = 65_535
NOTE_BYTES_MAX = 8_192  # what the log itself signs
COSIGNED_BYTES_MAX = 128 << 10
POLICY_BYTES_MAX = 256 << 10
ROOT_BYTES_MAX = 1 << 20
PROBLEMS_MAX = 100
INDEX_MAX = (1 << 53) - 1


class Tampered(Exception):
    """Something was changed that nobody may change."""


class Incomplete(Exception):
    """Something could not be read."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Verifies a mirrored trail of Ringfence.")
    parser.add_argument("mirror", help="folder that `ringfence trail mirror` made")
    parser.add_argument("--root", required=True, metavar="FILE", help="trust root (`ringfence show root`)")
    parser.add_argument("--checkpoint", metavar="FILE", help="a checkpoint that was held earlier")
    parser.add_argument("--witness-policy", metavar="FILE", help="whose cosignatures are needed (C2SP tlog-policy)")
    given = parser.parse_args()
    report = {
        "schema": "ringfence.verify/1",
        "verdict": "verified",
        "subject": "mirror " + given.mirror,
        "checks": [],
        "facts": {},
    }

    def check(name: str, passed: bool, detail: str) -> None:
        report["checks"].append({"name": name, "passed": passed, "detail": detail})

    code = 0
    try:
        policy = None
        if given.witness_policy is not None:
            try:
                policy = Policy(read_small(given.witness_policy, POLICY_BYTES_MAX))
            except Tampered as wrong:
                parser.error(f"{given.witness_policy}: {wrong}")
        mirror = verify(given.mirror, given.root, given.checkpoint)
        report["facts"] = mirror.facts
        for problem in mirror.problems[:PROBLEMS_MAX]:
            check("mirror", False, problem)
        if len(mirror.problems) > PROBLEMS_MAX:
            check("mirror", False, f"and {len(mirror.problems) - PROBLEMS_MAX} more")
        if mirror.problems:
            code = 5
        else:
            check("mirror", True, f"{mirror.signed.size} entries under the signed checkpoint")
            held = (
                "none is held here"
                if mirror.held is None
                else f"the mirror begins with the {mirror.held.size} entries that were seen before"
            )
            check("held checkpoint", True, held)
            if policy is not None:
                code, detail, mirror.facts["cosigned by"] = policy.count(mirror.signed)
                check("witnesses", code == 0, detail)
    except Tampered as found:
        code = 5
        check("mirror", False, str(found))
    except (Incomplete, OSError) as why:
        code = 3
        check("mirror", False, str(why))
    report["verdict"] = {0: "verified", 1: "refused", 3: "incomplete", 5: "tampered"}[code]
    print(json.dumps(report, indent=2, ensure_ascii=False))
    return code


def verify(folder: str, root_file: str, held_file) -> Mirror:
    root = TrustRoot(read_small(root_file, ROOT_BYTES_MAX))
    held = None
    if held_file is not None:
        held = Checkpoint(read_small(held_file, COSIGNED_BYTES_MAX), root.origin, [entry["key"] for entry in root.log_keys])
    if not os.path.isdir(folder):
        raise Incomplete(f"there is no folder {folder}")
    mirror = Mirror(folder, root, held)
    mirror.check()
    return mirror


# The mirror


class Mirror:
    """One pass over the entries, which alone decide what every tile and the root must be."""

    def __init__(self, folder: str, root: TrustRoot, held) -> None:
        self.folder, self.root, self.held = folder, root, held
        self.held_root = hashlib.sha256().digest() if held is not None and held.size == 0 else None
        self.signed = None
        self.problems = []
        self.facts = {"vault": root.vault, "trust root epoch": str(root.epoch)}
        self.files = self.behind = 0
        self.size = 0
        self.subtrees = []  # [entries, hash] of whole subtrees, largest first
        self.levels = []  # hashes of the unfinished tile of each level

    def check(self) -> None:
        note = self.read("checkpoint", COSIGNED_BYTES_MAX)
        if note is None:
            if self.held is None and not self.problems:
                raise Incomplete(f"{self.folder} has no checkpoint: it is no mirror, or its first copy was interrupted")
            self.problems.append("`checkpoint` is gone")
            return
        try:
            size = Checkpoint.claimed_size(note)
            self.signed = Checkpoint(note, self.root.origin, self.root.log_keys_at(max(size - 1, 0)))
        except Tampered as found:
            self.problems.append(f"`checkpoint`: {found}")
            return
        self.facts["entries"] = str(self.signed.size)
        self.facts["checkpoint"] = f"{self.signed.size} entries, sha256:{self.signed.root.hex()}"
        keys = self.root.log_keys_at(max(size - 1, 0))
        self.facts["verifier key"] = " ".join(verifier_key(self.root.origin, key) for key in keys)
        self.tree()
        if self.held is not None:
            if self.held.size > self.signed.size:
                self.problems.append(
                    f"the trail has {self.signed.size} entries, but had {self.held.size}: it was rolled back"
                )
            elif self.held_root is not None and self.held_root != self.held.root:
                self.problems.append(f"the first {self.held.size} entries are not those of the checkpoint that is held")
        self.facts["files"] = str(self.files)
        if self.behind:
            self.facts["unfinished files behind the checkpoint"] = str(self.behind)

    def tree(self) -> None:
        for index in range((self.signed.size + WIDTH - 1) // WIDTH):
            width = min(WIDTH, self.signed.size - index * WIDTH)
            hashes = self.tile(0, index, width)
            leaves = self.bundle(index, width)
            if hashes is not None and leaves is not None and hashes != leaves:
                place = next(i for i in range(width) if hashes[i] != leaves[i])
                self.problems.append(f"entry {index * WIDTH + place}: its bundle and its tile contradict each other")
            if leaves is None:
                leaves = hashes
            if leaves is None:
                return
            for leaf in leaves:
                self.append(leaf)
        for level, hashes in enumerate(self.levels):
            if level > 0 and hashes:
                self.compare(level, self.size // WIDTH ** (level + 1), hashes)
        if self.tree_root() != self.signed.root:
            self.problems.append(f"the {self.signed.size} entries do not lead to the signed root")

    def append(self, leaf: bytes) -> None:
        self.size += 1
        self.subtrees.append([1, leaf])
        self.completed(1, leaf)
        while len(self.subtrees) > 1 and self.subtrees[-2][0] == self.subtrees[-1][0]:
            (count, left), (_, right) = self.subtrees[-2:]
            node = node_hash(left, right)
            self.subtrees[-2:] = [[2 * count, node]]
            self.completed(2 * count, node)
        if self.held is not None and self.held.size == self.size:
            self.held_root = self.tree_root()

    def completed(self, count: int, node: bytes) -> None:
        """A subtree of 256**level entries is one hash of a tile of that level."""
        level, rest = divmod(count.bit_length() - 1, 8)
        if rest:
            return
        if level == len(self.levels):
            self.levels.append([])
        self.levels[level].append(node)
        if len(self.levels[level]) == WIDTH:
            if level > 0:
                self.compare(level, self.size // WIDTH ** (level + 1) - 1, self.levels[level])
            self.levels[level] = []

    def tree_root(self) -> bytes:
        root = None
        for _, node in reversed(self.subtrees):
            root = node if root is None else node_hash(node, root)
        return hashlib.sha256().digest() if root is None else root

    def compare(self, level: int, index: int, expected: list) -> None:
        hashes = self.tile(level, index, len(expected))
        if hashes is not None and hashes != expected:
            place = next(i for i in range(len(expected)) if hashes[i] != expected[i])
            path = path_of(str(level), index, len(expected))
            self.problems.append(f"`{path}`: hash {place} is not that of the entries below it")

    def tile(self, level: int, index: int, width: int):
        """The hashes of a tile, or None where that is a problem."""
        there, content, path = self.content(str(level), index, width, WIDTH * 32)
        if content is None:
            return None
        if len(content) != there * 32:
            self.problems.append(f"`{path}`: {len(content)} bytes are not {there} hashes")
            return None
        self.earlier(str(level), index, there, width, content, lambda earlier: earlier * 32, WIDTH * 32)
        return [content[i * 32 : i * 32 + 32] for i in range(width)]

    def bundle(self, index: int, width: int):
        """The leaf hashes of a bundle's entries, or None where that is a problem."""
        there, content, path = self.content("entries", index, width, WIDTH * (2 + ENTRY_BYTES_MAX))
        if content is None:
            return None
        leaves, ends, at = [], [0], 0
        for position in range(there):
            length = int.from_bytes(content[at : at + 2], "big")
            if at + 2 + length > len(content):
                self.problems.append(f"`{path}`: it ends within entry {position} of its {there}")
                return None
            entry = content[at + 2 : at + 2 + length]
            at += 2 + length
            ends.append(at)
            if position < width:
                leaves.append(hashlib.sha256(b"\0" + entry).digest())
                try:
                    if read_entry(entry)["vault"] != self.root.vault:
                        raise Tampered("it is of another vault")
                except Tampered as found:
                    self.problems.append(f"entry {index * WIDTH + position}: {found}")
        if at != len(content):
            self.problems.append(f"`{path}`: {len(content) - at} bytes follow its {there} entries")
            return None
        self.earlier(
            "entries", index, there, width, content, lambda earlier: ends[earlier], WIDTH * (2 + ENTRY_BYTES_MAX)
        )
        return leaves

    def content(self, kind: str, index: int, width: int, bytes_max: int):
        """Width, bytes and path of a part; an unfinished one may have given way to the whole one."""
        before = len(self.problems)
        for there in (width, WIDTH):
            path = path_of(kind, index, there)
            content = self.read(path, bytes_max)
            if content is not None:
                return there, content, path
            if len(self.problems) > before:
                return there, None, path
        self.problems.append(f"`{path_of(kind, index, width)}` is gone")
        return width, None, ""

    def earlier(self, kind: str, index: int, there: int, covered: int, content: bytes, length, bytes_max: int) -> None:
        """Unfinished parts of smaller trees must be the beginning of what is there now."""
        try:
            names = os.listdir(os.path.join(self.folder, path_of(kind, index, WIDTH) + ".p"))
        except (FileNotFoundError, NotADirectoryError):
            return
        for name in sorted(names):
            if not (name.isascii() and name.isdigit() and 1 <= int(name) < WIDTH and str(int(name)) == name):
                continue
            width = int(name)
            if width > covered:
                self.behind += 1
                continue
            if width == there:
                continue
            path = path_of(kind, index, width)
            found = self.read(path, bytes_max)
            if found is not None and found != content[: length(width)]:
                self.problems.append(f"`{path}` is not the beginning of what replaced it")

    def read(self, path: str, bytes_max: int):
        """A file's bytes; None where there is none, or where it is none (which is a problem)."""
        full = os.path.join(self.folder, path)
        try:
            file = os.open(full, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:
                self.problems.append(f"`{path}`: it is a link")
                return None
            raise
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            self.problems.append(f"`{path}`: it is no file")
            return None
        with os.fdopen(file, "rb") as opened:
            content = opened.read(bytes_max + 1)
        if len(content) > bytes_max:
            self.problems.append(f"`{path}`: it is larger than {bytes_max} bytes")
            return None
        self.files += 1
        return content


def path_of(kind: str, index: int, width: int) -> str:
    """tlog-tiles: three digits a part, all but the last with `x` in front; `.p/WIDTH` where it is not whole."""
    parts = [f"{index % 1000:03}"]
    while index >= 1000:
        index //= 1000
        parts.insert(0, f"x{index % 1000:03}")
    place = "/".join(parts)
    return f"tile/{kind}/{place}" if width == WIDTH else f"tile/{kind}/{place}.p/{width}"


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def read_small(path: str, bytes_max: int) -> bytes:
    with open(path, "rb") as file:
        content = file.read(bytes_max + 1)
    if len(content) > bytes_max:
        raise Tampered(f"{path} is larger than {bytes_max} bytes")
    return content


# The trust root (docs/format.md, "Envelopes" and "Trust root")


class TrustRoot:
    """Who may sign checkpoints, and for which entries; signed by enough root keys."""

    PAYLOAD_TYPE = "application/vnd.ringfence.root+json"
    FIELDS = {
        "schema",
        "vault",
        "epoch",
        "issued_ms",
        "solo",
        "threshold",
        "roots",
        "keys",
        "revocations",
        "predecessor",
    }

    def __init__(self, file: bytes) -> None:
        envelope = canonical_json(file, "trust root")
        demand(fields(envelope) == {"payload", "payloadType", "signatures"}, "trust root: not an envelope")
        demand(envelope["payloadType"] == self.PAYLOAD_TYPE, "trust root: another type of payload")
        payload = canonical_base64(envelope["payload"])
        self.document = canonical_json(payload, "trust root")
        self.check_document()
        self.check_signatures(payload, envelope["signatures"])
        self.vault, self.epoch = self.document["vault"], self.document["epoch"]
        self.origin = "ringfence/" + self.vault
        self.log_keys = [
            dict(entry, key=read_key(entry["key"])) for entry in self.document["keys"] if entry["role"] == "log"
        ]
        self.revoked = {read_key(entry["key"]): entry["from"] for entry in self.document["revocations"]}

    def log_keys_at(self, index: int) -> list:
        """The keys that count for this entry."""

        def counts(entry) -> bool:
            ended = entry["until"] is not None and index >= entry["until"]
            return index >= entry["from"] and not ended and index < self.revoked.get(entry["key"], index + 1)

        return [entry["key"] for entry in self.log_keys if counts(entry)]

    def check_document(self) -> None:
        document = self.document
        demand(fields(document) == self.FIELDS and document["schema"] == "ringfence.root/1", "trust root: unknown form")
        vault = document["vault"]
        demand(
            isinstance(vault, str) and len(vault) == 32 and set(vault) <= set("0123456789abcdef"),
            "trust root: no vault id",
        )
        demand(number(document["epoch"]) and document["epoch"] >= 1, "trust root: no epoch")
        demand(number(document["issued_ms"]) and isinstance(document["solo"], bool), "trust root: unknown form")
        before = document["predecessor"]
        demand((document["epoch"] == 1) == (before is None), "trust root: every epoch but the first has a predecessor")
        check_signers(document["threshold"], document["roots"])
        root_keys = {read_key(key) for key in document["roots"]}
        if before is not None:
            demand(fields(before) == {"sha256", "threshold", "roots"}, "trust root: unknown form")
            check_signers(before["threshold"], before["roots"])
            root_keys |= {read_key(key) for key in before["roots"]}
        demand(isinstance(document["keys"], list) and len(document["keys"]) <= 1024, "trust root: too many keys")
        demand(
            isinstance(document["revocations"], list) and len(document["revocations"]) <= 1024,
            "trust root: too many revocations",
        )
        for entry in document["keys"]:
            demand(fields(entry) == {"key", "role", "predicates", "from", "until"}, "trust root: unknown form")
            demand(entry["role"] in ("log", "ref", "evidence", "release"), "trust root: unknown role")
            predicates = entry["predicates"]
            demand(
                isinstance(predicates, list) and all(isinstance(text, str) and text for text in predicates),
                "trust root: unknown form",
            )
            demand(
                bool(predicates) == (entry["role"] in ("evidence", "release")),
                "trust root: predicate types do not fit the role",
            )
            demand(number(entry["from"]) and (entry["until"] is None or number(entry["until"])), "trust root: no range")
            demand(entry["until"] is None or entry["from"] <= entry["until"], "trust root: no range")
            demand(read_key(entry["key"]) not in root_keys, "trust root: a root key has another role too")
        for entry in document["revocations"]:
            demand(fields(entry) == {"key", "from", "reason"} and number(entry["from"]), "trust root: unknown form")
        for some in (document["keys"], document["revocations"]):
            demand(rising([read_key(entry["key"]) for entry in some]), "trust root: not sorted")

    def check_signatures(self, payload: bytes, signatures) -> None:
        before = self.document["predecessor"]
        known = {}
        for text in self.document["roots"] + (before["roots"] if before else []):
            known[hashlib.sha256(text.encode()).hexdigest()] = text
        demand(isinstance(signatures, list) and 1 <= len(signatures) <= 64, "trust root: no signature, or too many")
        signed = f"DSSEv1 {len(self.PAYLOAD_TYPE)} {self.PAYLOAD_TYPE} {len(payload)} "
        signers = []
        for entry in signatures:
            demand(
                fields(entry) == {"keyid", "sig"} and entry["keyid"] in known, "trust root: signed by an unknown key"
            )
            text = known[entry["keyid"]]
            holds = ed25519_verify(read_key(text), canonical_base64(entry["sig"]), signed.encode() + payload)
            demand(holds, "trust root: a signature does not hold")
            signers.append(text)
        demand(rising([entry["keyid"] for entry in signatures]), "trust root: signatures are not sorted")
        for asked in (self.document,) + ((before,) if before else ()):
            count = sum(1 for text in signers if text in asked["roots"])
            demand(count >= asked["threshold"], "trust root: too few signatures")


def check_signers(threshold, roots) -> None:
    demand(isinstance(roots, list) and 1 <= len(roots) <= 16, "trust root: no root keys, or too many")
    demand(number(threshold) and 1 <= threshold <= len(roots), "trust root: the threshold does not fit")
    demand(rising([read_key(key) for key in roots]), "trust root: root keys are not sorted")


def canonical_json(content: bytes, what: str):
    """RFC 8785, for documents of text and whole numbers: written again it must be the same."""

    def refuse(_):
        raise ValueError("a number that is not whole")

    try:
        value = json.loads(content.decode("utf-8"), parse_float=refuse, parse_constant=refuse)
        again = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise Tampered(f"{what}: {error}")
    demand(again == content, f"{what}: not canonical JSON")
    return value


def canonical_base64(text) -> bytes:
    try:
        content = base64.b64decode(text, validate=True)
    except (ValueError, TypeError):
        raise Tampered("not base64")
    demand(base64.b64encode(content).decode() == text, "not canonical base64")
    return content


def read_key(text) -> bytes:
    demand(isinstance(text, str) and text.startswith("ed25519:") and len(text) == 72, "not a public key")
    demand(set(text[8:]) <= set("0123456789abcdef"), "not a public key")
    return bytes.fromhex(text[8:])


def fields(value):
    return set(value) if isinstance(value, dict) else None


def number(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= INDEX_MAX


def rising(items: list) -> bool:
    return all(a < b for a, b in zip(items, items[1:]))


def demand(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Tampered(otherwise)


# Checkpoints (C2SP signed-note and tlog-checkpoint)


class Checkpoint:
    """Size and root of the tree, signed: three lines, an empty one, and signatures. Those in the log's name must all be by
    keys that count, and hold; those in other names are kept for a policy to count."""

    def __init__(self, note: bytes, origin: str, keys: list) -> None:
        text, lines = self.parts(note)
        name, size, root = text.split("\n")[:3]
        demand(name == origin, f"it is not of `{origin}`")
        self.origin, self.text = name, text
        self.size, self.root = int(size), canonical_base64(root)
        self.lines = [read_line(line) for line in lines]
        own = [(line, raw) for line, (name, raw) in zip(lines, self.lines) if name == origin]
        demand(1 <= len(own) <= 16, "no signature in the log's name, or too many")
        own_bytes = len(text.encode()) + 1 + sum(len(line.encode()) + 1 for line, _ in own)
        demand(own_bytes <= NOTE_BYTES_MAX, "too large")
        used = set()
        for _, raw in own:
            demand(len(raw) == 68, "a line is no signature of this origin")
            named = [key for key in keys if key_hash(origin, key) == raw[:4]]
            demand(bool(named), "signed by a key that does not count")
            holding = [key for key in named if ed25519_verify(key, raw[4:], text.encode())]
            demand(bool(holding), "a signature does not hold")
            demand(holding[0] not in used, "two signatures by one key")
            used.add(holding[0])

    @staticmethod
    def parts(note: bytes):
        try:
            content = note.decode("utf-8")
        except ValueError:
            raise Tampered("not UTF-8")
        text, found, rest = content.partition("\n\n")
        demand(bool(found) and rest.endswith("\n"), "no signatures")
        lines = rest[:-1].split("\n")
        demand(1 <= len(lines) <= 64, "too many signatures")
        parts = text.split("\n")
        demand(len(parts) == 3, "not three lines of text")
        size = parts[1]
        plain = size.isascii() and size.isdigit() and len(size) <= 20 and str(int(size)) == size and int(size) < 1 << 64
        demand(plain, "the size is no decimal number")
        demand(len(canonical_base64(parts[2])) == 32, "the root is not 32 bytes")
        return text + "\n", lines

    @classmethod
    def claimed_size(cls, note: bytes) -> int:
        return int(cls.parts(note)[0].split("\n")[1])


def read_line(line: str):
    """Name and bytes of a signature line."""
    demand(line.startswith("\u2014 "), "a line is no signature")
    name, found, encoded = line[2:].partition(" ")
    raw = canonical_base64(encoded) if found else b""
    demand(is_name(name) and 5 <= len(raw) <= 4 + 8_192, "a line is no signature")
    return name, raw


def is_name(name: str) -> bool:
    return 1 <= len(name) <= 255 and all("!" <= character <= "~" and character != "+" for character in name)


def key_hash(name: str, key: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n\x01" + key).digest()[:4]


def verifier_key(name: str, key: bytes) -> str:
    typed = base64.b64encode(b"\x01" + key).decode()
    return f"{name}+{key_hash(name, key).hex()}+{typed}"


# Witnesses (C2SP tlog-policy and tlog-cosignature)


class Key:
    """A verifier key, `NAME+ID+KEY`: type 1 is a log's Ed25519, 4 a witness's, 6 is ML-DSA-44."""

    LENGTHS = {1: 32, 4: 32, 6: 1312}

    def __init__(self, text: bytes) -> None:
        try:
            self.name, key_id, encoded = text.decode("ascii").split("+", 2)
        except ValueError:
            raise Tampered("not a verifier key")
        typed = canonical_base64(encoded)
        self.kind, self.key = typed[0] if typed else 0, typed[1:]
        demand(is_name(self.name) and self.LENGTHS.get(self.kind) == len(self.key), "not a verifier key")
        self.id = hashlib.sha256(self.name.encode() + b"\n" + typed).digest()[:4]
        demand(self.id.hex() == key_id, "not a verifier key")

    def moment(self, point: Checkpoint, raw: bytes):
        """The moment in seconds that a line by this key says, 0 where it says none; None where it does not hold."""
        if self.kind == 1:
            return 0 if ed25519_verify(self.key, raw[4:], point.text.encode()) else None
        time = int.from_bytes(raw[4:12], "big")
        if len(raw) < 12 or time >= 1 << 63:
            return None
        if self.kind == 4:
            message = f"cosignature/v1\ntime {time}\n{point.text}".encode()
            return time if ed25519_verify(self.key, raw[12:], message) else None
        name, origin = self.name.encode(), point.origin.encode()
        message = b"subtree/v1\n\0" + bytes([len(name)]) + name + raw[4:12] + bytes([len(origin)]) + origin
        message += bytes(8) + point.size.to_bytes(8, "big") + point.root
        return time if ml_dsa_44_verify(self.key, raw[12:], message) else None


class Policy:
    """Witnesses, groups of them, and which of both is enough."""

    def __init__(self, content: bytes) -> None:
        self.logs, self.witnesses, self.groups, self.quorum = [], [], [], None
        self.names = {}  # by name: ("witness" or "group", its place)
        self.members = set()
        for number, line in enumerate(content.split(b"\n"), 1):
            try:
                self.line(line)
            except Tampered as wrong:
                raise Tampered(f"line {number}: {wrong}")
        demand(self.quorum is not None, "there is no `quorum` line")

    def line(self, line: bytes) -> None:
        demand(all(byte == 9 or (byte >= 32 and byte != 127) for byte in line), "a control character")
        words = line.replace(b"\t", b" ").split(b" ")
        words = [word for word in words if word]
        if not words or words[0].startswith(b"#"):
            return
        kind, count = words[0], len(words)
        if kind == b"log" and count in (2, 3):
            key = Key(words[1])
            demand(key.kind in (1, 6) and len(self.logs) < 64, "not a log's key, or too many")
            demand(all(known.key != key.key for known in self.logs), "a key that stands above")
            self.logs.append(key)
        elif kind == b"witness" and count in (3, 4):
            key = Key(words[2])
            demand(key.kind in (4, 6) and len(self.witnesses) < 64, "not a witness's key, or too many")
            demand(all(known.key != key.key for _, known in self.witnesses), "a key that stands above")
            self.define(words[1], ("witness", len(self.witnesses)))
            self.witnesses.append((words[1].decode("utf-8", "replace"), key))
        elif kind == b"group" and count >= 4:
            members, threshold = words[3:], words[2]
            if threshold in (b"any", b"all"):
                threshold = 1 if threshold == b"any" else len(members)
            else:
                demand(threshold.isdigit() and len(threshold) < 10, "not `any`, `all` or a number")
                threshold = int(threshold)
            demand(1 <= threshold <= len(members) and len(self.groups) < 64, "a number that does not fit")
            for member in members:
                demand(member in self.names, "a member that does not stand above")
                demand(member not in self.members, "a member that is a member already")
                self.members.add(member)
            self.groups.append((threshold, [self.names[member] for member in members]))
            self.define(words[1], ("group", len(self.groups) - 1))
        elif kind == b"quorum" and count == 2:
            demand(self.quorum is None, "a second `quorum` line")
            demand(words[1] == b"none" or words[1] in self.names, "a quorum that does not stand above")
            self.quorum = self.names.get(words[1], "none")
        else:
            raise Tampered("not a line of a policy")

    def define(self, name: bytes, place) -> None:
        demand(name != b"none" and name not in self.names and len(name) <= 255, "no name, or one that stands above")
        self.names[name] = place

    def count(self, point: Checkpoint):
        """Exit code, what to say, and who cosigned when."""
        moments, broken = {}, []
        for place, (name, key) in enumerate(self.witnesses):
            claimed = [raw for owner, raw in point.lines if owner == key.name and raw[:4] == key.id]
            found = [key.moment(point, raw) for raw in claimed]
            if any(moment is not None for moment in found):
                moments[place] = max(moment for moment in found if moment is not None)
            if None in found:
                broken.append(name)
        who = ", ".join(f"{self.witnesses[place][0]} at {shown(moment)}" for place, moment in moments.items())
        who = who or "nobody"
        if broken:
            return 5, f"the cosignature of {', '.join(broken)} does not hold for this checkpoint", who
        by_log = any(
            name == key.name and raw[:4] == key.id and key.moment(point, raw) is not None
            for key in self.logs
            for name, raw in point.lines
        )
        if self.logs and not by_log:
            return 1, "the policy is about other logs than this one", who
        groups = []

        def votes(voter) -> bool:
            kind, place = voter
            return place in moments if kind == "witness" else groups[place]

        for threshold, members in self.groups:
            groups.append(sum(map(votes, members)) >= threshold)
        if self.quorum == "none" or votes(self.quorum):
            return 0, f"cosigned by {who}: enough for the policy", who
        return 1, f"cosigned by {who}: not enough for the policy", who


def shown(moment: int) -> str:
    if moment > 253402300799:
        return "9999-12-31T23:59:59.999Z"
    then = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=moment)
    return then.strftime("%Y-%m-%dT%H:%M:%S.000Z")


# Entries (docs/format.md, "Trail"): the deterministic subset of CBOR


class Reader:
    """Reads one item; every other encoding of the same value is refused."""

    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, 0

    def take(self, count: int) -> bytes:
        end = self.at + count
        demand(end <= len(self.content), "it ends inside an item")
        taken = self.content[self.at : end]
        self.at = end
        return taken

    def head(self):
        first = self.take(1)[0]
        major, info = first >> 5, first & 31
        if major == 7 or info < 24:
            return major, info
        demand(info <= 27, "an unknown item")
        argument = int.from_bytes(self.take(1 << (info - 24)), "big")
        demand(argument >= (24, 0x100, 0x1_0000, 0x1_0000_0000)[info - 24], "not the shortest encoding")
        return major, argument

    def item(self, depth: int = 0):
        demand(depth <= 16, "nested too deep")
        major, argument = self.head()
        if major == 0:
            return argument
        if major == 2:
            return self.take(argument)
        if major == 3:
            return self.text(argument)
        if major == 4:
            items = []
            for _ in range(argument):
                items.append(self.item(depth + 1))
            return items
        if major == 5:
            return self.map(argument, depth)
        demand(major == 7 and argument in (20, 21, 22), "an unknown item")
        return {20: False, 21: True, 22: None}[argument]

    def text(self, length: int) -> str:
        try:
            return self.take(length).decode("utf-8")
        except ValueError:
            raise Tampered("a text is not UTF-8")

    def map(self, length: int, depth: int) -> dict:
        found, before = {}, None
        for _ in range(length):
            major, size = self.head()
            demand(major == 3, "a key is no text")
            key = self.text(size)
            place = (size, key.encode())
            demand(before is None or before < place, "keys are not sorted")
            found[key], before = self.item(depth + 1), place
        return found


ENTRY_FIELDS = {"v", "vault", "time", "kind", "action", "actor", "of", "outcome", "commits", "changes", "state"}


def read_entry(content: bytes) -> dict:
    reader = Reader(content)
    entry = reader.item()
    demand(reader.at == len(content), "bytes follow it")
    demand(fields(entry) == ENTRY_FIELDS and entry["v"] == 1 and entry["v"] is not True, "not the fields of an entry")
    demand(all(isinstance(entry[name], str) for name in ("vault", "action", "actor")), "not the fields of an entry")
    demand(whole(entry["time"]), "no time")
    demand(entry["kind"] in ("genesis", "intent", "outcome", "denial", "access"), "an unknown kind")
    demand(entry["of"] is None or whole(entry["of"]), "no index of an intent")
    demand(entry["outcome"] in (None, "done", "failed", "abandoned", "unknown"), "an unknown outcome")
    demand(digest(entry["state"]), "no state")
    demand(
        isinstance(entry["commits"], dict) and all(digest(value) for value in entry["commits"].values()),
        "no commitments",
    )
    demand(isinstance(entry["changes"], list), "no changes")
    for change in entry["changes"]:
        shape = (
            isinstance(change, list)
            and len(change) == 3
            and isinstance(change[0], str)
            and isinstance(change[1], bytes)
        )
        demand(shape and (change[2] is None or digest(change[2])), "no changes")
    return entry


def whole(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def digest(value) -> bool:
    return isinstance(value, bytes) and len(value) == 32


# Ed25519 (RFC 8032, section 5.1): points as (X, Y, Z, T) with x = X/Z, y = Y/Z, xy = T/Z

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_MINUS_ONE = pow(2, (P - 1) // 4, P)


def ed25519_verify(key: bytes, signature: bytes, message: bytes) -> bool:
    if len(key) != 32 or len(signature) != 64:
        return False
    public = decompress(key)
    scalar = int.from_bytes(signature[32:], "little")
    if public is None or scalar >= ORDER:
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % ORDER
    minus = (P - public[0], public[1], public[2], P - public[3])
    return compress(add(multiply(scalar, BASE), multiply(challenge, minus))) == signature[:32]


def add(a, b):
    x1, y1, z1, t1 = a
    x2, y2, z2, t2 = b
    e1, e2 = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P
    c, d = 2 * t1 * t2 * D % P, 2 * z1 * z2 % P
    e, f, g, h = e2 - e1, d - c, d + c, e2 + e1
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def multiply(scalar: int, point):
    total = (0, 1, 1, 0)
    while scalar > 0:
        if scalar & 1:
            total = add(total, point)
        point = add(point, point)
        scalar >>= 1
    return total


def compress(point) -> bytes:
    inverse = pow(point[2], P - 2, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def decompress(content: bytes):
    y = int.from_bytes(content, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P != 0:
        x = x * SQRT_MINUS_ONE % P
    if (x * x - square) % P != 0 or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


BASE = decompress((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))

# ML-DSA-44 (FIPS 204): verification alone; polynomials are lists of 256 numbers modulo Q

Q = 8380417
SECTIONS = 4  # rows and columns of the matrix
GAMMA1, GAMMA2, BETA, OMEGA, TAU = 1 << 17, (8380417 - 1) // 88, 78, 80, 39


def bit_reversed(number: int) -> int:
    return int(f"{number:08b}"[::-1], 2)


ZETAS = [pow(1753, bit_reversed(number), Q) for number in range(256)]


def ml_dsa_44_verify(key: bytes, signature: bytes, message: bytes) -> bool:
    """Algorithm 8, for pure ML-DSA with an empty context (algorithm 3)."""
    if len(key) != 1312 or len(signature) != 2420:
        return False
    hints = unpack_hints(signature[32 + SECTIONS * 576 :])
    if hints is None:
        return False
    packed = [signature[32 + row * 576 : 32 + (row + 1) * 576] for row in range(SECTIONS)]
    z = [[GAMMA1 - value for value in unpack(content, 18)] for content in packed]
    if any(abs(value) >= GAMMA1 - BETA for row in z for value in row):
        return False
    t1 = [unpack(key[32 + row * 320 : 32 + (row + 1) * 320], 10) for row in range(SECTIONS)]
    challenge = ntt(sample_in_ball(signature[:32]))
    z = [ntt(row) for row in z]
    mu = hashlib.shake_256(hashlib.shake_256(key).digest(64) + b"\0\0" + message).digest(64)
    encoded = b""
    for row in range(SECTIONS):
        total = [0] * 256
        for column in range(SECTIONS):
            entry = rejection_sampled(key[:32] + bytes([column, row]))
            total = [a + b * c for a, b, c in zip(total, entry, z[column])]
        shifted = ntt([value << 13 for value in t1[row]])
        approximate = inverse_ntt([(a - b * c) % Q for a, b, c in zip(total, challenge, shifted)])
        high = [use_hint(hint, value) for hint, value in zip(hints[row], approximate)]
        encoded += pack(high, 6)
    return hashlib.shake_256(mu + encoded).digest(32) == signature[:32]


def unpack(content: bytes, bits: int) -> list:
    whole_number = int.from_bytes(content, "little")
    return [whole_number >> bits * place & ((1 << bits) - 1) for place in range(256)]


def pack(values: list, bits: int) -> bytes:
    return sum(value << bits * place for place, value in enumerate(values)).to_bytes(32 * bits, "little")


def unpack_hints(content: bytes):
    """Algorithm 21; None for every second spelling of the same hints."""
    hints, index = [[0] * 256 for _ in range(SECTIONS)], 0
    for row in range(SECTIONS):
        first, end = index, content[OMEGA + row]
        if end < index or end > OMEGA:
            return None
        while index < end:
            if index > first and content[index - 1] >= content[index]:
                return None
            hints[row][content[index]] = 1
            index += 1
    return None if any(content[index:OMEGA]) else hints


def rejection_sampled(seed: bytes) -> list:
    """Algorithm 30."""
    length = 1024
    while True:
        stream = hashlib.shake_128(seed).digest(3 * length)
        values = [int.from_bytes(stream[3 * i : 3 * i + 3], "little") & 0x7FFFFF for i in range(length)]
        values = [value for value in values if value < Q][:256]
        if len(values) == 256:
            return values
        length *= 2


def sample_in_ball(seed: bytes) -> list:
    """Algorithm 29."""
    stream = iter(hashlib.shake_256(seed).digest(8192))
    signs = sum(next(stream) << 8 * place for place in range(8))
    ball = [0] * 256
    for place in range(256 - TAU, 256):
        other = next(stream)
        while other > place:
            other = next(stream)
        ball[place] = ball[other]
        ball[other] = 1 - 2 * (signs >> (place + TAU - 256) & 1)
    return ball


def use_hint(hint: int, value: int) -> int:
    """Algorithms 40 and 36."""
    low = value % (2 * GAMMA2)
    if low > GAMMA2:
        low -= 2 * GAMMA2
    if value - low == Q - 1:
        high, low = 0, low - 1
    else:
        high = (value - low) // (2 * GAMMA2)
    return (high + (1 if low > 0 else -1)) % 44 if hint else high


def ntt(values: list) -> list:
    """Algorithm 41."""
    values, place, length = list(values), 0, 128
    while length >= 1:
        for start in range(0, 256, 2 * length):
            place += 1
            for i in range(start, start + length):
                turned = ZETAS[place] * values[i + length] % Q
                values[i + length] = (values[i] - turned) % Q
                values[i] = (values[i] + turned) % Q
        length //= 2
    return values


def inverse_ntt(values: list) -> list:
    """Algorithm 42."""
    values, place, length = list(values), 256, 1
    while length < 256:
        for start in range(0, 256, 2 * length):
            place -= 1
            for i in range(start, start + length):
                before = values[i]
                values[i] = (before + values[i + length]) % Q
                values[i + length] = -ZETAS[place] * (before - values[i + length]) % Q
        length *= 2
    return [value * 8347681 % Q for value in values]


if __name__ == "__main__":
    sys.exit(main())

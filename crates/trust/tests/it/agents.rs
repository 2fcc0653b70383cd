//! Keys in SSH agents: OpenSSH's own signatures hold, everything else does not, and agents that lie are found out.

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use ringfence_schema::Digest;
use ringfence_trust::factor::agent::{
    Agent, AgentError, AgentKey, AgentSignature, KeyKind, MESSAGE_BYTES_MAX, Namespace,
};

/// What was signed with `ssh-keygen -Y sign -n ringfence.request/1 -O hashalg=sha256` (OpenSSH 9.2p1).
const DOCUMENT: &[u8] = b"{\"says\":\"export\"}";
/// Public key, and the signature from the `.sig` file.
const SIGNED: [(&str, &str, KeyKind); 2] = [
    (
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGEbqObzF1gAgUzL9oRAD0vx1h9Vgw4AGSYIUPsbhb64 ana@laptop",
        "AAAAC3NzaC1lZDI1NTE5AAAAQMeCI+mPuWr3XVKThAkF7jieKiro4Xqb34WSR7UIBI4HQ4zYsgKutwxghrFB4RZpGFTjdVP+0M/JIETjY+pGOgA=",
        KeyKind::Ed25519,
    ),
    (
        "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBN4KqC+2xrKqE4Zr9bbgKm0U/ddnzW6n8Nks3JSVEdCHEyDGuSbKDQKsG4qvAUwIhBOmuomHW8sFuln249MtP7A=",
        "AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAABJAAAAIF5FyjLH66ixwI3dT2Ko0pNj+thPcnGsZWFKXJwu8muzAAAAIQDqRNeJ3cU2MuCoaS8vXReDI9218Kj5QTGWFz1S81oq3w==",
        KeyKind::P256,
    ),
];
/// Keys of types that are not taken.
const OTHERS: [&str; 2] = [
    "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQCfuHoQeLjgAfu5UiWmjMFOrhv5qX5KJCFZyLRDUABuAfN+hsTKzITu3jjkUX19sN8SHjDT3NrzD37LqyRxmru3YHrdHtTiY/bxhmKJaRXxTmjSB/YMvfzmPLS/8+jqafZWctlV3ph/TrANe329yo1rSGVgp0Y3LztT6OqBItMYS6t4gbAZSPbEw7aXMYg4KFgHy84i1YuiAGLaF+/xSYHOll2Wpfij63bmlJaMrcWwlYcAILM2gYPrgw7yIKaa3uP58/9hw5dxpzZU8ZMLINutImIXxlJtg5YSWZWZzChgqNbG+6u/hLCRODtz3dSWKXWQgtckbJNoSEtyK+IdO/w9",
    "ecdsa-sha2-nistp384 AAAAE2VjZHNhLXNoYTItbmlzdHAzODQAAAAIbmlzdHAzODQAAABhBIswDmlMr6e1JifjDE4sFJsXXEdPCVALnRx3NVyM/jGhwAkM2Jc+hozwQHD2KNrJW/JV4im/71YXZTmUZvH5JnBoLgTCjSE+HclB0WTahFiUnML8tztakn1AWcrxngMwYw==",
];

fn key(line: &str) -> AgentKey {
    line.parse().unwrap()
}

fn signature(text: &str) -> AgentSignature {
    serde_json::from_value(text.into()).unwrap()
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

#[test]
fn signatures_of_openssh_hold_for_what_they_are_over() {
    let digest = Digest::of(DOCUMENT);
    for (line, made, kind) in SIGNED {
        let (key, made) = (key(line), signature(made));
        assert_eq!(key.kind(), kind);
        key.verify(Namespace::Approval, &digest, &made).unwrap();
        // Not for another document, purpose or key, and not with a byte changed.
        let wrong = Err(AgentError::Signature);
        assert_eq!(key.verify(Namespace::Approval, &Digest::of(b"else"), &made), wrong);
        assert_eq!(key.verify(Namespace::Enrolment, &digest, &made), wrong);
        for (other, _, _) in SIGNED.iter().filter(|(other, _, _)| *other != line) {
            assert_eq!(self::key(other).verify(Namespace::Approval, &digest, &made), wrong);
        }
        for at in 0..made.as_bytes().len() {
            let mut changed = made.as_bytes().to_vec();
            changed[at] ^= 1;
            assert!(key.verify(Namespace::Approval, &digest, &AgentSignature::new(changed).unwrap()).is_err(), "{at}");
            let cut = AgentSignature::new(made.as_bytes()[..at].to_vec()).unwrap();
            assert!(key.verify(Namespace::Approval, &digest, &cut).is_err(), "{at}");
        }
        let longer = AgentSignature::new([made.as_bytes(), &[0]].concat()).unwrap();
        assert!(key.verify(Namespace::Approval, &digest, &longer).is_err());
    }
}

#[test]
fn keys_have_one_spelling_and_few_types() {
    for (line, _, _) in SIGNED {
        let key = key(line);
        let text = key.to_string();
        assert!(line.starts_with(&text), "{text}");
        assert_eq!(AgentKey::from_wire(&key.to_wire()).unwrap(), key);
        assert_eq!(serde_json::from_value::<AgentKey>(text.as_str().into()).unwrap(), key);
        assert!(serde_json::from_value::<AgentKey>(format!("{text} comment").into()).is_err());
        assert!(key.fingerprint().starts_with("SHA256:"));
        let mut longer = key.to_wire();
        longer.push(0);
        assert_eq!(AgentKey::from_wire(&longer), Err(AgentError::Key));
    }
    for line in OTHERS {
        let refused = line.parse::<AgentKey>().unwrap_err();
        assert_eq!(refused, AgentError::Kind);
        assert!(refused.to_string().contains("ssh-ed25519"), "{refused}");
    }
    // A point of small order, under which anybody could sign.
    let weak = [string(b"ssh-ed25519"), string(&[0; 32])].concat();
    assert_eq!(AgentKey::from_wire(&weak), Err(AgentError::Key));
    // The name before the key says another type than the key.
    let bytes = STANDARD.encode(key(SIGNED[0].0).to_wire());
    assert_eq!(format!("ecdsa-sha2-nistp256 {bytes}").parse::<AgentKey>(), Err(AgentError::Key));
    assert_eq!("ssh-ed25519".parse::<AgentKey>(), Err(AgentError::Key));
}

/// A security key in software, which may be told that nobody touched it.
struct Token(Ed25519KeyPair);

impl Token {
    const APPLICATION: &[u8] = b"ssh:";

    fn key(&self) -> AgentKey {
        let name = KeyKind::SecurityEd25519.name().as_bytes();
        let parts = [string(name), string(self.0.public_key().as_ref()), string(Self::APPLICATION)];
        AgentKey::from_wire(&parts.concat()).unwrap()
    }

    fn sign(&self, namespace: &str, digest: &Digest, flags: u8, counter: u32) -> AgentSignature {
        let parts = [string(namespace.as_bytes()), string(b""), string(b"sha256"), string(digest.as_bytes())];
        let document = [b"SSHSIG".to_vec(), parts.concat()].concat();
        let (party, hash) = (Digest::of(Self::APPLICATION), Digest::of(&document));
        let told = [party.as_bytes(), &[flags][..], &counter.to_be_bytes(), hash.as_bytes()].concat();
        let made = string(self.0.sign(&told).as_ref());
        let name = string(KeyKind::SecurityEd25519.name().as_bytes());
        AgentSignature::new([name, made, vec![flags], counter.to_be_bytes().to_vec()].concat()).unwrap()
    }
}

#[test]
fn a_security_key_counts_with_a_touch_alone() {
    let token = Token(Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap());
    let (key, digest) = (token.key(), Digest::of(DOCUMENT));
    for flags in [0x01, 0x05] {
        key.verify(Namespace::Approval, &digest, &token.sign("ringfence.request/1", &digest, flags, 9)).unwrap();
    }
    let untouched = token.sign("ringfence.request/1", &digest, 0, 9);
    assert_eq!(key.verify(Namespace::Approval, &digest, &untouched), Err(AgentError::NotPresent));
    // To say so afterwards does not help, and neither does another counter.
    for (at, change) in [(5, 1), (1, 1)] {
        let mut changed = untouched.as_bytes().to_vec();
        let end = changed.len();
        changed[end - at] ^= change;
        assert!(key.verify(Namespace::Approval, &digest, &AgentSignature::new(changed).unwrap()).is_err());
    }
    let commit = token.sign("git", &digest, 1, 9);
    assert_eq!(key.verify(Namespace::Approval, &digest, &commit), Err(AgentError::Signature));
    assert!(key.kind().is_on_security_key());
}

/// An agent that gives these answers, one to each question.
fn answering(answers: Vec<Vec<u8>>) -> Agent<UnixStream> {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    thread::spawn(move || {
        for answer in answers {
            let mut length = [0; 4];
            theirs.read_exact(&mut length).unwrap();
            let mut asked = vec![0; u32::from_be_bytes(length) as usize];
            theirs.read_exact(&mut asked).unwrap();
            theirs.write_all(&answer).unwrap();
        }
    });
    Agent::new(ours)
}

#[test]
fn agents_that_lie_are_found_out() {
    let (line, made, _) = SIGNED[0];
    let (ours, digest) = (key(line), Digest::of(DOCUMENT));
    let held = |keys: &[Vec<u8>]| {
        let count = u32::try_from(keys.len()).unwrap().to_be_bytes().to_vec();
        let keys: Vec<u8> = keys.iter().flat_map(|key| [string(key), string(b"a\x1b[2J comment")].concat()).collect();
        string(&[vec![12], count, keys].concat())
    };
    let rsa = STANDARD.decode(OTHERS[0].split(' ').nth(1).unwrap()).unwrap();
    let found = answering(vec![held(&[rsa, ours.to_wire(), b"nonsense".to_vec()])]).keys().unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].key, ours);
    assert!(!found[0].comment.contains('\u{1b}'), "{:?}", found[0].comment);

    let signed = |bytes: &[u8]| string(&[vec![14], string(bytes)].concat());
    let genuine = signature(made);
    let sign = |answer: Vec<u8>, digest: &Digest| answering(vec![answer]).sign(&ours, Namespace::Approval, digest);
    assert_eq!(sign(signed(genuine.as_bytes()), &digest).unwrap(), genuine);
    assert_eq!(sign(signed(genuine.as_bytes()), &Digest::of(b"else")), Err(AgentError::Signature));
    assert_eq!(sign(string(&[5]), &digest), Err(AgentError::Refused));
    assert_eq!(sign(string(&[6]), &digest), Err(AgentError::Protocol));
    assert_eq!(sign(string(&[]), &digest), Err(AgentError::Malformed));
    assert_eq!(sign(signed(&[0; 600]), &digest), Err(AgentError::Malformed));
    assert_eq!(sign(vec![0xff; 4], &digest), Err(AgentError::TooLarge { bytes: 0xffff_ffff }));
    let bytes = u32::try_from(MESSAGE_BYTES_MAX + 1).unwrap();
    assert_eq!(sign(bytes.to_be_bytes().to_vec(), &digest), Err(AgentError::TooLarge { bytes: bytes.into() }));
    assert!(matches!(sign(Vec::new(), &digest), Err(AgentError::Io(_))), "it hangs up");
    let many = string(&[vec![12], 1_025_u32.to_be_bytes().to_vec()].concat());
    assert_eq!(answering(vec![many]).keys(), Err(AgentError::Protocol));
}

/// OpenSSH's agent, until this is dropped.
struct Real(Child);

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn quiet(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|done| done.success())
}

#[test]
fn openssh_agrees() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let socket = at("agent");
    let agent = Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn();
    let Ok(agent) = agent.map(Real) else {
        println!("skipped: there is no ssh-agent here");
        return;
    };
    let make = |kind: &str, name: &str| {
        assert!(quiet(Command::new("ssh-keygen").args(["-q", "-t", kind, "-N", "", "-f"]).arg(at(name))));
        let add = || quiet(Command::new("ssh-add").arg(at(name)).env("SSH_AUTH_SOCK", &socket));
        // It may not listen yet.
        assert!((0..1_000).any(|_| add()), "the agent takes no key");
    };
    for (kind, name) in [("ed25519", "ed"), ("ecdsa", "ec"), ("rsa", "rsa")] {
        make(kind, name);
    }
    let mut client = Agent::new(UnixStream::connect(&socket).unwrap());
    let keys = client.keys().unwrap();
    assert_eq!(keys.len(), 2, "the RSA key is passed over: {keys:?}");
    fs::write(at("document"), DOCUMENT).unwrap();
    for held in keys {
        let made = client.sign(&held.key, Namespace::Approval, &Digest::of(DOCUMENT)).unwrap();
        let parts = [
            string(&held.key.to_wire()),
            string(b"ringfence.request/1"),
            string(b""),
            string(b"sha256"),
            string(made.as_bytes()),
        ];
        let blob = STANDARD.encode([b"SSHSIG\0\0\0\x01".to_vec(), parts.concat()].concat());
        let armored = format!("-----BEGIN SSH SIGNATURE-----\n{blob}\n-----END SSH SIGNATURE-----\n");
        fs::write(at("signature"), armored).unwrap();
        fs::write(at("signers"), format!("ana {}\n", held.key)).unwrap();
        assert!(openssh_verifies(folder.path(), "ringfence.request/1"), "{:?}", held.key);
        assert!(!openssh_verifies(folder.path(), "ringfence.enrolment/1"), "{:?}", held.key);
    }
    drop(agent);
}

fn openssh_verifies(folder: &Path, namespace: &str) -> bool {
    let document = fs::File::open(folder.join("document")).unwrap();
    let mut command = Command::new("ssh-keygen");
    command.args(["-Y", "verify", "-n", namespace, "-I", "ana", "-f"]).arg(folder.join("signers"));
    command.arg("-s").arg(folder.join("signature")).stdin(document).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().unwrap().success()
}

proptest! {
    #[test]
    fn any_bytes_are_a_key_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(key) = AgentKey::from_wire(&bytes) {
            prop_assert_eq!(key.to_wire(), bytes);
        }
    }

    #[test]
    fn any_bytes_are_no_signature(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let made = AgentSignature::new(bytes).unwrap();
        for (line, _, _) in SIGNED {
            prop_assert!(key(line).verify(Namespace::Approval, &Digest::of(DOCUMENT), &made).is_err());
        }
    }
}

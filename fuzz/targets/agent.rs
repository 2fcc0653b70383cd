//! Any bytes as what an SSH agent says: keys, signatures, answers.
#![no_main]
use std::io::{self, Cursor, Read, Write};

use ringfence_schema::Digest;
use ringfence_trust::factor::agent::{Agent, AgentKey, AgentSignature, Namespace};

const LINE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGEbqObzF1gAgUzL9oRAD0vx1h9Vgw4AGSYIUPsbhb64";

/// Says what it was given, whatever it is asked.
struct Says<'a>(Cursor<&'a [u8]>);

impl Read for Says<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Says<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let key: AgentKey = LINE.parse().unwrap();
    let digest = Digest::of(b"document");
    let _ = Agent::new(Says(Cursor::new(data))).keys();
    let signed = Agent::new(Says(Cursor::new(data))).sign(&key, Namespace::Approval, &digest);
    assert!(signed.is_err(), "nobody signs by chance");
    if let Ok(signature) = AgentSignature::new(data.to_vec()) {
        assert!(key.verify(Namespace::Approval, &digest, &signature).is_err(), "nobody signs by chance");
    }
    if let Ok(key) = AgentKey::from_wire(data) {
        assert_eq!(key.to_wire(), data, "one spelling a key");
        assert_eq!(key.to_string().parse::<AgentKey>().unwrap(), key);
    }
    let _ = serde_json::from_slice::<AgentKey>(data);
    let _ = serde_json::from_slice::<AgentSignature>(data);
});

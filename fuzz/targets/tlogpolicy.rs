//! Any bytes as a C2SP tlog-policy: read within its limits or refused with a line of it; a policy counts any note.
#![no_main]
use ringfence_trust::{
    note::Note,
    witness::{LOGS_MAX, Policy, WITNESSES_MAX},
};

/// The example of C2SP tlog-cosignature.
const NOTE: &[u8] = "example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

\u{2014} witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
"
.as_bytes();

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    match Policy::parse(data) {
        Ok(policy) => {
            assert!(policy.witnesses().len() <= WITNESSES_MAX && policy.logs().len() <= LOGS_MAX);
            let Ok(note) = Note::parse(NOTE) else { return };
            let tally = policy.satisfied(&note);
            // Nobody but the witness whose key nobody has signed this.
            assert!(tally.met || policy.asks());
        }
        Err(error) => assert!(error.line >= 1 && error.line <= data.len() + 1),
    }
});

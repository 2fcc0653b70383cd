//! Any text as what people and programs present: a token, a code, a recovery code, a password; and as
//! what is stored of them.
#![no_main]
use ringfence_trust::{
    entropy::SeededEntropy,
    factor::{
        password::{Password, PasswordHash},
        recovery::RecoverySet,
        token::{StoredToken, Token},
        totp::TotpCode,
    },
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = serde_json::from_slice::<StoredToken>(data);
    let _ = serde_json::from_slice::<RecoverySet>(data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(token) = Token::parse(text) {
        assert_eq!(*token.shown(), text, "one spelling a token");
    }
    if let Ok(hash) = text.parse::<PasswordHash>() {
        assert_eq!(hash.to_string(), text, "one spelling a hash");
    }
    let _ = TotpCode::parse(text);
    let (_, mut set) = RecoverySet::random(&mut SeededEntropy::new(1));
    let _ = set.spend(text);
    let _ = Password::chosen(text.to_owned(), &["ann"]);
});

//! Passwords, recovery codes and tokens: what is stored lets nobody in, what is used once is used up.

use proptest::prelude::*;
use ringfence_trust::{
    entropy::SeededEntropy,
    factor::{
        password::{self, Cost, Password, PasswordError, PasswordHash},
        recovery::{CODES, RecoveryError, RecoverySet},
        token::{StoredToken, TOKEN_CHARS_MAX, Token, TokenError, TokenKind},
        totp::{TotpCode, TotpSecret},
    },
    keys::DetailKey,
};

fn chosen(text: &str) -> Result<Password, PasswordError> {
    Password::chosen(text.to_owned(), &["ann.karlsson", "Ringfence lab"])
}

fn typed(text: &str) -> Password {
    Password::typed(text.to_owned()).unwrap()
}

#[test]
fn a_password_is_checked_as_it_was_chosen() {
    let entropy = &mut SeededEntropy::new(1);
    let cost = Cost::default();
    let stored = chosen("pink crane, 9 lamps").unwrap().hash(cost, entropy).unwrap();
    let text = stored.to_string();
    assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
    let stored: PasswordHash = text.parse().unwrap();
    assert!(password::check(Some(&stored), &typed("pink crane, 9 lamps"), cost).unwrap());
    assert!(!password::check(Some(&stored), &typed("pink crane, 9 lampS"), cost).unwrap());
    assert!(!password::check(None, &typed("pink crane, 9 lamps"), cost).unwrap());
    // The same characters, typed on another keyboard: full width, and accents apart from their letters.
    let accents = chosen("caf\u{e9} au bord d'eau").unwrap().hash(cost, entropy).unwrap();
    assert!(password::check(Some(&accents), &typed("cafe\u{301} au bord d'eau"), cost).unwrap());
    assert!(password::check(Some(&accents), &typed("\u{ff43}afe\u{301} au bord d'eau"), cost).unwrap());
    assert_ne!(
        accents.to_string(),
        chosen("caf\u{e9} au bord d'eau").unwrap().hash(cost, entropy).unwrap().to_string()
    );
    assert_eq!(format!("{stored:?} {:?}", typed("x")), "[redacted] [redacted]");
}

/// What the reference program (argon2-cffi over libargon2) printed for the salt `ringfence salt 1`.
const REFERENCE: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$cmluZ2ZlbmNlIHNhbHQgMQ$IR2KM763euwyrHTTtwC8hwOTtBEcXDQ3fousYLTj4os";

#[test]
fn a_string_of_the_reference_program_is_read() {
    let stored: PasswordHash = REFERENCE.parse().unwrap();
    assert_eq!(stored.to_string(), REFERENCE);
    assert!(password::check(Some(&stored), &typed("pink crane, 9 lamps"), Cost::default()).unwrap());
}

#[test]
fn weak_passwords_are_refused_and_odd_ones_are_not() {
    for (text, expected) in [
        ("", PasswordError::Empty),
        ("pink crane", PasswordError::TooShort { chars: 10 }),
        // One character that looks like four is four; a ligature is two.
        ("aaaaaaaaaaaaaaaa", PasswordError::TooSimple),
        ("abababababababab", PasswordError::TooSimple),
        ("123456789012", PasswordError::TooSimple),
        ("abcdefghijklmnop", PasswordError::TooSimple),
        ("passwordpassword", PasswordError::Common),
        ("Password1234!", PasswordError::Common),
        ("P4$$w0rd2026!!", PasswordError::Common),
        ("qwertyuiop123", PasswordError::Common),
        ("1q2w3e4r5t6y", PasswordError::Common),
        ("iloveyou-iloveyou", PasswordError::Common),
        ("correct horse battery staple", PasswordError::Common),
        ("summer-2026-winter", PasswordError::Common),
        ("karlsson19841984", PasswordError::Common),
        ("Ann.Karlsson!2026", PasswordError::Common),
        ("ringfence-admin-1", PasswordError::Common),
    ] {
        assert_eq!(chosen(text).err(), Some(expected), "{text}");
    }
    assert_eq!(chosen(&"ab1x".repeat(300)).err(), Some(PasswordError::TooLong));
    // U+FDFA becomes eighteen characters: the limit holds after that.
    assert_eq!(Password::typed("\u{fdfa}".repeat(300)).err(), Some(PasswordError::TooLong));
    for text in ["pink crane, 9 lamps", "vK7#pL2q!mZx", "tre små grisar åt", "парус над водой", "83920174 88 23 59"]
    {
        assert!(chosen(text).is_ok(), "{text}");
    }
}

#[test]
fn stored_hashes_have_one_spelling_and_bounded_cost() {
    let good =
        chosen("pink crane, 9 lamps").unwrap().hash(Cost::default(), &mut SeededEntropy::new(2)).unwrap().to_string();
    for bad in [
        good.replace("argon2id", "argon2i"),
        good.replace("v=19", "v=16"),
        good.replace("m=19456", "m=1048576"),
        good.replace("m=19456", "m=8"),
        good.replace("m=19456", "m=019456"),
        good.replace("m=19456", "m=+19456"),
        good.replace("t=2", "t=1"),
        good.replace("t=2", "t=99"),
        good.replace("p=1", "p=0"),
        good.replace(",p=1", ""),
        format!("{good}$"),
        format!("{good}="),
        format!(" {good}"),
        good[..good.len() - 1].to_owned(),
        good.repeat(2),
        String::new(),
    ] {
        assert_eq!(bad.parse::<PasswordHash>().err(), Some(PasswordError::Stored), "{bad}");
    }
    assert!(Cost::new(46_080, 2, 1).is_ok());
    assert!(Cost::new(19_455, 2, 1).is_err() && Cost::new(1 << 20, 2, 1).is_err());
    let hash: PasswordHash = good.parse().unwrap();
    assert!(hash.is_weaker_than(Cost::new(46_080, 2, 1).unwrap()) && !hash.is_weaker_than(Cost::default()));
    assert_eq!(serde_json::from_str::<PasswordHash>(&serde_json::to_string(&hash).unwrap()).unwrap(), hash);
}

#[test]
fn recovery_codes_are_good_once() {
    let (codes, mut set) = RecoverySet::random(&mut SeededEntropy::new(3));
    let shown: Vec<String> = codes.shown().map(str::to_owned).collect();
    assert_eq!((shown.len(), set.left()), (CODES, CODES));
    for code in &shown {
        assert_eq!(code.len(), 19);
        assert!(code.split('-').all(|group| group.len() == 4), "{code}");
    }
    let stored = serde_json::to_string(&set).unwrap();
    assert!(shown.iter().all(|code| !stored.contains(&code.replace('-', ""))));
    assert_eq!(set.spend(&shown[3]), Ok(()));
    assert_eq!(set.spend(&shown[3]), Err(RecoveryError::Unknown), "used");
    // As people write them down and type them in again.
    assert_eq!(set.spend(&format!(" {} ", shown[4].to_uppercase().replace('-', " "))), Ok(()));
    assert_eq!(set.spend(&shown[5].replace('0', "O").replace('1', "l")), Ok(()));
    assert_eq!(set.left(), CODES - 3);
    for wrong in ["", "0000-0000-0000-0000-0", "uuuu-uuuu-uuuu-uuuu", &"0".repeat(100), "0000-0000-0000-000\u{e9}"] {
        assert_eq!(set.spend(wrong), Err(RecoveryError::Form), "{wrong}");
    }
    assert_eq!(set.spend("0000-0000-0000-0000"), Err(RecoveryError::Unknown));
    // What was spent stays spent in what is stored.
    let mut again: RecoverySet = serde_json::from_str(&serde_json::to_string(&set).unwrap()).unwrap();
    assert_eq!(again.spend(&shown[3]), Err(RecoveryError::Unknown));
    assert_eq!(again.spend(&shown[0]), Ok(()));
    let (_, mut other) = RecoverySet::random(&mut SeededEntropy::new(4));
    assert_eq!(other.spend(&shown[1]), Err(RecoveryError::Unknown), "another person's set");
}

#[test]
fn a_token_is_its_own_and_no_other() {
    let entropy = &mut SeededEntropy::new(5);
    for kind in TokenKind::ALL {
        let token = Token::random(kind, entropy);
        let text = token.shown();
        assert!(text.starts_with(&format!("rf_{}_", kind.name())) && text.len() <= TOKEN_CHARS_MAX, "{}", *text);
        let read = Token::parse(&text).unwrap();
        assert_eq!((read.kind(), read.id()), (kind, token.id()));
        let stored: StoredToken = serde_json::from_str(&serde_json::to_string(&token.stored()).unwrap()).unwrap();
        assert!(stored.is(&read));
        assert!(!stored.is(&Token::random(kind, entropy)));
        assert!(!serde_json::to_string(&stored).unwrap().contains(text.split('_').nth(3).unwrap()));
        let debug = format!("{token:?}");
        assert_eq!(debug, format!("rf_{}_{}_[redacted]", kind.name(), token.id()));
    }
}

#[test]
fn one_token_has_one_spelling() {
    let text = Token::random(TokenKind::Api, &mut SeededEntropy::new(6)).shown();
    let stored = Token::parse(&text).unwrap().stored();
    // Any other character anywhere, and any character more or less.
    for at in 0..text.len() {
        for other in [b'a', b'b', b'2', b'A', b'_', b'-', b' ', b'0', 0] {
            let mut changed = text.as_bytes().to_vec();
            if changed[at] != other {
                changed[at] = other;
                let changed = String::from_utf8(changed).unwrap();
                assert!(Token::parse(&changed).is_err(), "{changed:?}");
            }
        }
        let (before, after) = text.split_at(at);
        assert!(Token::parse(&format!("{before}{}", &after[1..])).is_err());
        assert!(Token::parse(&format!("{before}a{after}")).is_err());
    }
    for other in [text.to_uppercase(), format!(" {}", *text), format!("{}\n", *text), text.replace("rf_api", "rf_run")]
    {
        assert!(Token::parse(&other).is_err(), "{other:?}");
    }
    // A mistyped token is told from what never was one.
    let mut mistyped = text.to_string();
    let last = if text.ends_with('0') { "1" } else { "0" };
    mistyped.replace_range(text.len() - 1.., last);
    assert_eq!(Token::parse(&mistyped).unwrap_err(), TokenError::Checksum);
    assert_eq!(Token::parse("ghp_0123456789").unwrap_err(), TokenError::Form);
    assert!(stored.is(&Token::parse(&text).unwrap()));
}

#[test]
fn the_key_of_an_app_is_stored_sealed() {
    let entropy = &mut SeededEntropy::new(7);
    let detail = DetailKey::generate(entropy);
    let secret = TotpSecret::random(entropy);
    let sealed = secret.seal(&detail, entropy, &[b"totp", b"ann"]).unwrap();
    let opened = TotpSecret::open(&detail, &[b"totp", b"ann"], &sealed).unwrap();
    assert_eq!(*opened.uri("a", "b"), *secret.uri("a", "b"));
    assert!(TotpSecret::open(&detail, &[b"totp", b"bob"], &sealed).is_err(), "another person's");
    let short = ringfence_trust::seal::seal_blob(&detail, entropy, &[b"totp", b"ann"], b"short").unwrap();
    assert!(TotpSecret::open(&detail, &[b"totp", b"ann"], &short).is_err());
}

proptest! {
    #[test]
    fn whatever_is_presented_is_refused_or_is_itself(text in "(rf|_|session|api|[a-z2-7]{16}|[a-z2-7]{52}|[0-9a-f]{8}|.){0,9}") {
        if let Ok(token) = Token::parse(&text) {
            prop_assert_eq!(&*token.shown(), &text);
        }
        let _ = text.parse::<PasswordHash>();
        let _ = TotpCode::parse(&text);
    }
}

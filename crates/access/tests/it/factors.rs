//! Factors, logins and names: who may do more than enrol, and which spellings are one name.

use proptest::prelude::*;
use ringfence_access::{
    LoginStrength, Role, Settings,
    factors::{
        Factor, FactorError, Factors, PASSKEYS_MAX, Proof, STEP_UP_WINDOW_MS, Standing, mfa_age_ms, step_up_holds,
        strength, strictest,
    },
    names::{Alphabet, LoginName, NameError, TYPED_BYTES_MAX},
};
use ringfence_schema::Timestamp;

use LoginStrength::{Any, Mfa, Passkey};

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// Every subset of the proofs.
fn logins() -> Vec<Vec<Proof>> {
    (0..1_u32 << Proof::ALL.len())
        .map(|bits| (0..).zip(Proof::ALL).filter(|(at, _)| bits & (1 << at) != 0).map(|(_, proof)| proof).collect())
        .collect()
}

#[test]
fn what_a_login_amounts_to() {
    let cases: [(&[Proof], Option<LoginStrength>); 13] = [
        (&[], None),
        (&[Proof::Password], Some(Any)),
        (&[Proof::Totp], None),
        (&[Proof::RecoveryCode], None),
        (&[Proof::Totp, Proof::RecoveryCode], None),
        (&[Proof::PasskeyPresent], Some(Any)),
        (&[Proof::Password, Proof::Totp], Some(Mfa)),
        (&[Proof::Password, Proof::RecoveryCode], Some(Mfa)),
        (&[Proof::Password, Proof::PasskeyPresent], Some(Mfa)),
        (&[Proof::FederatedAny], Some(Any)),
        (&[Proof::FederatedAny, Proof::Totp], Some(Mfa)),
        (&[Proof::FederatedMfa], Some(Mfa)),
        (&[Proof::PasskeyVerified], Some(Passkey)),
    ];
    for (proofs, expected) in cases {
        assert_eq!(strength(proofs), expected, "{proofs:?}");
    }
}

#[test]
fn a_strength_has_one_name() {
    for strength in LoginStrength::ALL {
        assert_eq!(strength.to_string(), strength.name());
        assert_eq!(serde_json::to_value(strength).unwrap(), strength.name());
    }
}

#[test]
fn one_more_proof_never_weakens_a_login() {
    for login in logins() {
        for more in Proof::ALL {
            let both: Vec<_> = login.iter().copied().chain([more]).collect();
            assert!(strength(&both) >= strength(&login), "{login:?} and {more:?}");
        }
    }
}

#[test]
fn the_strictest_demand_wins_and_none_goes_below_two_factors() {
    assert_eq!(strictest([]), Mfa);
    assert_eq!(strictest([Any]), Mfa);
    assert_eq!(strictest([Any, Passkey, Mfa]), Passkey);
    let settings =
        Settings { login_min_for: [(Role::Owner, Passkey), (Role::Auditor, Any)].into(), ..Settings::default() };
    assert_eq!(settings.login_min(&[Role::Auditor].into()), Mfa);
    assert_eq!(settings.login_min(&[Role::Auditor, Role::Owner].into()), Passkey);
    assert_eq!(Settings { login_min: Some(Passkey), ..Settings::default() }.login_min(&[].into()), Passkey);
}

#[test]
fn nobody_falls_back_to_one_factor() {
    let invited = Factors::default();
    assert_eq!(invited.standing(), Standing::EnrolOnly);
    let password = invited.with(Factor::Password).unwrap();
    assert_eq!(password.standing(), Standing::EnrolOnly);
    let codes = Factors { recovery_codes: 10, ..password };
    assert_eq!(codes.standing(), Standing::EnrolOnly, "recovery codes are no factor");
    let both = password.with(Factor::Totp).unwrap();
    assert_eq!((both.standing(), both.strongest()), (Standing::Full, Mfa));
    assert_eq!(both.without(Factor::Totp), Err(FactorError::Last { factor: Factor::Totp }));
    assert_eq!(both.without(Factor::Password), Err(FactorError::Last { factor: Factor::Password }));
    assert_eq!(both.without(Factor::Passkey), Err(FactorError::Absent { factor: Factor::Passkey }));
    assert_eq!(both.with(Factor::Totp), Err(FactorError::Present { factor: Factor::Totp }));
    let keyed = both.with(Factor::Passkey).unwrap();
    assert_eq!(keyed.strongest(), Passkey);
    let only_key = keyed.without(Factor::Totp).unwrap().without(Factor::Password).unwrap();
    assert_eq!(only_key.without(Factor::Passkey), Err(FactorError::Last { factor: Factor::Passkey }));
    let full = Factors { passkeys: PASSKEYS_MAX, ..only_key };
    assert_eq!(full.with(Factor::Passkey), Err(FactorError::Full));
    // One who has no second factor may still drop a password: nothing is lost.
    assert_eq!(password.without(Factor::Password), Ok(invited));
}

#[test]
fn why_factors_cannot_be_changed_is_said_with_the_factor() {
    for (error, expected) in [
        (FactorError::Full, "there are 16 passkeys already"),
        (FactorError::Present { factor: Factor::Password }, "there is a `password` already"),
        (FactorError::Absent { factor: Factor::Passkey }, "there is no `passkey`"),
        (FactorError::Last { factor: Factor::Totp }, "without this `totp` there would be no second factor"),
    ] {
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn the_window_is_ten_minutes_and_follows_no_clock_backwards() {
    let proven = Some(at(1_000));
    assert!(step_up_holds(proven, at(1_000)));
    assert!(step_up_holds(proven, at(1_000 + STEP_UP_WINDOW_MS - 1)));
    assert!(!step_up_holds(proven, at(1_000 + STEP_UP_WINDOW_MS)));
    assert!(!step_up_holds(proven, at(999)), "the clock went back");
    assert!(!step_up_holds(None, at(1_000)));
    assert_eq!(mfa_age_ms(proven, at(1_500)), Some(500));
    assert_eq!(STEP_UP_WINDOW_MS, 600_000, "ten minutes, as the policies have it");
}

#[test]
fn every_spelling_of_a_name_is_one_name() {
    let name = |typed: &str| LoginName::parse(typed, Alphabet::Ascii).unwrap();
    // U+FF21 is a full-width letter, U+212A the Kelvin sign, U+00A0 a space that does not break.
    for alias in ["ann.k", "ANN.K", " ann.k", "ann.k\t", "\u{a0}Ann.k\u{3000}", "\u{ff21}nn.k", "ann.\u{212a}"] {
        assert_eq!(name(alias).as_str(), "ann.k", "{alias:?}");
    }
    assert_eq!(name("x@example.org").as_str(), "x@example.org");
}

#[test]
fn what_is_no_name_is_refused() {
    for (typed, expected) in [
        ("", NameError::Ends),
        ("   ", NameError::Ends),
        ("-ann", NameError::Ends),
        ("ann.", NameError::Ends),
        ("a nn", NameError::Character),
        ("a\u{200b}nn", NameError::Character),
        ("an\u{202e}n", NameError::Character),
        ("ann\0x", NameError::Character),
        ("../etc/x", NameError::Ends),
        ("a/b", NameError::Character),
        ("a*b", NameError::Character),
        // Cyrillic `а`, Greek `ο`, a dotless `ı`, a capital that lower-cases to two characters.
        ("\u{430}nn", NameError::Character),
        ("b\u{3bf}b", NameError::Character),
        ("l\u{131}na", NameError::Character),
        ("\u{130}nes", NameError::Character),
    ] {
        assert_eq!(LoginName::parse(typed, Alphabet::Ascii), Err(expected), "{typed:?}");
    }
    assert_eq!(LoginName::parse(&"a".repeat(65), Alphabet::Ascii), Err(NameError::TooLong));
    assert_eq!(LoginName::parse(&"a".repeat(600), Alphabet::Ascii), Err(NameError::TooLong));
    assert!(LoginName::parse(&"a".repeat(64), Alphabet::Ascii).is_ok());
    // What was typed has a limit of its own, in bytes, whatever is left of it.
    let padded = |bytes: usize| LoginName::parse(&format!("{:>bytes$}", "ann"), Alphabet::Ascii);
    assert_eq!(padded(TYPED_BYTES_MAX).unwrap().to_string(), "ann");
    assert_eq!(padded(TYPED_BYTES_MAX + 1), Err(NameError::TooLong));
}

#[test]
fn other_scripts_one_at_a_time_and_no_look_alikes() {
    let name = |typed: &str| LoginName::parse(typed, Alphabet::OneScript);
    assert_eq!(name("\u{410}\u{43d}\u{43d}\u{430}").unwrap().as_str(), "\u{430}\u{43d}\u{43d}\u{430}");
    assert_eq!(name("\u{430}nn"), Err(NameError::Scripts), "Cyrillic and Latin");
    // Gothic letters, which no identifier has, and a middle dot, which identifiers may have and names not.
    for typed in ["\u{10330}\u{10331}", "a\u{b7}b"] {
        assert_eq!(name(typed), Err(NameError::Character), "{typed:?}");
    }
    // Wholly Cyrillic, and it looks like Latin.
    let cyrillic = name("\u{441}\u{430}\u{440}\u{430}").unwrap();
    let latin = name("capa").unwrap();
    assert_ne!(cyrillic, latin);
    assert!(cyrillic.looks_like(&latin) && latin.looks_like(&cyrillic));
    assert!(!latin.looks_like(&name("kappa").unwrap()));
    // ASCII names are given out as before: `rn` and `m` are two things.
    assert!(!name("bern").unwrap().looks_like(&name("bem").unwrap()));
}

proptest! {
    #[test]
    fn the_normal_form_is_its_own(typed in "(\\PC|[a-zA-Z0-9.@_ +-]|[а-яА-Я]|[\u{ff21}-\u{ff5a}]){1,20}") {
        for alphabet in [Alphabet::Ascii, Alphabet::OneScript] {
            if let Ok(name) = LoginName::parse(&typed, alphabet) {
                prop_assert_eq!(LoginName::parse(name.as_str(), alphabet), Ok(name.clone()));
                // Capitals are the same name, where a script has them one for one.
                let upper = LoginName::parse(&typed.to_uppercase(), alphabet);
                prop_assert!(alphabet != Alphabet::Ascii || upper == Ok(name));
            }
        }
    }
}

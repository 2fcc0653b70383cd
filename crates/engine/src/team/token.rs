//! API tokens: for programs, and for people's scripts. A token has an end, a scope, and where wanted a place.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ringfence_access::{Action, Facts, LoginStrength, PersonKind, Resource};
use ringfence_schema::Timestamp;
use ringfence_trust::{
    entropy::SystemEntropy,
    factor::token::{Token, TokenKind},
};
use serde::Serialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::{PersonId, Status, people::display_name, rows::TokenRow};
use crate::{
    act::{Act, Effect, Reach},
    error::EngineError,
    vault::Vault,
};

/// Longest life of a token, in milliseconds: 90 days.
pub const TOKEN_LIFE_MS_MAX: u64 = 90 * 24 * 60 * 60 * 1_000;
/// Most tokens of one person or program.
const TOKENS_MAX: usize = 64;
/// Most networks that one token is held to.
const NETWORKS_MAX: usize = 16;
/// Actions that no token carries: whoever does these is there in person.
const NEVER: [Action; 6] =
    [Action::Init, Action::Enrol, Action::Enter, Action::Appoint, Action::Approve, Action::BreakGlass];

/// What a token is to be.
#[derive(Debug, Clone)]
pub struct TokenTerms {
    /// What it is for, in its maker's words.
    pub label: String,
    /// For which program; `None`: for the caller.
    pub service: Option<PersonId>,
    /// How long it is good, in milliseconds; at most [`TOKEN_LIFE_MS_MAX`].
    pub life_ms: u64,
    /// What it may do; never more than its bearer's roles allow when it is used.
    pub scope: BTreeSet<Action>,
    /// Networks that it may come from, such as `192.0.2.0/24`; none: any.
    pub networks: Vec<String>,
}

/// A token, as its owner sees it.
#[derive(Debug, Clone, Serialize)]
pub struct TokenView {
    /// Names it.
    pub id: String,
    /// Who acts with it.
    pub person: PersonId,
    /// What it is for.
    pub label: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// What it may do.
    pub scope: Vec<Action>,
    /// Where it may come from.
    pub networks: Vec<String>,
}

impl Vault<'_> {
    /// Makes a token, which is shown once. A person's own needs a step-up, a program's whoever may appoint.
    pub fn make_token(&self, terms: &TokenTerms) -> Result<(TokenView, Zeroizing<String>), EngineError> {
        let me = PersonId(self.caller.person.id.clone());
        let bearer = terms.service.clone().unwrap_or_else(|| me.clone());
        let person = self.someone(&bearer)?;
        let usage = |what: &str| EngineError::Usage { what: what.to_owned() };
        if terms.service.is_some() && person.kind != PersonKind::Service {
            return Err(usage("people make their own tokens; only a program's can be made for it"));
        }
        if person.status != Status::Active {
            return Err(usage("whoever is not active cannot have tokens"));
        }
        if terms.life_ms == 0 || terms.life_ms > TOKEN_LIFE_MS_MAX {
            return Err(usage("a token is good for 90 days at most"));
        }
        if terms.scope.is_empty() || terms.scope.iter().any(|action| NEVER.contains(action)) {
            return Err(usage(
                "a token needs a scope, which cannot hold init, enrol, enter, appoint, approve or breakglass",
            ));
        }
        if terms.networks.len() > NETWORKS_MAX || !terms.networks.iter().all(|text| network(text).is_some()) {
            return Err(usage("a network is written as `192.0.2.0/24` or `2001:db8::/32`"));
        }
        if self.members()?.tokens.values().filter(|row| row.person == bearer).count() >= TOKENS_MAX {
            return Err(usage("there are 64 tokens already; revoke one first"));
        }
        let now = (self.settings.now)();
        let token = Token::random(TokenKind::Api, &mut SystemEntropy::new());
        let row = TokenRow {
            token: token.stored(),
            person: bearer.clone(),
            label: display_name(&terms.label)?,
            since: now,
            until: now.plus_millis(terms.life_ms),
            scope: terms.scope.clone(),
            networks: terms.networks.clone(),
            login: if terms.service.is_some() { LoginStrength::Any } else { self.caller.login },
            by: me,
        };
        let action = if terms.service.is_some() { Action::Appoint } else { Action::Enrol };
        let act = Act {
            action,
            resources: vec![Resource::Vault],
            facts: Facts { about: Some(bearer.0.clone()), ..Facts::default() },
            request: json!({"what": "token", "person": bearer, "scope": row.scope, "until": row.until, "networks": row.networks}),
            subject: person.name.clone(),
            reach: Reach::Inside,
        };
        self.act(act, || {
            let mut effect = Effect::of(());
            effect.rows.push(self.token_row(&row)?);
            effect.openings.insert("result".to_owned(), json!({"token": row.token.id.to_string()}));
            Ok(effect)
        })?;
        Ok((row.view(), token.shown()))
    }

    /// Tokens of the caller, or of programs where the caller made them; newest first.
    pub fn own_tokens(&self) -> Result<Vec<TokenView>, EngineError> {
        let me = PersonId(self.caller.person.id.clone());
        let members = self.members()?;
        let own = members.tokens.values().filter(|row| row.person == me || row.by == me);
        let mut views: Vec<TokenView> = own.map(TokenRow::view).collect();
        views.sort_by_key(|view| std::cmp::Reverse(view.since));
        Ok(views)
    }
}

impl TokenRow {
    fn view(&self) -> TokenView {
        TokenView {
            id: self.token.id.to_string(),
            person: self.person.clone(),
            label: self.label.clone(),
            since: self.since,
            until: self.until,
            scope: self.scope.iter().copied().collect(),
            networks: self.networks.clone(),
        }
    }
}

/// Whether `address` lies in one of `networks`. Where there are some, an unknown address lies in none.
pub(crate) fn comes_from(networks: &[String], address: Option<IpAddr>) -> bool {
    if networks.is_empty() {
        return true;
    }
    let Some(address) = address.map(|address| address.to_canonical()) else { return false };
    networks.iter().filter_map(|text| network(text)).any(|(base, bits)| match (base, address) {
        (IpAddr::V4(base), IpAddr::V4(address)) => masked4(base, bits) == masked4(address, bits),
        (IpAddr::V6(base), IpAddr::V6(address)) => masked6(base, bits) == masked6(address, bits),
        _ => false,
    })
}

fn network(text: &str) -> Option<(IpAddr, u32)> {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr = address.parse().ok()?;
    let all = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Some(all), |bits| bits.parse().ok())?;
    (bits <= all).then_some((address, bits))
}

fn masked4(address: Ipv4Addr, bits: u32) -> u32 {
    address.to_bits() & u32::MAX.checked_shl(32 - bits).unwrap_or(0)
}

fn masked6(address: Ipv6Addr, bits: u32) -> u128 {
    address.to_bits() & u128::MAX.checked_shl(128 - bits).unwrap_or(0)
}

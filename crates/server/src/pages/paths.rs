//! Where every page and form is: the one list that routes and pages share.
//!
//! Constants are the router's patterns. Functions fill in what varies, percent-encoded, so that no name can leave its place
//! in a path.

/// The sign-in page, and the form for password and code.
pub const SIGN_IN: &str = "/sign-in";
/// Begins a login by passkey: answers `{ceremony, options}`.
pub const SIGN_IN_PASSKEY_BEGIN: &str = "/sign-in/passkey/begin";
/// Ends it: takes `{ceremony, credential}`, answers `{next}`.
pub const SIGN_IN_PASSKEY_FINISH: &str = "/sign-in/passkey/finish";
/// Ends the session.
pub const SIGN_OUT: &str = "/sign-out";
/// An invitation; the token comes as a form field, never in the address.
pub const INVITATION: &str = "/invitation";
/// Opens an invitation by its token.
pub const INVITATION_OPEN: &str = "/invitation/open";
/// Begins enrolling a first passkey.
pub const INVITATION_PASSKEY_BEGIN: &str = "/invitation/passkey/begin";
/// Ends it; answers `{recovery_codes, next}`.
pub const INVITATION_PASSKEY_FINISH: &str = "/invitation/passkey/finish";
/// Enrols a first password with an app's code.
pub const INVITATION_PASSWORD: &str = "/invitation/password";
/// The step up before dangerous acts, and its form for a code.
pub const STEP_UP: &str = "/step-up";
/// Begins a step up by passkey.
pub const STEP_UP_PASSKEY_BEGIN: &str = "/step-up/passkey/begin";
/// Ends it.
pub const STEP_UP_PASSKEY_FINISH: &str = "/step-up/passkey/finish";
/// Where somebody types the code that a command line shows.
pub const DEVICE: &str = "/device";
/// Confirms it.
pub const DEVICE_CONFIRM: &str = "/device/confirm";
/// One's own factors, sessions and tokens.
pub const ACCOUNT: &str = "/account";
/// Begins enrolling another passkey.
pub const ACCOUNT_PASSKEY_BEGIN: &str = "/account/passkey/begin";
/// Ends it.
pub const ACCOUNT_PASSKEY_FINISH: &str = "/account/passkey/finish";
/// Takes a factor away.
pub const ACCOUNT_FACTOR_REMOVE: &str = "/account/factors/remove";
/// Makes new recovery codes; the old ones are void.
pub const ACCOUNT_RECOVERY: &str = "/account/recovery-codes";
/// Ends a session.
pub const ACCOUNT_SESSION_END: &str = "/account/sessions/end";
/// Makes a token.
pub const ACCOUNT_TOKEN: &str = "/account/tokens";
/// Revokes a token.
pub const ACCOUNT_TOKEN_REVOKE: &str = "/account/tokens/revoke";
/// What needs somebody now.
pub const OVERVIEW: &str = "/";
/// The list of artifacts.
pub const ARTIFACTS: &str = "/artifacts";
/// One version of an artifact.
pub const ARTIFACT: &str = "/artifacts/{kind}/{name}/{version}";
/// Releases a candidate.
pub const ARTIFACT_RELEASE: &str = "/artifacts/release";
/// What is held, and requests that need a second person.
pub const REVIEW: &str = "/review";
/// Lets a held version in.
pub const REVIEW_APPROVE: &str = "/review/approve";
/// Goes on with an admission that was cut off.
pub const REVIEW_RESUME: &str = "/review/resume";
/// Refuses a held version for good.
pub const REVIEW_REFUSE: &str = "/review/refuse";
/// Begins an approval by passkey over a request's digest.
pub const REQUEST_APPROVE_BEGIN: &str = "/requests/approve/begin";
/// Ends it.
pub const REQUEST_APPROVE_FINISH: &str = "/requests/approve/finish";
/// Refuses a request, with a reason.
pub const REQUEST_REFUSE: &str = "/requests/refuse";
/// Asks others for something about an artifact.
pub const REQUEST_MAKE: &str = "/requests/make";
/// Takes one's own request back.
pub const REQUEST_WITHDRAW: &str = "/requests/withdraw";
/// Does what others approved.
pub const REQUEST_CARRY_OUT: &str = "/requests/carry-out";
/// Who does without the approval of others, and why.
pub const GLASS: &str = "/break-glass";
/// Does without it.
pub const GLASS_BREAK: &str = "/break-glass/break";
/// Ends that before its time.
pub const GLASS_END: &str = "/break-glass/end";
/// Says what was found afterwards.
pub const GLASS_REVIEW: &str = "/break-glass/review";
/// Runs that wait for a machine.
pub const QUEUE: &str = "/queue";
/// Takes one out.
pub const QUEUE_REMOVE: &str = "/queue/remove";
/// The list of runs.
pub const RUNS: &str = "/runs";
/// One run.
pub const RUN: &str = "/runs/{run}";
/// What happens in a run, as server-sent events.
pub const RUN_EVENTS: &str = "/runs/{run}/events";
/// Stops a run.
pub const RUN_STOP: &str = "/runs/{run}/stop";
/// Says that an alert was seen, with a reason.
pub const ALERT_ACKNOWLEDGE: &str = "/alerts/acknowledge";
/// Attacks and their figures.
pub const TESTS: &str = "/tests";
/// The trail, and its search.
pub const TRAIL: &str = "/trail";
/// One entry.
pub const TRAIL_ENTRY: &str = "/trail/{index}";
/// Who may what, factors, ages, posture.
pub const SECURITY: &str = "/security";
/// Has something done by itself.
pub const SCHEDULE_ADD: &str = "/schedules/add";
/// Has it done no more.
pub const SCHEDULE_REMOVE: &str = "/schedules/remove";
/// People and programs.
pub const PEOPLE: &str = "/people";
/// Invites somebody.
pub const PEOPLE_INVITE: &str = "/people/invite";
/// Gives and takes roles.
pub const PEOPLE_ROLES: &str = "/people/roles";
/// Disables somebody.
pub const PEOPLE_DISABLE: &str = "/people/disable";
/// Enables somebody again.
pub const PEOPLE_ENABLE: &str = "/people/enable";
/// Resets somebody's factors.
pub const PEOPLE_RESET: &str = "/people/reset";
/// Makes a program's token.
pub const PEOPLE_TOKEN: &str = "/people/token";
/// The policy in force.
pub const POLICY: &str = "/policy";
/// Shows what a proposed policy would change.
pub const POLICY_COMPARE: &str = "/policy/compare";
/// Asks for a proposed policy to take the place of the one in force.
pub const POLICY_PROPOSE: &str = "/policy/propose";
/// The style sheet.
pub const STYLE: &str = "/assets/app.css";
/// The script.
pub const SCRIPT: &str = "/assets/app.js";

/// The page of one version.
pub fn artifact(kind: &str, name: &str, version: u64) -> String {
    format!("/artifacts/{}/{}/{version}", encoded(kind), encoded(name))
}

/// The page of `kind/name@version`, or the list where the text is something else.
pub fn reference(text: &str) -> String {
    let parts = text.split_once('/').and_then(|(kind, rest)| {
        let (name, version) = rest.split_once('@')?;
        Some(artifact(kind, name, version.parse().ok()?))
    });
    parts.unwrap_or_else(|| ARTIFACTS.to_owned())
}

/// The page of a run.
pub fn run(id: &str) -> String {
    format!("/runs/{}", encoded(id))
}

/// The events of a run, those after `after_ms` milliseconds of it.
pub fn run_events(id: &str, after_ms: u64) -> String {
    format!("/runs/{}/events?after={after_ms}", encoded(id))
}

/// Stops a run.
pub fn run_stop(id: &str) -> String {
    format!("/runs/{}/stop", encoded(id))
}

/// The page of an entry of the trail.
pub fn trail_entry(index: u64) -> String {
    format!("/trail/{index}")
}

/// `path?name=value&…` of the values that are not empty.
pub fn query(path: &str, fields: &[(&str, &str)]) -> String {
    let given = fields.iter().filter(|(_, value)| !value.is_empty());
    let pairs: Vec<String> = given.map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) }
}

/// Percent-encodes everything but RFC 3986's unreserved characters; `.` and `..` are no segments afterwards.
fn encoded(text: &str) -> String {
    let dots = text.bytes().all(|byte| byte == b'.');
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~') || (byte == b'.' && !dots);
        if plain { out.push(char::from(byte)) } else { out.push_str(&format!("%{byte:02X}")) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{query, reference, run};

    #[test]
    fn names_stay_in_their_place() {
        assert_eq!(run("../../x?y#z"), "/runs/..%2F..%2Fx%3Fy%23z");
        assert_eq!(run(".."), "/runs/%2E%2E");
        assert_eq!(run("//evil.example"), "/runs/%2F%2Fevil.example");
        assert_eq!(reference("model/a b@3"), "/artifacts/model/a%20b/3");
        assert_eq!(reference("javascript:alert(1)"), "/artifacts");
        assert_eq!(query("/trail", &[("who", "a&b=c"), ("what", "")]), "/trail?who=a%26b%3Dc");
    }
}

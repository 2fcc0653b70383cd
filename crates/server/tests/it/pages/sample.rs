//! Every page with sample data. `text` says what stands wherever a stranger could have written something: the sample itself,
//! or something hostile in its place.

use maud::Markup;
use ringfence_engine::{
    NamespaceState,
    access::{
        Action, LoginStrength, PersonKind, PolicyDiff, Role,
        diff::{Change, PolicyChange, RightChange, SettingChange},
    },
    doctor::{Health, Part},
    history::RunLine,
    schedule::{Came, Job, LastTime, ScheduleView},
    schema::{
        Digest, Finding, Place, Severity, Timestamp, Verdict,
        alert::{Alert, Basis, Subject, SubjectKind, TelemetryLine},
        event::{Claimed, GpuUsage, Observed, Progress, RunEvent, Source, Usage},
        report::{
            AttackReport, AttackResult, AttackSchema, Candidate, Check, DatasetProfile, Decision, Membership, Reason,
            RecordDecision, ScreenReport, ScreenSchema, Soundness, TprAtFpr,
        },
    },
    team::{FactorView, PersonId, PersonView, SessionView, Status, TokenView},
    watch::record::Record,
};
use ringfence_server::{
    pages::{
        account, artifact, artifacts, attacks,
        chart::{bars::Bar, calendar::Day, dag},
        enrol, entry,
        frame::{FormToken, Frame, Viewer},
        glass, overview, people, policy, problem, queue,
        review::{self, OwnRequest},
        run, security, trail,
    },
    problem::Kind,
};

type Text<'a> = &'a dyn Fn(&str) -> String;

const NOW: u64 = 1_795_255_200_000;
const HOUR: u64 = 3_600_000;

fn ago(hours: u64) -> Timestamp {
    Timestamp::from_millis(NOW - hours * HOUR)
}

fn frame(text: Text<'_>) -> Frame {
    let viewer = Viewer {
        display: text("Ana Lund"),
        roles: vec![Role::Owner],
        token: FormToken::new("form-token-of-this-session"),
        waiting: 3,
    };
    Frame { viewer: Some(viewer), vault: "v-7f3a".into(), now: Timestamp::from_millis(NOW), told: Some(text("Done.")) }
}

fn outside() -> Frame {
    Frame { viewer: None, vault: String::new(), now: Timestamp::from_millis(NOW), told: None }
}

/// Every page by name, with `rows` rows in its lists.
pub(crate) fn pages(text: Text<'_>, rows: usize) -> Vec<(&'static str, Markup)> {
    vec![
        ("sign-in", entry::sign_in(&sign_in(text))),
        ("step-up", entry::step_up(&step_up(text))),
        (
            "device",
            entry::device(&entry::DeviceView { frame: frame(text), code: String::new(), ask: None, unknown: true }),
        ),
        ("device-confirm", entry::device(&device(text))),
        ("invitation", enrol::invitation(&enrol::InvitationView { frame: outside(), unknown: true, opened: None })),
        ("invitation-open", enrol::invitation(&invitation(text))),
        ("recovery", enrol::recovery(&recovery(text))),
        ("account", account::account(&own(text, rows))),
        ("overview", overview::overview(&over(text, rows))),
        ("artifacts", artifacts::artifacts(&list(text, rows))),
        ("artifact", artifact::artifact(&one(text, rows))),
        ("artifact-destroyed", artifact::artifact(&destroyed(text))),
        ("review", review::review(&queue(text, rows))),
        ("queue", queue::queue(&waiting(text, rows))),
        ("glass", glass::glass(&glasses(text, rows))),
        ("runs", run::runs(&run::RunsView { frame: frame(text), runs: runs(text, rows) })),
        ("run", run::run(&run_view(text, "running"))),
        ("run-ended", run::run(&run_view(text, "failed"))),
        ("tests", attacks::attacks(&cards(text))),
        ("trail", trail::trail(&search(text, rows))),
        ("entry", trail::entry(&entry_view(text))),
        ("security", security::security(&safe(text, rows))),
        ("people", people::people(&everybody(text, rows))),
        ("policy", policy::policy(&policies(text, rows))),
        ("problem", problem::problem(&denied(text))),
        ("not-found", problem::problem(&not_found())),
    ]
}

fn sign_in(text: Text<'_>) -> entry::SignInView {
    entry::SignInView { frame: outside(), next: text("/runs"), failed: true, wait_s: None, passwords: true }
}

fn step_up(text: Text<'_>) -> entry::StepUpView {
    let act = text("release model/chat@3");
    entry::StepUpView { frame: frame(text), next: text("/review"), act, passkey: true, code: true, failed: true }
}

fn device(text: Text<'_>) -> entry::DeviceView {
    let ask = entry::DeviceAskView {
        step_up: false,
        client: text("ringfence 0.1 on linux"),
        address: Some([192, 0, 2, 7].into()),
        since: ago(0),
    };
    entry::DeviceView { frame: frame(text), code: text("BQRT-WXKD"), ask: Some(ask), unknown: false }
}

fn invitation(text: Text<'_>) -> enrol::InvitationView {
    let opened = enrol::OpenedInvitation {
        token: text("rf_inv_token"),
        display: text("Bo Berg"),
        login_name: text("bo"),
        chooses_name: true,
        roles: vec![text("researcher")],
        until: Timestamp::from_millis(NOW + 20 * HOUR),
        app: Some(enrol::AppOffer {
            ceremony: text("c-1"),
            uri: text("otpauth://totp/Ringfence:bo?secret=JBSWY3DPEHPK3PXP&issuer=Ringfence"),
        }),
        problem: Some(text("the code does not fit")),
    };
    enrol::InvitationView { frame: outside(), unknown: false, opened: Some(opened) }
}

fn recovery(text: Text<'_>) -> enrol::RecoveryView {
    let codes = (0..8).map(|number| text(&format!("7kq2-mfx{number}-0b3n"))).collect();
    enrol::RecoveryView { frame: frame(text), codes, next: text("/account") }
}

fn person(text: Text<'_>, number: usize) -> PersonView {
    let kinds = ["passkey", "totp", "password"];
    PersonView {
        id: format!("p-{number:04}").as_str().into(),
        name: text(&format!("person{number}")),
        display: text(&format!("Person {number}")),
        kind: if number == 2 { PersonKind::Service } else { PersonKind::Human },
        status: [Status::Active, Status::Invited, Status::Active, Status::Disabled][number % 4],
        roles: vec![Role::ALL[number % 7], Role::Researcher],
        factors: vec![FactorView {
            id: text("f-1"),
            kind: kinds[number % 3],
            label: text("blue key"),
            since: ago(400),
        }],
        recovery_codes: 8,
        invited_by: (number > 0).then(|| "p-0000".into()),
        since: ago(900),
    }
}

fn session(text: Text<'_>, number: usize) -> SessionView {
    SessionView {
        id: text("s-1"),
        person: "p-0000".into(),
        login: LoginStrength::Passkey,
        since: ago(3),
        until: Timestamp::from_millis(NOW + 9 * HOUR),
        address: Some([192, 0, 2, 8].into()),
        client: text("Firefox on Linux"),
        current: number == 0,
    }
}

fn own(text: Text<'_>, rows: usize) -> account::AccountView {
    let token = |_| TokenView {
        id: text("t-1"),
        person: "p-0000".into(),
        label: text("nightly scan"),
        since: ago(30),
        until: Timestamp::from_millis(NOW + 700 * HOUR),
        scope: vec![Action::Read, Action::Inspect],
        networks: vec![text("10.0.0.0/8")],
    };
    account::AccountView {
        frame: frame(text),
        person: person(text, 0),
        sessions: (0..3).map(|number| session(text, number)).collect(),
        tokens: (0..rows.min(20)).map(token).collect(),
        made: Some(text("rf_api_made")),
    }
}

fn line(text: Text<'_>, number: usize) -> artifacts::ArtifactLine {
    artifacts::ArtifactLine {
        kind: text(["dataset", "model", "checkpoint", "code"][number % 4]),
        name: text(["support-chat", "tiny-base", "chat-lora", "trainer"][number % 4]),
        version: number as u64 + 1,
        state: NamespaceState::ALL[number % 4],
        files: 6,
        bytes: 2_254_857_830,
        written: ago(number as u64 * 5),
        labels: if number % 4 == 3 { vec![text("released")] } else { Vec::new() },
        evidence: vec![text("scan"), text("screen")],
        refused: (number == 4).then(|| text("wrong licence")),
        revoked: (number == 5).then(|| text("the source withdrew it")),
        destroyed: (number == 3).then(|| gone(text)),
        waived: u64::from(number == 1),
    }
}

fn gone(text: Text<'_>) -> artifacts::GoneLine {
    artifacts::GoneLine { by: text("Bo Berg"), at: ago(7), reason: text("consent was withdrawn"), entry: 4_190 }
}

fn lines(text: Text<'_>, rows: usize) -> Vec<artifacts::ArtifactLine> {
    (0..rows).map(|number| line(text, number)).collect()
}

fn finding(text: Text<'_>, severity: Severity) -> Finding {
    Finding {
        rule: text("RF-PKL-003"),
        severity,
        message: text("pickle calls `posix.system`"),
        place: Place {
            file: Some(text("pytorch_model.bin")),
            member: Some(text("archive/data.pkl")),
            offset: Some(28),
            length: Some(40),
            record: None,
        },
        evidence: vec![text("STACK_GLOBAL posix system"), text("REDUCE ('curl … | sh',)")],
        why: text("loading this file would run the command"),
        remedy: text("ask the author for .safetensors"),
        waived: None,
    }
}

fn screen(text: Text<'_>) -> ScreenReport {
    let reason = Reason { rule: text("RF-LBL-001"), score: 4.2, evidence: text("labelled 7, looks like 1") };
    ScreenReport {
        schema: ScreenSchema::One,
        records: 60_000,
        decisions: vec![Decision { record: 17, decision: RecordDecision::Filter, reasons: vec![reason] }],
        candidates: vec![Candidate {
            rule: text("RF-BKD-002"),
            score: 9.0,
            description: text("a white square at the lower right"),
            records: vec![1, 2, 3],
        }],
        dataset: DatasetProfile {
            format: "idx".into(),
            classes: (0..10).map(|class| (text(&format!("digit {class}")), 6_000 - class * 31)).collect(),
            exact_duplicates: 4,
            findings: vec![finding(text, Severity::Medium)],
            complete: true,
            ..DatasetProfile::default()
        },
    }
}

fn over(text: Text<'_>, rows: usize) -> overview::OverviewView {
    let alert = |_| overview::AlertLine {
        id: Digest::of(b"alert"),
        severity: Severity::High,
        rule: text("RF-WCH-001"),
        subject: text("run r-27"),
        message: text("the run computes without learning"),
        at: ago(1),
        entry: 4_182,
        target: Some("/runs/r-27".into()),
    };
    let bar = |day: u64| Bar { label: format!("2026-11-{:02}", day + 1), counts: vec![day % 7, day % 3, day % 2] };
    overview::OverviewView {
        frame: frame(text),
        held: lines(text, rows.min(50)),
        requests: 1,
        alerts: (0..rows.min(50)).map(alert).collect(),
        may_acknowledge: true,
        runs: runs(text, 3),
        head: overview::Head { entries: 4_211, root: Some(Digest::of(b"root")), newest: Some(ago(0)) },
        backup: Some(ago(50)),
        backup_limit_ms: 24 * HOUR,
        days: (0..30).map(bar).collect(),
        unwell: parts(text).into_iter().skip(1).collect(),
    }
}

fn parts(text: Text<'_>) -> Vec<Part> {
    vec![
        Part { name: "vault".into(), health: Health::Ok, detail: text("/srv/vault"), fix: String::new() },
        Part {
            name: "sandbox".into(),
            health: Health::Warn,
            detail: text("user namespaces are off"),
            fix: text("sysctl user.max_user_namespaces=10000"),
        },
        Part {
            name: "trail".into(),
            health: Health::Fail,
            detail: text("the trail was changed"),
            fix: text("keep it as it is"),
        },
    ]
}

fn list(text: Text<'_>, rows: usize) -> artifacts::ArtifactsView {
    let facet = |value: &str| artifacts::Facet { value: text(value), count: 12 };
    artifacts::ArtifactsView {
        frame: frame(text),
        query: artifacts::ArtifactQuery { text: text("chat"), kind: text("model"), state: text("held") },
        lines: lines(text, rows),
        found: rows + 20,
        kinds: vec![facet("dataset"), facet("model")],
        states: vec![facet("admitted"), facet("held")],
    }
}

fn one(text: Text<'_>, rows: usize) -> artifact::ArtifactView {
    let file = |number: usize| artifact::FileLine {
        path: text(&format!("data/part-{number}.bin")),
        format: text("pytorch-zip"),
        size: 1_000 * number as u64,
        verdict: [Verdict::Clean, Verdict::Malicious, Verdict::Incomplete, Verdict::Suspicious][number % 4],
        findings: if number == 1 {
            vec![finding(text, Severity::Critical), finding(text, Severity::Low)]
        } else {
            Vec::new()
        },
    };
    let node = |key: &str, here| dag::Node {
        key: text(key),
        label: text(key),
        note: text("admitted"),
        target: Some(text("/artifacts/model/chat/3")),
        here,
    };
    let edge = |from: &str, to: &str| dag::Edge { from: text(from), to: text(to), role: text("train") };
    let evidence = |verdict: &str| artifact::EvidenceLine {
        kind: text("scan"),
        verdict: text(verdict),
        entry: 17,
        envelope: Digest::of(b"envelope"),
        summary: text("critical=0 high=0 files=6"),
    };
    artifact::ArtifactView {
        frame: frame(text),
        line: artifacts::ArtifactLine { state: NamespaceState::Candidate, destroyed: None, ..line(text, 3) },
        tree: Digest::of(b"tree"),
        source: Digest::of(b"source"),
        origin: Some(text("hf://lab/chat@0a1b2c")),
        run: Some(text("r-27")),
        left_out: vec![text("screening")],
        files: (0..rows).map(file).collect(),
        screen: Some(screen(text)),
        evidence: vec![evidence("pass"), evidence("block"), evidence("recorded")],
        versions: lines(text, rows.min(20)),
        may_release: true,
        lineage: (
            vec![
                node("dataset/chat@3", false),
                node("model/base@1", false),
                node("model/chat@3", true),
                node("model/chat-small@1", false),
            ],
            vec![
                edge("dataset/chat@3", "model/chat@3"),
                edge("model/base@1", "model/chat@3"),
                edge("model/chat@3", "model/chat-small@1"),
            ],
        ),
        may_ask: true,
    }
}

fn destroyed(text: Text<'_>) -> artifact::ArtifactView {
    artifact::ArtifactView { line: line(text, 3), screen: None, evidence: Vec::new(), ..one(text, 2) }
}

fn queue(text: Text<'_>, rows: usize) -> review::ReviewView {
    const UNSEEN: usize = 2;
    let request = |barred: Option<String>, own| review::PendingRequest {
        id: text("q-12"),
        title: text("export model/chat@3 to a folder"),
        says: vec![text("action    export"), text("artifact  model/chat@3"), text("to        /mnt/usb")],
        digest: Digest::of(b"request"),
        by: text("Bo Berg"),
        since: ago(2),
        until: Timestamp::from_millis(NOW + 20 * HOUR),
        approvals: vec![text("Cy Dahl")],
        needed: 2,
        reason: barred.as_ref().map(|_| text("the customer left")),
        own,
        barred,
    };
    let held = |number| review::HeldItem {
        line: line(text, number * 4),
        tree: Digest::of(b"tree"),
        looked_into: number != UNSEEN,
        findings: if number == UNSEEN { Vec::new() } else { vec![finding(text, Severity::Critical)] },
        screen: (number == 0).then(|| screen(text)),
    };
    review::ReviewView {
        frame: frame(text),
        held: (0..rows.min(30)).chain((rows > 0).then_some(UNSEEN)).map(held).collect(),
        candidates: lines(text, 3),
        requests: [None, Some(OwnRequest::Waits), Some(OwnRequest::Ready), Some(OwnRequest::ByCommand)]
            .map(|own| request(own.map(|_| text("you asked for it yourself")), own))
            .to_vec(),
    }
}

fn waiting(text: Text<'_>, rows: usize) -> queue::QueuePage {
    let line = |number: usize| queue::QueueLine {
        id: text("q-1f0c2a9d5e7b4386"),
        makes: text("chat-lora"),
        plan: Digest::of(b"plan"),
        inputs: vec![(text("data.train"), text("dataset/chat@3")), (text("model.base"), text("model/base@1"))],
        by: text("Bo Berg"),
        since: ago(number as u64 + 1),
        attempts: u32::try_from(number % 3).unwrap(),
        standing: match number % 4 {
            0 => queue::Standing::Waiting,
            1 => queue::Standing::Taken { run: text("r-27"), taker: text("cluster"), at: ago(1) },
            2 => queue::Standing::Over { good: true, says: text("released model/chat@3"), at: ago(2) },
            _ => queue::Standing::Over { good: false, says: text("the machine was silent"), at: ago(3) },
        },
    };
    queue::QueuePage { frame: frame(text), lines: (0..rows.max(4)).map(line).collect(), may_stop: true }
}

fn glasses(text: Text<'_>, rows: usize) -> glass::GlassPage {
    let line = |number: usize| glass::GlassLine {
        id: text("g-1f0c2a9d5e7b4386"),
        by: text("Bo Berg"),
        reason: text("the site is on fire"),
        since: ago(number as u64 + 1),
        until: ago(number as u64),
        open: number == 0,
        review: (number > 1).then(|| (text("Cy Dahl"), ago(1), text("looked at all three exports"))),
        own: false,
    };
    glass::GlassPage { frame: frame(text), lines: (0..rows.max(3)).map(line).collect(), may_break: true }
}

fn runs(text: Text<'_>, rows: usize) -> Vec<RunLine> {
    let line = |number: usize| RunLine {
        run: text(&format!("r-{number}")),
        state: ["running", "done", "failed"][number % 3],
        subject: text("model/chat@3"),
        ended: (!number.is_multiple_of(3)).then(|| ago(number as u64)),
        error: (number % 3 == 2).then(|| text("the command ended with exit code 1")),
    };
    (0..rows).map(line).collect()
}

fn run_view(text: Text<'_>, state: &'static str) -> run::RunView {
    let mut record = Record::new();
    let mut event = |at_ms, source| record.take(&TelemetryLine::Event(RunEvent { at_ms, source }));
    for second in 0..600_u64 {
        let wave = (second % 20) as f64;
        let usage = Usage {
            cpu_ms: second * 3_000 + second % 7 * 100,
            memory_bytes: (1 << 30) + second * (1 << 20),
            sent_bytes: second * 2_000,
            refused_calls: second / 100,
            gpus: vec![GpuUsage {
                index: 0,
                busy_percent: 90 - u32::try_from(second % 30).unwrap(),
                memory_bytes: 1 << 34,
            }],
            ..Usage::default()
        };
        event(second * 1_000, Source::Observed(Observed::Sample(usage)));
        let progress = Progress {
            step: Some(second),
            loss: Some(if second == 300 { f64::NAN } else { 3.0 / (1.0 + second as f64 / 60.0) + wave / 100.0 }),
            gradient_norm: Some(1.0 + wave / 10.0),
            learning_rate: Some(1e-4),
            ..Progress::default()
        };
        event(second * 1_000, Source::Claimed(Claimed::Progress(progress)));
    }
    event(200_000, Source::Observed(Observed::Refused { detail: text("socket(AF_INET) by pid 7") }));
    event(420_000, Source::Observed(Observed::Limit { detail: text("output is at 90 % of its limit") }));
    let progress = Progress { checkpoint: Some(text("/out/step-400.safetensors")), ..Progress::default() };
    event(400_000, Source::Claimed(Claimed::Progress(progress)));
    let subject = Subject { kind: SubjectKind::Run, name: text("r-27") };
    let alert = Alert {
        id: Digest::of(b"alert"),
        rule: text("RF-WCH-001"),
        kind: text("miner"),
        severity: Severity::High,
        subject,
        signal: text("cpu"),
        basis: Basis::Both,
        expected: text("learning"),
        seen: text("none"),
        since: ago(1),
        at: ago(0),
        confidence: 0.99,
        message: text("the run computes without learning"),
        why: String::new(),
        remedy: String::new(),
    };
    record.take(&TelemetryLine::Alert { alert: Box::new(alert) });
    let line = RunLine {
        run: text("r-27"),
        state,
        subject: text("model/chat@3"),
        ended: (state != "running").then(|| ago(1)),
        error: (state == "failed").then(|| text("ended with exit code 1")),
    };
    run::RunView { frame: frame(text), line, record, may_stop: true }
}

fn cards(text: Text<'_>) -> attacks::AttacksView {
    let result = |attack: &str, eps: f64, accuracy: f64| AttackResult {
        attack: text(attack),
        norm: text("linf"),
        eps,
        accuracy,
        ci95: [accuracy - 0.03, (accuracy + 0.03).min(1.0)],
        queries: 4_000,
    };
    let card = |number: usize, lift: f64| attacks::Card {
        line: line(text, number * 4 + 3),
        report: AttackReport {
            schema: AttackSchema::One,
            verdict: if number == 0 { Soundness::Sound } else { Soundness::Unsound },
            model: Digest::of(b"model"),
            clean_accuracy: Some(0.97),
            forward: None,
            examples: 1_000,
            seed: 7,
            setup: None,
            results: vec![
                result("fgsm", 0.1, 0.6 + lift),
                result("pgd-40x3", 0.1, 0.5 + lift),
                result("pgd-40x3", 0.2, 0.2 + lift),
                result("square", 0.2, f64::NAN),
            ],
            worst_case: Vec::new(),
            corruptions: Vec::new(),
            checks: vec![Check { name: text("gradient-check"), passed: number == 0, detail: text("max error 3e-7") }],
            membership: vec![Membership {
                attack: text("loss-threshold"),
                auc: 0.61,
                tpr_at_fpr: [(0.001, None), (0.01, Some(0.02)), (0.1, Some(0.18)), (1.0, Some(1.0))]
                    .map(|(fpr, tpr)| TprAtFpr { fpr, tpr })
                    .to_vec(),
                members: 500,
                non_members: 500,
                note: text("a bound from below"),
            }],
            pictures: Vec::new(),
            ledger: None,
        },
    };
    attacks::AttacksView { frame: frame(text), cards: vec![card(0, 0.3), card(1, 0.0)] }
}

fn entry_line(text: Text<'_>, index: u64) -> trail::EntryLine {
    trail::EntryLine {
        index,
        time: ago(index % 50),
        action: text("admit"),
        actor: text("p-0000"),
        word: text(["intended", "done", "denied", "failed"][usize::try_from(index % 4).unwrap()]),
        subject: text("dataset/support-chat@3"),
    }
}

fn search(text: Text<'_>, rows: usize) -> trail::TrailView {
    let day = |number: u64| Day {
        day: format!("2026-{:02}-{:02}", 6 + number / 30, number % 30 + 1),
        weekday: u8::try_from(number % 7).unwrap(),
        count: number * 13 % 40,
        denied: u64::from(number % 11 == 3),
    };
    trail::TrailView {
        frame: frame(text),
        query: trail::TrailQuery {
            who: text("p-0000"),
            what: text("admit"),
            artifact: text("dataset/support-chat"),
            decision: text("allowed"),
            since: text("2d"),
            until: text("2026-11-21"),
        },
        problem: Some(text("there is no action `admitt`")),
        entries: (0..rows as u64).map(|index| entry_line(text, index)).collect(),
        days: (0..150).map(day).collect(),
        size: 4_211,
    }
}

fn entry_view(text: Text<'_>) -> trail::EntryView {
    let value = text("{\n  \"what\": \"admit\"\n}");
    trail::EntryView {
        frame: frame(text),
        line: entry_line(text, 4_181),
        of: Some(4_180),
        leaf: Digest::of(b"leaf"),
        state: Digest::of(b"state"),
        changes: vec![text("1 of ref")],
        commitments: vec![
            trail::Commitment {
                name: text("request"),
                digest: Digest::of(b"request"),
                opening: Some((text("00ff"), value)),
            },
            trail::Commitment { name: text("person"), digest: Digest::of(b"person"), opening: None },
        ],
        proof: Some(trail::Proof {
            size: 4_211,
            root: Digest::of(b"root"),
            path: (0..12_u8).map(|level| Digest::of(&[level])).collect(),
            checkpoint: text("ringfence/v-7f3a\n4211\nr6nV=\n\n— ringfence/v-7f3a kQ8y=\n"),
        }),
    }
}

fn safe(text: Text<'_>, rows: usize) -> security::SecurityView {
    let aging = |what: &str, since: Option<Timestamp>| security::Aging {
        what: text(what),
        since,
        limit_ms: 90 * 24 * HOUR,
        remedy: text("ringfence key rotate"),
    };
    security::SecurityView {
        frame: frame(text),
        people: (0..rows).map(|number| person(text, number)).collect(),
        sessions: (0..rows.min(20)).map(|number| session(text, number)).collect(),
        ages: vec![
            aging("signing key", Some(ago(41 * 24))),
            aging("restore test", Some(ago(95 * 24))),
            aging("backup", None),
        ],
        schedules: Job::ALL.into_iter().take(rows).map(|job| schedule(text, job)).collect(),
        may_schedule: true,
        parts: parts(text),
    }
}

fn schedule(text: Text<'_>, job: Job) -> ScheduleView {
    let came = [Came::Clean, Came::Found, Came::Failed][job as usize % 3];
    let last = LastTime { began: ago(3), ended: ago(2), came, said: text("the whole trail verified"), missed: 2 };
    ScheduleView {
        id: "s-0f3a2b1c4d5e".into(),
        job,
        every_ms: 24 * HOUR,
        due: Timestamp::from_millis(NOW + 5 * HOUR),
        by: PersonId::from("p-0000"),
        since: ago(99),
        last: (job != Job::Outdated).then_some(last),
        done: Some(ago(2)),
    }
}

fn everybody(text: Text<'_>, rows: usize) -> people::PeopleView {
    let made = people::MadeInvitation {
        display: text("Bo Berg"),
        link: text("https://ringfence.example/invitation#rf_inv_token"),
        until: Timestamp::from_millis(NOW + 24 * HOUR),
    };
    let people = (0..rows.min(20)).map(|number| person(text, number)).collect();
    people::PeopleView { frame: frame(text), people, may_appoint: true, me: "p-0000".into(), made: Some(made) }
}

fn policies(text: Text<'_>, rows: usize) -> policy::PolicyView {
    let right = |gains| RightChange {
        who: vec![text("researcher"), text("`p-0007` as trainer")],
        gains,
        action: Action::Release,
        resources: text("candidate models"),
        when: vec!["nothing was scanned"],
        because: vec![text("a release needs a scan")],
    };
    let diff = PolicyDiff {
        settings: vec![SettingChange {
            name: text("login"),
            old: None,
            new: Some(serde_json::Value::String(text("passkey"))),
        }],
        policies: vec![PolicyChange {
            id: text("vault:0"),
            says: text("nobody trains at night"),
            change: Change::Added,
        }],
        rights: vec![right(false), right(true)],
        incomplete: true,
    };
    policy::PolicyView {
        frame: frame(text),
        digest: Digest::of(b"policy"),
        policies: (0..rows)
            .map(|number| (text(&format!("rail:{number}")), text("an auditor changes nothing")))
            .collect(),
        settings: vec![(text("login"), text("\"mfa\""))],
        document: text("login = \"mfa\"\n"),
        proposal: Some(policy::Proposal { document: text("login = \"passkey\"\n"), outcome: Ok(diff) }),
        may_propose: true,
    }
}

fn denied(text: Text<'_>) -> problem::ProblemView {
    problem::ProblemView {
        frame: frame(text),
        kind: Kind::Denied,
        detail: Some(text("release of model/chat@3")),
        reasons: vec![text("a release needs a scan")],
        instance: Some(text("entry 4182")),
        retry_after_s: Some(30),
    }
}

fn not_found() -> problem::ProblemView {
    problem::ProblemView {
        frame: outside(),
        kind: Kind::NotFound,
        detail: None,
        reasons: Vec::new(),
        instance: None,
        retry_after_s: None,
    }
}

/// Nothing in any list: what a new vault shows.
pub(crate) fn empty_pages() -> Vec<(&'static str, Markup)> {
    let text: Text<'_> = &str::to_owned;
    let mut over = over(text, 0);
    (over.requests, over.unwell, over.days) = (0, Vec::new(), Vec::new());
    let run_view = run::RunView { record: Record::new(), ..run_view(text, "running") };
    vec![
        ("overview", overview::overview(&over)),
        ("artifacts", artifacts::artifacts(&list(text, 0))),
        (
            "review",
            review::review(&review::ReviewView {
                frame: frame(text),
                held: vec![],
                candidates: vec![],
                requests: vec![],
            }),
        ),
        ("runs", run::runs(&run::RunsView { frame: frame(text), runs: vec![] })),
        ("run", run::run(&run_view)),
        ("tests", attacks::attacks(&attacks::AttacksView { frame: frame(text), cards: vec![] })),
        ("trail", trail::trail(&trail::TrailView { days: vec![], problem: None, ..search(text, 0) })),
        ("security", security::security(&safe(text, 0))),
    ]
}

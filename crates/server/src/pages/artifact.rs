//! One version of an artifact: files with their badges, where it came from, what is signed, how to verify it.

use maud::{Markup, html};
use ringfence_engine::{
    NamespaceState,
    schema::{Digest, Finding, finding::Verdict, report::ScreenReport},
};

use super::{
    artifacts::ArtifactLine,
    chart::{
        bars::{Bar, Bars},
        dag::{Dag, Edge, Node},
    },
    findings::{detectors, findings, screened, verdict},
    frame::{Frame, Place},
    parts::{Tone, badge, command, digest, facts, hidden, moment, name, passage, reason, size, table, words},
    paths,
};

/// A file, as scanning saw it.
#[derive(Debug, Clone)]
pub struct FileLine {
    /// Its path in the artifact.
    pub path: String,
    /// What its content is.
    pub format: String,
    /// Size in bytes.
    pub size: u64,
    /// The conclusion.
    pub verdict: Verdict,
    /// What was found in it.
    pub findings: Vec<Finding>,
}

/// A signed statement.
#[derive(Debug, Clone)]
pub struct EvidenceLine {
    /// What kind.
    pub kind: String,
    /// `pass`, `block`, `incomplete`, or `recorded` for provenance.
    pub verdict: String,
    /// The trail's entry that commits to it.
    pub entry: u64,
    /// SHA-256 of the envelope.
    pub envelope: Digest,
    /// What a gate reads of it, as `name=value`.
    pub summary: String,
}

/// One version.
#[derive(Debug, Clone)]
pub struct ArtifactView {
    /// Around it.
    pub frame: Frame,
    /// The version.
    pub line: ArtifactLine,
    /// Identity of what it consists of.
    pub tree: Digest,
    /// Identity of what came in, where records were filtered.
    pub source: Digest,
    /// Where it was fetched.
    pub origin: Option<String>,
    /// The run that made it.
    pub run: Option<String>,
    /// Controls that were left out.
    pub left_out: Vec<String>,
    /// Its files.
    pub files: Vec<FileLine>,
    /// What screening found.
    pub screen: Option<ScreenReport>,
    /// What is signed, oldest first.
    pub evidence: Vec<EvidenceLine>,
    /// Other versions of the same artifact, newest first.
    pub versions: Vec<ArtifactLine>,
    /// What it came from and what was made of it.
    pub lineage: (Vec<Node>, Vec<Edge>),
    /// Whether the viewer may release it, where it is a candidate.
    pub may_release: bool,
    /// Whether the viewer's roles let them ask others for something; the engine decides when they do.
    pub may_ask: bool,
}

/// The page of a version.
pub fn artifact(view: &ArtifactView) -> Markup {
    let line = &view.line;
    let content = html! {
        p { (line.badges()) }
        @if let Some(why) = &line.revoked { div class="told bad" { b { "Should not be used any more: " } (passage(why)) } }
        @if let Some(why) = &line.refused { div class="told bad" { b { "Refused for good: " } (passage(why)) } }
        @if let Some(gone) = &line.destroyed {
            div class="told bad" {
                b { "Destroyed, and nothing opens it any more: " } (passage(&gone.reason))
                p { "By " (name(&gone.by)) ", " (moment(gone.at)) ", " a href=(paths::trail_entry(gone.entry)) { "entry " (gone.entry) } ". What was said of it stays." }
            }
        }
        @if !view.left_out.is_empty() { p class="told warn" { "Left out on request: " (words(&view.left_out.join(", "), 200)) "." } }
        (facts(&[
            ("Identity (tree)", html! { code { (view.tree) } }),
            ("Came in as", html! { @if view.source == view.tree { "the same" } @else { (digest(&view.source)) } }),
            ("Size", html! { (size(line.bytes)) " in " (line.files) " files" }),
            ("Written", moment(line.written)),
            ("From", html! { @match &view.origin { Some(origin) => (name(origin)), None => "this machine" } }),
            ("Run", html! { @match &view.run { Some(run) => a href=(paths::run(run)) { (name(run)) }, None => "none" } }),
        ]))
        (files(view))
        @if let Some(report) = &view.screen {
            section aria-labelledby="data" {
                h2 id="data" { "What screening found" }
                (screened(report)) (classes(report))
            }
        }
        (lineage(view)) (evidence(view)) (release(view)) (yourself(view)) (versions(view)) (others(view))
    };
    view.frame.page(Place::Artifacts, &line.reference(), content)
}

fn files(view: &ArtifactView) -> Markup {
    let rows: Vec<Vec<Markup>> = view
        .files
        .iter()
        .map(|file| {
            vec![
                name(&file.path),
                html! { (words(&file.format, 40)) },
                html! { (size(file.size)) },
                verdict(file.verdict),
                html! { @if file.findings.is_empty() { span class="quiet" { "nothing" } } @else { (detectors(&file.findings)) } },
            ]
        })
        .collect();
    html! {
        section aria-labelledby="files" {
            h2 id="files" { "Files" }
            @if rows.is_empty() { p class="quiet" { "No scan report is kept for this version." } }
            @else {
                (table("Files", &["path", "is", "size", "verdict", "detectors"], &rows))
                @let all = || view.files.iter().flat_map(|file| &file.findings);
                @if all().next().is_some() { h3 { "Findings" } (findings(all())) }
            }
        }
    }
}

fn classes(report: &ScreenReport) -> Markup {
    let label = |text: &str| words(text, 16);
    let bars: Vec<Bar> =
        report.dataset.classes.iter().map(|(class, count)| Bar { label: label(class), counts: vec![*count] }).collect();
    html! {
        @if bars.len() > 1 {
            h3 { "Records per label" }
            (Bars { id: "labels", title: "Records per label", kinds: vec![("records", "good")], bars }.draw())
        }
    }
}

fn lineage(view: &ArtifactView) -> Markup {
    html! {
        section aria-labelledby="lineage" {
            h2 id="lineage" { "Lineage" }
            @if view.lineage.0.len() < 2 { p class="quiet" { "Nothing is known that it came from, and nothing was made of it." } }
            @else {
                (Dag { id: "lineage-graph", title: "What it came from and what was made of it", nodes: view.lineage.0.clone(), edges: view.lineage.1.clone() }.draw())
            }
        }
    }
}

fn evidence(view: &ArtifactView) -> Markup {
    let rows: Vec<Vec<Markup>> = view
        .evidence
        .iter()
        .map(|line| {
            let tone = match line.verdict.as_str() {
                "pass" => Tone::Good,
                "block" => Tone::Bad,
                "incomplete" => Tone::Warn,
                _ => Tone::Plain,
            };
            vec![
                html! { (words(&line.kind, 40)) },
                badge(tone, &line.verdict),
                html! { a href=(paths::trail_entry(line.entry)) { "entry " (line.entry) } },
                digest(&line.envelope),
                passage(&line.summary),
            ]
        })
        .collect();
    html! {
        section aria-labelledby="evidence" {
            h2 id="evidence" { "Signed evidence" }
            @if rows.is_empty() { p class="quiet" { "None yet." } }
            @else { (table("Signed evidence, oldest first", &["kind", "verdict", "record", "envelope", "says"], &rows)) }
        }
    }
}

/// The form that asks the release gate, and what fetches what it let through.
fn release(view: &ArtifactView) -> Markup {
    if view.line.destroyed.is_some() {
        return html! {};
    }
    let reference = view.line.reference();
    let fetch = format!("ringfence release {reference} --out ./{} --server URL", view.line.name);
    html! {
        @if view.line.state == NamespaceState::Candidate && view.may_release {
            section aria-labelledby="release" {
                h2 id="release" { "Release it" }
                p { "The release gate asks for its provenance, scan and robustness card, for who you are, and for a second factor of the last ten minutes. What it says no to stays a candidate." }
                form method="post" action=(paths::ARTIFACT_RELEASE) data-confirm=(format!("Release {}?", words(&reference, 120))) {
                    (view.frame.token()) (hidden("reference", &reference)) (hidden("tree", &view.tree.to_string()))
                    p { button { "Release" } " " a href=(paths::query(paths::STEP_UP, &[("next", &paths::reference(&reference))])) { "Confirm that it is you first" } }
                }
            }
        }
        @if view.line.state == NamespaceState::Released {
            section aria-labelledby="release" {
                h2 id="release" { "Take it out" }
                (command("Fetch the signed bundle from this server, and verify it", &fetch))
            }
        }
    }
}

fn yourself(view: &ArtifactView) -> Markup {
    let reference = view.line.reference();
    html! {
        section aria-labelledby="verify" {
            h2 id="verify" { "Verify it yourself" }
            p { "Beside the vault: its signatures, its place in the trail, and every stored byte." }
            (command("Show what is signed", &format!("ringfence show {reference}")))
            (command("Verify the trail", "ringfence trail verify"))
            @if view.line.labels.iter().any(|label| label == "released") {
                p { "A released bundle, offline, with the trust root that the vault's owner gave you:" }
                (command("Verify a released bundle", &format!("ringfence verify ./{} --root root.json", view.line.name)))
            }
        }
    }
}

/// What needs the approval of others.
fn others(view: &ArtifactView) -> Markup {
    if view.line.destroyed.is_some() || !view.may_ask {
        return html! {};
    }
    html! {
        section aria-labelledby="others" {
            h2 id="others" { "Ask others" }
            details {
                summary { "Take it out, make it current again, or destroy it" }
                form method="post" action=(paths::REQUEST_MAKE) {
                    (view.frame.token()) (hidden("reference", &view.line.reference()))
                    p class="field" {
                        label for="ask-action" { "What" }
                        select id="ask-action" name="action" {
                            option value="export" { "take a copy out of the vault" }
                            option value="restore" { "make this version current again" }
                            option value="destroy" { "destroy its keys, so that nobody can read it again" }
                        }
                    }
                    (reason("ask-reason"))
                    p { button { "Ask" } }
                    p class="quiet" { "Two others who may approve it see this reason and sign it. Nothing is done before you carry it out on the review page." }
                }
            }
        }
    }
}

fn versions(view: &ArtifactView) -> Markup {
    let rows: Vec<Vec<Markup>> = view
        .versions
        .iter()
        .map(|line| vec![line.link(), line.badges(), html! { (size(line.bytes)) }, html! { (moment(line.written)) }])
        .collect();
    html! {
        @if !rows.is_empty() {
            section aria-labelledby="versions" {
                h2 id="versions" { "Versions" }
                (table("Versions of this artifact", &["version", "state and evidence", "size", "written"], &rows))
            }
        }
    }
}

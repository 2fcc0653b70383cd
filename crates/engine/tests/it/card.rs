//! Cards as pages: what they show, and what a hostile document cannot make of them.

use ringfence_engine::{
    card::{attack_page, privacy_page, text_page, theft_page},
    schema::{
        Digest, Timestamp,
        endpoint::{QueryLedger, QuerySpan},
        privacy::{Leak, MembershipTest, PrivacyReport, PrivacySchema, RateAt},
        report::{
            AdversarialPicture, AttackReport, AttackResult, AttackSchema, Check, CorruptionResult, Soundness, WorstCase,
        },
        text::{EditPoint, TextExample, TextReport, TextResult, TextSchema, TextScope, TextWorst},
        theft::{
            ExtractedNetwork, HiddenSize, LevelTheft, ResidualFidelity, TheftPrice, TheftReport, TheftRun, TheftSchema,
        },
    },
};

/// A picture of one black point.
const POINT: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==";

fn attack(text: fn(&str) -> String) -> AttackReport {
    let row = |attack: &str, eps: f64, accuracy: f64| AttackResult {
        attack: text(attack),
        norm: text("linf"),
        eps,
        accuracy,
        ci95: [accuracy - 0.03, accuracy + 0.02],
        queries: 4_000,
    };
    let worst = |eps: f64, accuracy: f64| WorstCase {
        norm: text("linf"),
        eps,
        accuracy,
        ci95: [accuracy - 0.03, accuracy + 0.02],
        battery: text("standard"),
        queries: 90_000,
        stood: Some(text("ff")),
    };
    AttackReport {
        schema: AttackSchema::One,
        verdict: Soundness::Unsound,
        model: Digest::of(b"model"),
        clean_accuracy: Some(0.97),
        forward: None,
        examples: 1_000,
        seed: 7,
        setup: None,
        results: vec![
            row("noise-10", 0.1, 0.96),
            row("square-5000", 0.1, 0.71),
            row("worst-case", 0.1, 0.7),
            row("noise-10", 0.3, 0.9),
            row("square-5000", 0.3, 0.22),
            row("worst-case", 0.3, 0.2),
        ],
        worst_case: vec![worst(0.1, 0.7), worst(0.3, 0.2)],
        corruptions: vec![CorruptionResult {
            corruption: text("gaussian-noise"),
            severity: 2,
            accuracy: 0.8,
            ci95: [0.77, 0.83],
        }],
        checks: vec![
            Check {
                name: text("finite-outputs"),
                passed: true,
                detail: text("0 of 1000 clean outputs are not numbers"),
            },
            Check { name: text("repeatable"), passed: false, detail: text("4 answers differ by 2.0e-1") },
        ],
        membership: Vec::new(),
        pictures: vec![AdversarialPicture {
            example: 3,
            label: 7,
            taken_for: Some(1),
            original: text(POINT),
            changed: text(POINT),
            difference: text(POINT),
        }],
        ledger: Some(QueryLedger {
            endpoint: text("https://models.example.org/v1/digits"),
            description: Digest::of(b"description"),
            budget: 100_000,
            spent: 91_000,
            answered: 90_500,
            requests: 1_430,
            repeats: 8,
            exhausted: false,
            waited_ms: 12_000,
            spans: vec![QuerySpan {
                from: Timestamp::from_millis(1_800_000_000_000),
                requests: 1_430,
                queries: 91_000,
            }],
        }),
    }
}

fn theft(text: fn(&str) -> String) -> TheftReport {
    let run = |queries: u64, fidelity: f64| TheftRun {
        method: text("distillation-natural"),
        queries,
        fidelity,
        ci95: [fidelity - 0.02, fidelity + 0.02],
        distance: 0.1,
    };
    let level = |name: &str, gain: f64| LevelTheft {
        level: text(name),
        runs: vec![run(65, 0.5 + gain), run(260, 0.7 + gain), run(1_040, 0.9 + gain)],
        residual: vec![ResidualFidelity { times: 1, queries: 65, best: Some(run(65, 0.5 + gain)) }],
        price: vec![
            TheftPrice { fidelity: 0.9, queries: Some(1_040), method: Some(text("distillation-natural")), note: None },
            TheftPrice { fidelity: 0.99, queries: None, method: None, note: Some(text("not reached with 1040")) },
        ],
    };
    TheftReport {
        schema: TheftSchema::One,
        model: Digest::of(b"model"),
        inputs: 64,
        classes: 10,
        held_out: 500,
        natural: 1_000,
        unit: 65,
        seed: 0,
        levels: vec![level("full", 0.05), level("label", 0.0)],
        extraction: ExtractedNetwork { note: Some(text("answers fit no such network")), ..ExtractedNetwork::default() },
        hidden_size: HiddenSize { width: Some(32), queries: 200, note: None },
        asked: 4_321,
        note: text("a price is an upper bound"),
        ledger: None,
    }
}

fn texts(text: fn(&str) -> String) -> TextReport {
    let point = |edits: u64, accuracy: f64| EditPoint { edits, accuracy, ci95: [accuracy - 0.05, accuracy + 0.04] };
    let worst = |scope: TextScope, accuracy: f64| TextWorst {
        scope,
        accuracy,
        ci95: [accuracy - 0.05, accuracy + 0.04],
        curve: vec![point(0, 0.9), point(1, accuracy)],
    };
    TextReport {
        ledger: None,
        schema: TextSchema::One,
        model: Digest::of(b"model"),
        tokenizer: Some(Digest::of(b"tokenizer")),
        verdict: Soundness::Sound,
        texts: 200,
        classes: 2,
        clean_accuracy: 0.9,
        clean_ci95: [0.85, 0.94],
        edits: text("2 words"),
        queries_max: 1_000,
        seed: 0,
        results: vec![TextResult {
            attack: text("characters"),
            needs: text("scores"),
            keeps_meaning: true,
            accuracy: 0.4,
            ci95: [0.33, 0.47],
            edits_mean: Some(1.25),
            exhausted: 0,
            queries: 12_000,
        }],
        worst_case: vec![worst(TextScope::KeepingMeaning, 0.4), worst(TextScope::All, 0.2)],
        examples: vec![TextExample {
            text: 3,
            label: 1,
            predicted: Some(0),
            attack: text("characters"),
            edits: 1,
            original: text("a good film"),
            changed: text("a go\u{200b}od film"),
        }],
        checks: vec![Check { name: text("edit-bound"), passed: true, detail: text("9 of 9 texts") }],
        unknown_tokens: Some(0.01),
        truncated: Some(0),
        asked: 13_000,
        note: text("an upper bound"),
    }
}

fn privacy(text: fn(&str) -> String) -> PrivacyReport {
    let test = |name: &str, auc: f64, leak: Leak| MembershipTest {
        attack: text(name),
        auc: Some(auc),
        auc_ci95: Some([auc - 0.01, auc + 0.01]),
        tpr_at_fpr: vec![
            RateAt { fpr: 0.01, tpr: Some(0.1), ci95: Some([0.08, 0.12]), needs: 1_000 },
            RateAt { fpr: 0.001, tpr: None, ci95: None, needs: 10_000 },
        ],
        roc: vec![[0.0, 0.0], [0.001, 0.03], [0.01, 0.1], [0.1, 0.3], [1.0, 1.0]],
        members: 2_000,
        non_members: 2_000,
        queries: 4_000,
        leak,
        note: text("sees what the loss shows"),
    };
    PrivacyReport {
        schema: PrivacySchema::One,
        model: Digest::of(b"model"),
        seed: 3,
        leak: Leak::Shown,
        accuracy: None,
        references: None,
        membership: vec![test("loss-threshold", 0.52, Leak::NotShown), test("rmia-online", 0.61, Leak::Shown)],
        attributes: Vec::new(),
        inversions: Vec::new(),
        canaries: Vec::new(),
        extraction: None,
        ledger: None,
    }
}

fn plain(text: &str) -> String {
    text.to_owned()
}

/// What breaks out of a page that does not escape.
fn hostile(text: &str) -> String {
    format!("\"'></title></style></svg><script>alert(1)</script><img src=x onerror=alert(2)>{text}\u{202e}]]>&#x6A;")
}

/// One element a line, without the styles.
fn lines(page: &str) -> String {
    let (before, rest) = page.split_once("<style>").unwrap();
    let (_, after) = rest.split_once("</style>").unwrap();
    format!("{before}{after}").replace("><", ">\n<")
}

#[test]
fn a_card_shows_verdict_curves_checks_pictures_and_ledger() {
    let report = attack(plain);
    insta::assert_snapshot!("card-attack", lines(&attack_page(&report)));
    // A saved document is drawn the same.
    let saved: AttackReport = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
    assert_eq!(attack_page(&saved), attack_page(&report));
    let sound = AttackReport { verdict: Soundness::Sound, checks: report.checks[..1].to_vec(), ..report };
    let page = attack_page(&sound);
    assert!(page.contains("✔ SOUND") && !page.contains("UNSOUND"));
}

#[test]
fn theft_and_privacy_have_pages_too() {
    insta::assert_snapshot!("card-theft", lines(&theft_page(&theft(plain))));
    insta::assert_snapshot!("card-privacy", lines(&privacy_page(&privacy(plain))));
}

#[test]
fn edited_texts_have_a_page_that_shows_what_cannot_be_seen() {
    let page = text_page(&texts(plain));
    assert!(page.contains("a go\\u{200b}od film") && page.contains("✔ SOUND"), "{page}");
    assert!(page.contains("worst case of all edits"));
}

#[test]
fn a_page_needs_nothing_from_elsewhere() {
    for page in [
        attack_page(&attack(plain)),
        theft_page(&theft(plain)),
        privacy_page(&privacy(plain)),
        text_page(&texts(plain)),
    ] {
        assert!(page.contains("http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:"));
        for part in ["<script", "<link", "@import", "url(", "src=\"http", "href="] {
            assert!(!page.contains(part), "{part}");
        }
        assert!(page.contains("prefers-color-scheme: dark"));
        // Who cannot see a plot has its title and its figures.
        assert_eq!(page.matches("role=\"img\"").count(), page.matches("<desc ").count());
        assert!(page.matches("<table>").count() >= 2);
        let ids: Vec<&str> = page.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        let distinct: std::collections::BTreeSet<&str> = ids.iter().copied().collect();
        assert_eq!(ids.len(), distinct.len(), "{ids:?}");
    }
}

#[test]
fn a_hostile_document_stays_text() {
    for page in [
        attack_page(&attack(hostile)),
        theft_page(&theft(hostile)),
        privacy_page(&privacy(hostile)),
        text_page(&texts(hostile)),
    ] {
        assert!(page.contains("&lt;script&gt;alert(1)"));
        for part in ["<script", "<img src=x", "onerror=alert(2)>\"", "</title></style>"] {
            assert!(!page.contains(part), "{part}");
        }
        assert_eq!(page.matches("</style>").count(), 1);
    }
    let page = attack_page(&attack(hostile));
    assert!(!page.contains("data:image/png"), "what is not base64 is no picture");
}

#[test]
fn figures_that_are_none_do_not_spoil_a_plot() {
    let mut report = attack(plain);
    for (place, row) in report.results.iter_mut().enumerate() {
        row.accuracy = [f64::NAN, f64::INFINITY, -7.0][place % 3];
        row.eps = [f64::NAN, 1e308, 0.1][place % 3];
        row.ci95 = [f64::NEG_INFINITY, f64::NAN];
    }
    report.worst_case.iter_mut().for_each(|row| (row.eps, row.ci95) = (f64::NAN, [f64::NAN; 2]));
    let mut roc = privacy(plain);
    roc.membership.iter_mut().for_each(|test| (test.non_members, test.roc) = (0, vec![[f64::NAN, 0.5], [-1.0, 2.0]]));
    let mut stolen = theft(plain);
    stolen.levels.iter_mut().for_each(|level| level.runs.iter_mut().for_each(|run| run.fidelity = f64::NAN));
    stolen.levels.iter_mut().for_each(|level| level.runs.iter_mut().for_each(|run| run.queries = 0));
    let mut edited = texts(plain);
    edited.worst_case.iter_mut().for_each(|worst| worst.curve.iter_mut().for_each(|point| point.accuracy = f64::NAN));
    edited.results.iter_mut().for_each(|row| (row.accuracy, row.ci95) = (f64::INFINITY, [f64::NAN; 2]));
    for page in [attack_page(&report), privacy_page(&roc), theft_page(&stolen), text_page(&edited)] {
        for attribute in ["x1", "x2", "y1", "y2", "cx", "cy", "width", "points"] {
            for value in page.split(&format!(" {attribute}=\"")).skip(1).filter_map(|rest| rest.split('"').next()) {
                assert!(!value.contains("NaN") && !value.contains("inf"), "{attribute}={value}");
            }
        }
    }
}

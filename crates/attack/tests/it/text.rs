//! Attacks on classifiers of texts: what they find, what they count, and when their figures mean nothing.

use std::sync::atomic::{AtomicU32, Ordering};

use ringfence_attack::{
    AttackError, EditLimit, Kind, ReadText, Synonyms, TextCallback, TextExamples, TextMethod, TextModel, TextPlan,
    Tokenizer, attack_text,
};
use ringfence_nn::Model;
use ringfence_schema::{
    Digest,
    report::Soundness,
    text::{TextReport, TextScope},
};

use crate::{models::tiny_network, tokenizer::data};

fn model(name: &str) -> TextModel {
    let tokenizer = Tokenizer::parse(&data("wordpiece.json")).unwrap();
    TextModel::new(Model::parse(&data(name)).unwrap(), tokenizer, None).unwrap()
}

/// The first rows of the texts that the models were not trained on.
fn reviews(count: usize) -> TextExamples {
    let text = String::from_utf8(data("texts.csv")).unwrap();
    let row = |line: &str| {
        let (text, label) = line.rsplit_once(',').unwrap();
        (text.to_owned(), label.parse::<usize>().unwrap())
    };
    let (texts, labels): (Vec<String>, Vec<usize>) = text.lines().skip(1).take(count).map(row).unzip();
    TextExamples::new(texts, labels).unwrap()
}

fn attacked(source: &dyn ReadText, examples: &TextExamples, plan: &TextPlan) -> TextReport {
    attack_text(source, examples, plan, &mut |_, _| {}).unwrap()
}

fn accuracy(report: &TextReport, attack: &str) -> f64 {
    report.results.iter().find(|row| row.attack == attack).unwrap().accuracy
}

fn failed(report: &TextReport) -> Vec<&str> {
    report.checks.iter().filter(|check| !check.passed).map(|check| check.name.as_str()).collect()
}

/// A source that counts `good` against `bad` words of a text.
fn counting(texts: &[String]) -> Vec<Vec<f32>> {
    let score = |text: &String| {
        let count = |list: [&str; 2]| {
            let words = text.split(|c: char| !c.is_alphanumeric());
            words.filter(|word| list.contains(&word.to_lowercase().as_str())).count() as f32
        };
        let lead = count(["good", "fine"]) - count(["bad", "poor"]);
        vec![-lead + 0.5, lead]
    };
    texts.iter().map(score).collect()
}

fn digest() -> Digest {
    Digest::of(b"counting")
}

fn own(texts: &[(&str, usize)]) -> TextExamples {
    let (texts, labels): (Vec<String>, Vec<usize>) =
        texts.iter().map(|(text, label)| ((*text).to_owned(), *label)).unzip();
    TextExamples::new(texts, labels).unwrap()
}

#[test]
fn scores_are_those_of_torch() {
    let expected: serde_json::Value = serde_json::from_slice(&data("scores.json")).unwrap();
    let texts: Vec<String> = serde_json::from_value(expected["texts"].clone()).unwrap();
    for name in ["bag", "encoder"] {
        let wanted: Vec<Vec<f32>> = serde_json::from_value(expected["scores"][name].clone()).unwrap();
        let model = model(&format!("{name}.onnx"));
        assert!(model.has_embeddings());
        let found = model.scores(&texts).unwrap();
        for (found, wanted) in found.iter().flatten().zip(wanted.iter().flatten()) {
            assert!((found - wanted).abs() < 1e-4, "{name}: {found} {wanted}");
        }
    }
}

#[test]
fn a_bag_of_words_falls_and_the_report_is_sound() {
    let (model, examples) = (model("bag.onnx"), reviews(24));
    let plan = TextPlan { edits: EditLimit::Words(2), queries: 300, ..TextPlan::default() };
    let report = attacked(&model, &examples, &plan);
    assert_eq!(report.verdict, Soundness::Sound, "{:?}", report.checks);
    assert!((report.clean_accuracy - 1.0).abs() < 1e-9, "{}", report.clean_accuracy);
    assert!(accuracy(&report, "characters") < 0.5, "{:?}", report.results);
    assert!(accuracy(&report, "hotflip") < 0.1, "{:?}", report.results);
    assert!(accuracy(&report, "characters") <= accuracy(&report, "random-characters"), "{:?}", report.results);
    // No slip makes another word: `bad` never becomes `had`.
    let letters = vec![TextMethod::Guided(Kind::Characters)];
    let slips = attacked(&model, &examples, &TextPlan { methods: letters, ..plan.clone() });
    let known = Tokenizer::parse(&data("wordpiece.json")).unwrap();
    for example in &slips.examples {
        let before: Vec<&str> = example.original.split(' ').collect();
        let after: Vec<&str> = example.changed.split(' ').collect();
        // A blank inside a word leaves two, each of which may be one by chance.
        if before.len() == after.len() {
            let slips = before.iter().zip(&after).filter(|(before, after)| before != after);
            assert!(slips.map(|(_, after)| after).all(|slip| known.token_of(slip).is_none()), "{example:?}");
        }
    }
    // BERT's cleaning drops what cannot be seen.
    assert!((accuracy(&report, "invisible") - 1.0).abs() < 1e-9, "{:?}", report.results);
    let [meaning, all] = &report.worst_case[..] else { unreachable!("{:?}", report.worst_case) };
    assert_eq!((meaning.scope, all.scope), (TextScope::KeepingMeaning, TextScope::All));
    assert!(all.accuracy <= meaning.accuracy && meaning.accuracy <= accuracy(&report, "characters"));
    for worst in [meaning, all] {
        assert!(
            worst
                .curve
                .windows(2)
                .all(|pair| pair[1].accuracy <= pair[0].accuracy && pair[1].edits == pair[0].edits + 1)
        );
        assert!((worst.curve[0].accuracy - report.clean_accuracy).abs() < 1e-9);
        assert!((worst.curve.last().unwrap().accuracy - worst.accuracy).abs() < 1e-9 && worst.curve.len() <= 3);
        assert!(worst.ci95[0] <= worst.accuracy && worst.accuracy <= worst.ci95[1]);
    }
    assert!(!report.examples.is_empty() && report.examples.len() <= plan.examples);
    for example in &report.examples {
        assert!(example.original != example.changed && example.predicted != Some(example.label));
        let again = model.scores(std::slice::from_ref(&example.changed)).unwrap();
        assert_ne!(u64::from(again[0][1] > again[0][0]), example.label, "{example:?}");
    }
    assert!(report.asked >= report.results.iter().map(|row| row.queries).sum::<u64>());
    assert_eq!((report.truncated, report.classes), (Some(0), 2));
    assert_eq!(attacked(&model, &examples, &plan), report, "the same seed gives the same report");
}

#[test]
fn an_encoder_is_attacked_too() {
    let (model, examples) = (model("encoder.onnx"), reviews(10));
    let methods = ["characters", "hotflip", "random-words", "neighbours"].map(|name| TextMethod::named(name).unwrap());
    let plan = TextPlan { methods: methods.to_vec(), edits: EditLimit::Words(2), queries: 150, ..TextPlan::default() };
    let report = attacked(&model, &examples, &plan);
    assert_eq!(report.verdict, Soundness::Sound, "{:?}", report.checks);
    assert!(accuracy(&report, "hotflip") < 0.3, "{:?}", report.results);
    assert!(accuracy(&report, "characters") < 1.0, "{:?}", report.results);
    let needs: Vec<&str> = report.results.iter().map(|row| row.needs.as_str()).collect();
    assert_eq!(needs, ["scores", "weights", "labels", "weights"], "{:?}", report.results);
}

#[test]
fn synonyms_and_letters_are_counted_exactly() {
    let source = TextCallback::scores("counter", digest(), |texts| Ok(counting(texts)));
    let examples = own(&[("A good good day", 1), ("Good!", 1), ("bad", 0), ("nothing here", 0)]);
    let synonyms = Synonyms::parse("good: decent, fine").unwrap();
    let methods = vec![TextMethod::Guided(Kind::Synonyms)];
    let plan = |edits| TextPlan { methods: methods.clone(), synonyms: synonyms.clone(), edits, ..TextPlan::default() };
    // Both words must go in the first text; the second falls with one; nothing makes the others good.
    let one = attacked(&source, &examples, &plan(EditLimit::Words(1)));
    assert!((one.results[0].accuracy - 0.75).abs() < 1e-9, "{one:?}");
    let two = attacked(&source, &examples, &plan(EditLimit::Words(2)));
    assert!((two.results[0].accuracy - 0.5).abs() < 1e-9 && two.verdict == Soundness::Sound, "{two:?}");
    let curve: Vec<f64> = two.worst_case[0].curve.iter().map(|point| point.accuracy).collect();
    assert_eq!(curve, [1.0, 0.75, 0.5]);
    let changed: Vec<&str> = two.examples.iter().map(|example| example.changed.as_str()).collect();
    assert_eq!(changed, ["A decent decent day", "Decent!"]);
    assert_eq!(two.worst_case.len(), 1, "no attack but those that keep the meaning ran");
    assert!(two.unknown_tokens.is_none() && two.tokenizer.is_none());
}

#[test]
fn labels_alone_are_enough_for_random_edits() {
    let classify = |texts: &[String]| Ok(counting(texts).iter().map(|row| usize::from(row[1] > row[0])).collect());
    let source = TextCallback::labels("labels", digest(), 2, classify);
    let examples = own(&[("so good a day it was", 1), ("bad day", 0)]);
    let plan = TextPlan { edits: EditLimit::Words(3), ..TextPlan::default() };
    let report = attacked(&source, &examples, &plan);
    assert!(report.results.iter().all(|row| row.attack.starts_with("random-") && row.needs == "labels"), "{report:?}");
    assert!((accuracy(&report, "random-homoglyphs") - 0.5).abs() < 1e-9);
    // Edits that were not needed are taken back.
    let example = report.examples.iter().find(|example| example.text == 0).unwrap();
    assert_eq!(example.edits, 1, "{example:?}");
    let wanted = TextPlan { methods: vec![TextMethod::Guided(Kind::Characters)], ..plan };
    let refused = attack_text(&source, &examples, &wanted, &mut |_, _| {}).unwrap_err();
    assert!(matches!(refused, AttackError::Capability { .. }) && refused.to_string().contains("scores"), "{refused}");
}

#[test]
fn broken_models_are_unsound() {
    let examples = own(&[("a good day", 1), ("a bad day", 0), ("the good book", 1), ("poor food", 0)]);
    let plan = TextPlan { queries: 64, ..TextPlan::default() };
    // It reads nothing.
    let constant = TextCallback::scores("constant", digest(), |texts| Ok(vec![vec![0.0, 1.0]; texts.len()]));
    let report = attacked(&constant, &examples, &plan);
    assert!(report.verdict == Soundness::Unsound && failed(&report).contains(&"reads-its-text"), "{:?}", report.checks);
    // It never says the same twice.
    let calls = AtomicU32::new(0);
    let restless = TextCallback::scores("restless", digest(), |texts| {
        let noise = calls.fetch_add(1, Ordering::Relaxed) as f32 / 1e3;
        Ok(counting(texts).iter().map(|row| vec![row[0] + noise, row[1]]).collect())
    });
    let report = attacked(&restless, &examples, &plan);
    assert!(failed(&report).contains(&"repeats-itself"), "{:?}", report.checks);
    // It hides its scores behind a step, over long texts whose labels rest on several words.
    let stepped = TextCallback::scores("stepped", digest(), |texts| {
        Ok(counting(texts).iter().map(|row| vec![0.0, if row[1] > row[0] { 9.0 } else { -9.0 }]).collect())
    });
    let long = own(&[("good good good good day", 1), ("fine good fine good", 1), ("bad bad bad day", 0)]);
    let report = attacked(&stepped, &long, &plan);
    assert!(failed(&report).contains(&"scores-move"), "{:?}", report.checks);
    // Its labels are another's.
    let (texts, wrong): (Vec<String>, Vec<usize>) = (0..40).map(|at| (format!("good day {at}"), 0)).unzip();
    let source = TextCallback::scores("counter", digest(), |texts| Ok(counting(texts)));
    let report = attacked(&source, &TextExamples::new(texts, wrong).unwrap(), &plan);
    assert_eq!(failed(&report), ["better-than-guessing"], "{:?}", report.checks);
    assert!(report.worst_case.iter().all(|worst| worst.accuracy.abs() < 1e-9));
}

#[test]
fn a_model_that_no_edit_reaches_stands_and_is_sound() {
    // It counts words, which no edit of letters without blanks and no exchange of words changes.
    let source = TextCallback::scores("length", digest(), |texts| {
        let lead = |text: &String| text.split_whitespace().count() as f32 - 3.5;
        Ok(texts.iter().map(|text| vec![-lead(text), lead(text)]).collect())
    });
    let examples = own(&[("one two three four five six", 1), ("one two", 0)]);
    let methods = vec![TextMethod::Guided(Kind::Homoglyphs), TextMethod::Guided(Kind::Words)];
    let report = attacked(&source, &examples, &TextPlan { methods, ..TextPlan::default() });
    assert!(report.results.iter().all(|row| (row.accuracy - 1.0).abs() < 1e-9), "{report:?}");
    assert_eq!(report.verdict, Soundness::Sound, "{:?}", report.checks);
    assert!(report.examples.is_empty() && report.worst_case.len() == 2);
}

#[test]
fn questions_are_bounded_and_counted() {
    let (model, examples) = (model("bag.onnx"), reviews(6));
    let methods = vec![TextMethod::Guided(Kind::Invisible), TextMethod::Random(Kind::Invisible)];
    let plan = TextPlan { methods, queries: 16, ..TextPlan::default() };
    let report = attacked(&model, &examples, &plan);
    for row in &report.results {
        assert!(row.queries <= 16 * 6 && row.exhausted == 6, "{row:?}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let tokenizer = |name: &str| Tokenizer::parse(&data(name)).unwrap();
    let refused = |model: Model, name: &str| TextModel::new(model, tokenizer(name), None).unwrap_err().to_string();
    assert!(refused(tiny_network(1), "wordpiece.json").contains("input"));
    let bag = Model::parse(&data("bag.onnx")).unwrap();
    assert!(refused(bag.clone(), "bytelevel.json").contains("do not belong together"));
    assert!(TextModel::new(bag, tokenizer("wordpiece.json"), Some(0)).is_err());
    let model = model("bag.onnx");
    let examples = reviews(4);
    let try_plan = |plan: &TextPlan| attack_text(&model, &examples, plan, &mut |_, _| {}).unwrap_err().to_string();
    for plan in [
        TextPlan { edits: EditLimit::Words(0), ..TextPlan::default() },
        TextPlan { edits: EditLimit::Share(1.5), ..TextPlan::default() },
        TextPlan { edits: EditLimit::Share(f64::NAN), ..TextPlan::default() },
        TextPlan { queries: 1, ..TextPlan::default() },
        TextPlan { methods: vec![TextMethod::Guided(Kind::Synonyms)], ..TextPlan::default() },
    ] {
        assert!(!try_plan(&plan).is_empty());
    }
    let labels = TextExamples::new(vec!["a".into()], vec![7]).unwrap();
    let error = attack_text(&model, &labels, &TextPlan::default(), &mut |_, _| {}).unwrap_err();
    assert!(matches!(error, AttackError::Label { label: 7, classes: 2, .. }), "{error}");
    assert!(TextExamples::new(Vec::new(), Vec::new()).is_err());
    assert!(TextExamples::new(vec!["a".into()], Vec::new()).is_err());
    assert!(TextExamples::new(vec!["a".repeat(1 << 17)], vec![0]).is_err());
    assert!(TextMethod::named("magic").unwrap_err().to_string().contains("hotflip"));
}

#[test]
fn a_sample_keeps_the_places_of_its_texts() {
    let source = TextCallback::scores("counter", digest(), |texts| Ok(counting(texts)));
    let texts: Vec<String> = (0..30).map(|at| format!("day {at}{}", if at == 17 { " good" } else { "" })).collect();
    let labels = texts.iter().map(|text| usize::from(text.contains("good"))).collect();
    let examples = TextExamples::new(texts, labels).unwrap();
    let methods = vec![TextMethod::Guided(Kind::Characters)];
    let plan = TextPlan { methods, edits: EditLimit::Words(1), ..TextPlan::default() };
    for seed in 0..40 {
        let some = examples.clone().sample(20, seed);
        assert_eq!(some.count(), 20);
        let report = attacked(&source, &some, &plan);
        if let [example] = &report.examples[..] {
            assert_eq!((example.text, example.original.as_str()), (17, "day 17 good"));
            return;
        }
    }
    unreachable!("no sample of 20 in 30 has the text");
}

/// Prints what each attack does to the two models: `-- --ignored --nocapture measure_texts`.
#[test]
#[ignore = "prints figures"]
fn measure_texts() {
    let synonyms =
        "good: fine, nice\ngreat: superb, lovely\nbad: poor\nawful: dreadful, terrible\nboring: dull, tedious";
    for name in ["bag.onnx", "encoder.onnx"] {
        let synonyms = Synonyms::parse(synonyms).unwrap();
        let plan = TextPlan { edits: EditLimit::Words(2), synonyms, ..TextPlan::default() };
        let begun = std::time::Instant::now();
        let report = attacked(&model(name), &reviews(40), &plan);
        eprintln!(
            "{name}: {:?}, clean {}, {} questions, {:.1?}",
            report.verdict,
            report.clean_accuracy,
            report.asked,
            begun.elapsed()
        );
        for row in &report.results {
            eprintln!(
                "  {:18} {:.3} {:.3?} edits {:?} queries {}",
                row.attack, row.accuracy, row.ci95, row.edits_mean, row.queries
            );
        }
        for worst in &report.worst_case {
            let curve: Vec<f64> = worst.curve.iter().map(|point| point.accuracy).collect();
            eprintln!("  {:?} {:.3} {:.3?} {curve:?}", worst.scope, worst.accuracy, worst.ci95);
        }
        for check in &report.checks {
            eprintln!("  {} {}: {}", check.name, check.passed, check.detail);
        }
        for example in report.examples.iter().take(3) {
            eprintln!("  {} | {} | {}", example.attack, example.original, example.changed);
        }
    }
}

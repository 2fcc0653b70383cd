//! What a job says of its training: read from its lines, its files and the channel, and never believed to be well-formed.

use std::{fs, path::Path};

use proptest::prelude::*;
use ringfence_sandbox::run::claims::{record, talk::Talk, tfevents::EventFile, trainer_state};
use ringfence_schema::event::{Progress, Told};
use serde_json::{Value, json};

/// One case of `claims/lines.jsonl`: the lines of one stream and what they say.
#[derive(serde::Deserialize)]
struct Case {
    of: String,
    lines: Vec<String>,
    told: Vec<Value>,
}

/// A progress without what goes without saying here.
fn brief(progress: &Progress) -> Value {
    let mut value = serde_json::to_value(progress).unwrap();
    let fields = value.as_object_mut().unwrap();
    fields.remove("told");
    if fields["diverged"] == false {
        fields.remove("diverged");
    }
    value
}

#[test]
fn trainers_are_understood_and_others_are_not_misunderstood() {
    let text = include_str!("claims/lines.jsonl");
    let mut wrong = Vec::new();
    let mut lines = 0;
    for line in text.lines() {
        let case: Case = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let mut talk = Talk::new();
        let told: Vec<Value> = case.lines.iter().filter_map(|line| talk.line(line)).map(|each| brief(&each)).collect();
        lines += case.lines.len();
        if told != case.told {
            wrong.push(format!("{}:\n  expected {}\n  told     {}", case.of, json!(case.told), json!(told)));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), text.lines().count(), wrong.join("\n"));
    assert!(lines >= 150, "{lines} lines");
}

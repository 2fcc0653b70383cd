//! What a job says of its training: read from its lines, its files and the channel, and never believed to be well-formed.

use std::{fs, path::Path};

use proptest::prelude::*;
use ringfence_sandbox::run::claims::{Nonsense, record, talk::Talk, tfevents::EventFile, trainer_state};
use ringfence_schema::event::{Progress, Told};
use serde_json::{Value, json};

use crate::stage::{Setting, Stage, events, lines, settings, shell};

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
    let mut wrong = Vec::new();
    let mut lines = 0;
    for line in LINES.lines() {
        let case: Case = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let mut talk = Talk::new();
        let told: Vec<Value> = case.lines.iter().filter_map(|line| talk.line(line)).map(|each| brief(&each)).collect();
        lines += case.lines.len();
        if told != case.told {
            wrong.push(format!("{}:\n  expected {}\n  told     {}", case.of, json!(case.told), json!(told)));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), LINES.lines().count(), wrong.join("\n"));
    assert!(lines >= 150, "{lines} lines");
}

fn told_by(file: &[u8], piece: usize) -> Vec<Progress> {
    let (mut reader, mut told) = (EventFile::new("events.out.tfevents.1"), Vec::new());
    for piece in file.chunks(piece) {
        reader.push(piece, &mut |progress| told.push(progress)).unwrap();
    }
    told
}

#[test]
fn event_files_of_real_writers_are_read() {
    let tensorboard = Progress { told: Told::Tensorboard, ..Progress::default() };
    let mut expected: Vec<Progress> = (1..=5_u8)
        .map(|step| Progress {
            step: Some(u64::from(step)),
            loss: Some(f64::from(2.0_f32 / f32::from(step))),
            learning_rate: Some(f64::from(0.5_f32.powi(i32::from(step)))),
            gradient_norm: Some(1.0 + f64::from(step)),
            ..tensorboard.clone()
        })
        .collect();
    expected.last_mut().unwrap().evaluation_loss = Some(0.75);
    expected.push(Progress { step: Some(6), diverged: true, ..tensorboard.clone() });
    assert_eq!(told_by(TENSORBOARD_X, usize::MAX), expected);
    let tensors = [
        Progress { epoch: Some(0.0), loss: Some(0.5), learning_rate: Some(0.25), ..tensorboard.clone() },
        Progress { epoch: Some(1.0), loss: Some(0.375), ..tensorboard.clone() },
        Progress { step: Some(40), loss: Some(0.125), ..tensorboard.clone() },
        Progress { step: Some(43), loss: Some(0.5), ..tensorboard },
    ];
    // Byte by byte, as a file that grows: one event for each value then.
    let mut joined: Vec<Progress> = Vec::new();
    for next in told_by(TENSORBOARD_TWO, 1) {
        match joined.last_mut().filter(|last| (last.step, last.epoch) == (next.step, next.epoch)) {
            Some(last) => ringfence_sandbox::run::claims::merge(last, next),
            None => joined.push(next),
        }
    }
    assert_eq!(joined, tensors);
}

#[test]
fn the_state_that_transformers_writes_is_read() {
    let history = trainer_state::history(TRAINER_STATE).unwrap();
    let briefs: Vec<Value> = history.iter().flatten().map(brief).collect();
    let expected = [
        json!({"step": 10, "epoch": 1.0, "loss": 1.5, "gradient_norm": 2.5, "learning_rate": 5e-05}),
        json!({"step": 10, "epoch": 1.0, "evaluation_loss": 1.25}),
        json!({"step": 20, "epoch": 2.0, "learning_rate": 2.5e-05, "diverged": true}),
    ];
    assert_eq!((history.len(), briefs.as_slice()), (4, expected.as_slice()));
}

proptest! {
    #[test]
    fn no_line_is_too_strange(text in "\\PC{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut talk = Talk::new();
        for line in [text.as_str(), &String::from_utf8_lossy(&bytes)] {
            for _ in 0..2 {
                check(talk.line(line))?;
            }
        }
    }

    #[test]
    fn no_mixture_of_what_trainers_print_is_too_strange(pieces in prop::collection::vec(0..PIECES.len(), 0..40)) {
        let mut talk = Talk::new();
        let line: String = pieces.iter().map(|piece| PIECES[*piece]).collect();
        check(talk.line(&line))?;
        check(talk.line(&line))?;
    }

    #[test]
    fn no_file_is_too_strange(at in 0..10_000_usize, bytes in prop::collection::vec(any::<u8>(), 0..64), piece in 1..5_000_usize) {
        let mut file = TENSORBOARD_X.to_vec();
        let at = at.min(file.len());
        file.splice(at..(at + bytes.len()).min(file.len()), bytes.iter().copied());
        let mut reader = EventFile::new("a/b");
        let mut broken = 0;
        for piece in file.chunks(piece) {
            let mut outcome = Ok(());
            broken += usize::from(reader.push(piece, &mut |told| outcome = check(Some(told))).is_err());
            outcome?;
        }
        prop_assert!(broken <= 1);
        let _ = trainer_state::history(&bytes);
        if let Ok(told) = record::line(&bytes) {
            check(Some(told))?;
        }
    }
}

/// What holds for everything that is told.
fn check(told: Option<Progress>) -> Result<(), TestCaseError> {
    let Some(told) = told else { return Ok(()) };
    let numbers = [told.epoch, told.loss, told.evaluation_loss, told.learning_rate, told.gradient_norm];
    prop_assert!(numbers.iter().flatten().all(|number| number.is_finite()), "{:?}", told);
    prop_assert!(told.epoch.is_none_or(|epoch| epoch >= 0.0) && told.learning_rate.is_none_or(|rate| rate >= 0.0));
    Ok(())
}

/// What the jobs below find in their program folder.
fn stage_files(stage: &Stage) -> Value {
    let files = [("events", TENSORBOARD_X), ("trainer_state.json", TRAINER_STATE)];
    let path = |(name, bytes): (&str, &[u8])| {
        let path = stage.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    json!(files.map(path))
}

fn drive(setting: Setting, stage: &Stage, script: &str) -> Value {
    let mut order = shell(script);
    order["program_files"] = stage_files(stage);
    setting.drive(stage, &order)
}

fn by<'a>(document: &'a Value, told: &str) -> Vec<&'a Value> {
    events(document, "progress").into_iter().filter(|event| event["told"] == told).collect()
}

#[test]
fn every_way_to_tell_progress_arrives() {
    let stage = Stage::new();
    for setting in settings() {
        if setting.level(&stage).is_none() {
            continue;
        }
        let document = drive(
            setting,
            &stage,
            "mkdir -p $RINGFENCE_OUT/run/checkpoint-20 $TMPDIR/logs
             cp events $TMPDIR/logs/events.out.tfevents.1.host
             cp trainer_state.json $RINGFENCE_OUT/run/checkpoint-20/
             printf 'step 3 loss 0.25\\n'
             printf '\\r 10%%|#  | 10/100 [00:01<00:09, 9.9it/s]\\r 20%%|## | 20/100 [00:02<00:08, 9.9it/s]\\n' >&2
             echo '{\"step\": 7, \"labels\": {\"cat\": 5}, \"checkpoint\": \"model.bin\"}' >> $RINGFENCE_PROGRESS
             echo '{\"step\": 8, \"loss\": 0.5}' >> $RINGFENCE_PROGRESS",
        );
        assert_eq!(document["result"]["ending"], json!({"exited": 0}), "{setting:?}: {document}");
        let output = by(&document, "output");
        assert!(output.iter().any(|told| told["step"] == 3 && told["loss"] == 0.25), "{setting:?}: {output:?}");
        assert!(output.iter().any(|told| told["step"] == 10) && output.iter().any(|told| told["step"] == 20));
        assert_eq!(lines(&document, "stderr"), [" 20%|## | 20/100 [00:02<00:08, 9.9it/s]"], "{setting:?}");
        let socket = by(&document, "socket");
        assert_eq!((&socket[0]["labels"]["cat"], &socket[0]["checkpoint"]), (&json!(5), &json!("model.bin")));
        assert_eq!((&socket[1]["step"], &socket[1]["loss"]), (&json!(8), &json!(0.5)), "{setting:?}");
        assert_eq!(by(&document, "tensorboard").len(), 6, "{setting:?}");
        assert_eq!(by(&document, "trainer-state").len(), 3, "{setting:?}");
        assert_eq!(events(&document, "nonsense").len(), 0, "{setting:?}");
    }
}

#[test]
fn a_file_is_heard_while_the_job_runs() {
    let stage = Stage::new();
    for setting in settings() {
        if setting.level(&stage).is_none() {
            continue;
        }
        let mut order = shell("cp events $RINGFENCE_OUT/events.out.tfevents.1; sleep 30");
        order["program_files"] = stage_files(&stage);
        // The driver stops the run at the first claim.
        order["stop_at_line"] = json!(true);
        let document = setting.drive(&stage, &order);
        assert_eq!(document["result"]["ending"], "stopped", "{setting:?}");
        assert!(!by(&document, "tensorboard").is_empty(), "{setting:?}: {document}");
    }
}

#[test]
fn the_socket_leads_one_way() {
    if !Path::new("/usr/bin/python3").exists() {
        eprintln!("skipped, there is no /usr/bin/python3");
        return;
    }
    let stage = Stage::new();
    for setting in settings() {
        let Some(level) = setting.level(&stage) else { continue };
        fs::write(stage.path().join("talk.py"), PYTHON_PROGRAM).unwrap();
        let order = json!({"command": ["python3", "talk.py"], "program_files": [stage.path().join("talk.py")]});
        let document = setting.drive(&stage, &order);
        assert_eq!(document["result"]["ending"], json!({"exited": 0}), "{setting:?}: {:?}", lines(&document, "stderr"));
        let steps: Vec<_> = by(&document, "socket").iter().map(|told| told["step"].as_u64().unwrap()).collect();
        let expected: &[u64] = if level == "landlock" { &[1] } else { &[1, 2, 3] };
        assert_eq!(steps, expected, "{setting:?}");
        let answer = if level == "landlock" { "no socket" } else { "answer b''" };
        assert_eq!(lines(&document, "stdout"), [answer], "{setting:?}");
    }
}

/// Tells by FIFO and by socket, and waits for an answer that must not come.
const PYTHON_PROGRAM: &str = r#"
import json, os, socket
with open(os.environ["RINGFENCE_PROGRESS"], "w") as channel:
    print(json.dumps({"step": 1}), file=channel, flush=True)
path = os.environ.get("RINGFENCE_PROGRESS_SOCKET")
if path is None:
    print("no socket")
else:
    with socket.socket(socket.AF_UNIX) as channel:
        channel.connect(path)
        channel.sendall(b'{"step": 2}\n{"st')
        channel.sendall(b'ep": 3}\n')
        print("answer", channel.recv(1))
"#;

#[test]
fn nonsense_and_floods_are_counted_and_end_nothing() {
    let stage = Stage::new();
    for setting in settings() {
        if setting.level(&stage).is_none() {
            continue;
        }
        let document = drive(
            setting,
            &stage,
            "cd $RINGFENCE_OUT
             ln -s /etc/passwd events.out.tfevents.link; mkfifo events.out.tfevents.fifo; mkdir events.out.tfevents.folder
             mkfifo trainer_state.json; mkdir deep; ln -s / deep/root; echo broken-broken-broken > deep/events.out.tfevents.2
             mkdir a; echo '{\"log_history\": 3}' > a/trainer_state.json
             i=0; while [ $i -lt 3000 ]; do : > $TMPDIR/$i; i=$((i + 1)); done
             cp $RINGFENCE_PROGRAM/events $TMPDIR/events.out.tfevents.late
             echo nonsense >> $RINGFENCE_PROGRESS; echo '{\"step\": -1}' >> $RINGFENCE_PROGRESS
             head -c 20000 /dev/zero | tr '\\0' x >> $RINGFENCE_PROGRESS; echo >> $RINGFENCE_PROGRESS
             head -c 1000000 /dev/zero | tr '\\0' '\\n' | sed 's/$/{\"step\": 5}/' >> $RINGFENCE_PROGRESS
             echo '{\"step\": 6}' >> $RINGFENCE_PROGRESS
             echo alive",
        );
        assert_eq!(document["result"]["ending"], json!({"exited": 0}), "{setting:?}: {:?}", lines(&document, "stderr"));
        assert_eq!(lines(&document, "stdout"), ["alive"], "{setting:?}");
        let nonsense = events(&document, "nonsense");
        for (told, detail) in [
            ("socket", Nonsense::Json),
            ("socket", Nonsense::Shape),
            ("socket", Nonsense::Long),
            ("socket", Nonsense::Fast),
            ("trainer-state", Nonsense::Shape),
            ("tensorboard", Nonsense::Record),
        ] {
            let named = |event: &&&Value| event["told"] == told && event["detail"] == detail.to_string();
            assert!(nonsense.iter().any(|event| named(&event)), "{setting:?}: no {told} {detail}: {nonsense:?}");
        }
        let told = by(&document, "socket");
        assert!((1..=FLOOD_EVENTS_MAX).contains(&told.len()), "{setting:?}: {}", told.len());
        assert_eq!(by(&document, "tensorboard").len(), 6, "{setting:?}");
    }
}

/// Cases: what lines say, and lines that say nothing.
const LINES: &str = include_str!("claims/lines.jsonl");
/// Samples that `make_event_files.py` wrote.
const TENSORBOARD_X: &[u8] = include_bytes!("claims/x.tfevents");
const TENSORBOARD_TWO: &[u8] = include_bytes!("claims/two.tfevents");
const TRAINER_STATE: &[u8] = include_bytes!("claims/trainer_state.json");
/// Far fewer events than lines.
const FLOOD_EVENTS_MAX: usize = 2_000;
/// Pieces of lines that trainers print.
const PIECES: &[&str] = &[
    "loss",
    "step",
    "epoch",
    "val",
    "train",
    "lr",
    "learning rate",
    "grad norm",
    "test",
    ":",
    "=",
    " ",
    "  ",
    "|",
    "[",
    "]",
    "(",
    ")",
    "{",
    "}",
    "'",
    "\"",
    ",",
    "\t",
    "-",
    "%|",
    "it/s",
    "/",
    "nan",
    "-inf",
    "1",
    "0.5",
    "3/10",
    "1e999",
    "1,234",
    "99999999999999999999",
    "é",
    "━",
    "\u{1b}[1m",
    "Saving model to ",
    "a/b",
    "at",
    "_",
    ".",
];

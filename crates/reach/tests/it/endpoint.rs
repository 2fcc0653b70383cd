//! Models behind endpoints on loopback: attacked as they would be here, and caught when they lie.

use std::{
    io::Write as _,
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use ringfence_attack::{
    Answers, AttackError, Endpoint as Source, Examples, Method, Plan, Unanswered, attack, attack_within_budget,
};
use ringfence_nn::{Model, OutputKind, Tensor, builder::Builder};
use ringfence_reach::{
    DenyRule, ReachError,
    endpoint::{AskError, Asker, Description, Endpoint, EndpointError, TEXT_BYTES_MAX, serve},
    testing::{Fault, Reply, Request, Server},
};
use ringfence_schema::{
    Timestamp,
    endpoint::QueryLedger,
    report::{AttackReport, Soundness},
};
use serde_json::{Value, json};

/// 64 values, ten classes: the nearest mean of the digits' training data.
fn nearest_mean() -> Model {
    let train = digits("train.csv", 600);
    let (mut weights, mut counts) = (vec![0.0_f32; 640], [0.0_f32; 10]);
    for (place, label) in train.labels().iter().enumerate() {
        counts[*label] += 1.0;
        weights[label * 64..][..64].iter_mut().zip(train.row(place)).for_each(|(sum, value)| *sum += value);
    }
    let (mut scaled, mut bias) = (Vec::new(), Vec::new());
    for (mean, count) in weights.chunks(64).zip(counts) {
        let mean: Vec<f32> = mean.iter().map(|sum| sum / count).collect();
        bias.push(-mean.iter().map(|value| value * value).sum::<f32>() / 2.0);
        scaled.extend(mean);
    }
    let mut model = Model::parse(&Builder::new("mean", 1).input("input", &[64]).linear(10).finish().unwrap()).unwrap();
    for (parameter, numbers) in model.parameters_mut().zip([scaled, bias]) {
        parameter.data.copy_from_slice(&numbers);
    }
    model
}

fn digits(file: &str, count: usize) -> Examples {
    let path = format!("{}/../../examples/digits/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let (mut data, mut labels) = (Vec::new(), Vec::new());
    for line in text.lines().skip(1).take(count) {
        let mut values: Vec<u8> = line.split(',').map(|value| value.parse().unwrap()).collect();
        labels.push(usize::from(values.pop().unwrap()));
        data.extend(values.into_iter().map(|value| f32::from(value) / 16.0));
    }
    Examples::new(Tensor { shape: vec![labels.len(), 64], data }, labels).unwrap()
}

/// Answers `{"inputs": [[…], …]}` with `{"outputs": [{"scores": […]}, …]}`.
fn answers(model: &Model, request: &Request) -> Value {
    let asked: Value = serde_json::from_slice(&request.body).unwrap();
    let inputs: Vec<Vec<f64>> = serde_json::from_value(asked["inputs"].clone()).unwrap();
    let x = Tensor { shape: vec![inputs.len(), 64], data: inputs.concat() };
    let scores = model.forward(&x).unwrap();
    json!({"outputs": scores.data.chunks(10).map(|row| json!({"scores": row})).collect::<Vec<_>>()})
}

fn model_server() -> Server {
    let model = nearest_mean();
    Server::start(0, move |request| Reply::json(&answers(&model, request))).unwrap()
}

/// One reply to everything.
fn says(body: &'static str) -> Server {
    Server::start(0, move |_| Reply::new(200, body.as_bytes())).unwrap()
}

/// The description of a model at `server`, with other lines on top.
fn described(server: &Server, more: &str) -> Description {
    let origin = server.origin();
    let text = format!(
        r#"
url = "{origin}/v1/digits?version=3"
network = "local"
template = '{{"inputs": "$inputs", "wanted": ["scores"]}}'
backoff-ms = 0
{more}
[input]
shape = [64]
[output]
kind = "logits"
classes = 10
pointer = "/outputs"
within = "/scores"
"#
    );
    toml::from_str(&text).unwrap()
}

fn open(description: Description) -> Result<Endpoint, ReachError> {
    Endpoint::with_clock(description, &|name| (name == "TOKEN").then(|| "s3cret-t0ken".to_owned()), || {
        Timestamp::from_millis(1_800_000_000_000)
    })
}

/// Lets `work` attack what `endpoint` reaches, as a keyless process does, and gives back the ledger too.
fn through<T>(mut endpoint: Endpoint, work: impl FnOnce(&Source<'_>) -> T) -> (T, QueryLedger) {
    let description = endpoint.description().clone();
    let digest = description.digest();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let served = thread::spawn(move || {
        serve(&ours, &mut endpoint).unwrap();
        endpoint
    });
    let asker = Asker::new(theirs, description);
    let classes = asker.description().output().classes;
    let result = {
        let kind = Answers::Scores(OutputKind::Logits);
        let source = Source::new("digits", vec![None, Some(64)], digest, kind, |x| match asker.ask(&x.data) {
            Ok(data) => Ok(Tensor { shape: vec![x.shape[0], classes], data }),
            Err(AskError::Spent { budget }) => Err(Unanswered::Spent { budget }),
            Err(error) => Err(Unanswered::Failed { problem: error.to_string() }),
        });
        work(&source)
    };
    drop(asker);
    (result, served.join().unwrap().ledger().clone())
}

fn plan() -> Plan {
    Plan { eps: vec![0.3], noise_tries: 2, attacks: vec![Method::Transfer], ..Plan::default() }
}

#[test]
fn a_model_far_away_has_the_card_that_it_has_here() {
    let (model, test) = (nearest_mean(), digits("test.csv", 6));
    let server = model_server();
    let endpoint = open(described(&server, "budget = 1000000\nbatch = 64")).unwrap();
    let digest = endpoint.description().digest();
    let (card, ledger) = through(endpoint, |source| attack(source, &test, &plan(), &mut |_| {}).unwrap());
    let asked = AtomicU64::new(0);
    let direct = Source::new("digits", vec![None, Some(64)], digest, Answers::Scores(OutputKind::Logits), |x| {
        asked.fetch_add(x.shape[0] as u64, Ordering::Relaxed);
        model.forward(x).map_err(|error| Unanswered::Failed { problem: error.to_string() })
    });
    let here = attack(&direct, &test, &plan(), &mut |_| {}).unwrap();
    assert_eq!(card, here);
    assert!(card.clean_accuracy.unwrap() > 0.6, "{card:?}");
    assert_eq!((ledger.spent, ledger.answered), (asked.load(Ordering::Relaxed), asked.load(Ordering::Relaxed)));
    assert_eq!(ledger.requests, server.log().len() as u64);
    assert_eq!((ledger.repeats, ledger.exhausted), (0, false));
    assert_eq!(ledger.spans.iter().map(|span| span.queries).sum::<u64>(), ledger.spent);
    assert_eq!(ledger.endpoint, format!("{}/v1/digits", server.origin()), "no query");

    let endpoint = open(described(&server, "budget = 100")).unwrap();
    let white = Plan { attacks: vec![Method::ApgdCe], ..plan() };
    let (error, _) = through(endpoint, |source| attack(source, &test, &white, &mut |_| {}).unwrap_err());
    assert_eq!(error.to_string(), "`apgd-ce` needs input gradients, `digits` gives no more than scores");
}

#[test]
fn a_spent_budget_ends_in_what_was_finished() {
    let test = digits("test.csv", 6);
    let server = model_server();
    let mut endpoint = open(described(&server, "budget = 1000000\nbatch = 64")).unwrap();
    endpoint.grant(200);
    let card = |source: &Source<'_>| attack_within_budget(source, &test, &plan(), &mut |_| {});
    let (card, ledger): (Result<AttackReport, AttackError>, _) = through(endpoint, card);
    let card = card.unwrap();
    assert_eq!(card.verdict, Soundness::Unsound);
    assert!(card.worst_case.is_empty() && card.checks.iter().any(|check| check.name == "budget"), "{card:?}");
    assert!(ledger.exhausted && ledger.spent <= 200 && ledger.budget == 200, "{ledger:?}");
}

#[test]
fn a_busy_endpoint_is_asked_again_and_every_question_counts() {
    let server = model_server();
    let busy = |patience: &str| Fault::Instead(Reply::new(429, b"".as_slice()).with("retry-after", patience));
    server.spoil("POST", 2, busy("0"));
    let mut endpoint = open(described(&server, "budget = 10\nbatch = 2")).unwrap();
    assert!(endpoint.ask(&[0.5; 128]).is_ok());
    let ledger = endpoint.ledger().clone();
    assert_eq!((ledger.requests, ledger.repeats, ledger.spent, ledger.answered), (3, 2, 6, 2));
    server.spoil("POST", 100, busy("0"));
    let error = endpoint.ask(&[0.5; 128]).unwrap_err();
    assert!(matches!(error, EndpointError::Spent { budget: 10 }), "repeats are paid for: {error}");

    let server = model_server();
    server.spoil("POST", 1, busy("7200"));
    let mut endpoint = open(described(&server, "budget = 10")).unwrap();
    let error = endpoint.ask(&[0.5; 64]).unwrap_err();
    assert!(error.to_string().ends_with("answers 429 and wants to be asked again after 7200 s"), "{error}");
}

#[test]
fn an_endpoint_that_stalls_leads_away_or_talks_too_much_is_named() {
    let fails = |fault: Fault, part: &str| {
        let server = model_server();
        server.spoil("POST", 1, fault);
        let more = "budget = 10\ntimeout-ms = 200\nanswer-bytes-max = 5000\nattempts = 1";
        let error = open(described(&server, more)).unwrap().ask(&[0.5; 64]).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    fails(Fault::DripHead(40), "took too long");
    fails(Fault::DripBody(40), "took too long");
    fails(Fault::Instead(Reply::new(302, b"".as_slice()).with("location", "http://127.0.0.1:1/")), "answers 302");
    fails(
        Fault::Instead(Reply::new(500, b"{\"error\": \"out of\\u001b[31m memory\"}".as_slice())),
        "answers 500: out of",
    );
    fails(Fault::Instead(Reply::new(200, vec![b' '; 6_000].as_slice())), "larger than 5000 bytes");
    fails(Fault::HugeHeader(100_000), "larger than");
    fails(Fault::Raw(b"HTTP/1.1 what?\r\n\r\n".to_vec()), "127.0.0.1");
    fails(Fault::CutAfter(3), "127.0.0.1");
}

#[test]
fn lies_are_no_numbers() {
    let cases = [
        ("no", "the answer is not JSON"),
        ("{\"outputs\": [], \"outputs\": []}", "the answer is not JSON"),
        ("{\"output\": []}", "nothing stands at `/outputs` in the answer"),
        ("{\"outputs\": {}}", "nothing stands at `/outputs` in the answer"),
        ("{\"outputs\": []}", "0 answers to 1 inputs"),
        ("{\"outputs\": [{\"scores\": [1, 2]}, {\"scores\": [1, 2]}]}", "2 answers to 1 inputs"),
        ("{\"outputs\": [[1, 2]]}", "nothing stands at `/scores` in the answer"),
        ("{\"outputs\": [{\"scores\": [1, 2]}]}", "answer 0 has 2 scores, the description says 10 classes"),
        ("{\"outputs\": [{\"scores\": [0, 0, 0, 0, null, 0, 0, 0, 0, 0]}]}", "score 4 of answer 0 is not a number"),
        ("{\"outputs\": [{\"scores\": [0, 0, \"1\", 0, 0, 0, 0, 0, 0, 0]}]}", "score 2 of answer 0 is not a number"),
        ("{\"outputs\": [{\"scores\": [NaN, 0, 1, 0, 0, 0, 0, 0, 0, 0]}]}", "the answer is not JSON"),
        ("{\"outputs\": [{\"scores\": [1e999, 0, 1, 0, 0, 0, 0, 0, 0, 0]}]}", "the answer is not JSON"),
    ];
    for (body, expected) in cases {
        let server = says(body);
        let endpoint = open(described(&server, "budget = 10")).unwrap();
        let one = Examples::new(Tensor { shape: vec![1, 64], data: vec![0.5; 64] }, vec![0]).unwrap();
        let (error, _) = through(endpoint, |source| attack(source, &one, &plan(), &mut |_| {}).unwrap_err());
        let AttackError::Source { model, problem } = error else { panic!("{error}") };
        assert_eq!(model, "digits");
        assert!(problem.starts_with(expected), "{body}: {problem}");
    }
}

fn read(output: &str, body: &str, rows: usize) -> Result<Vec<f64>, String> {
    let single = rows == 1 && !body.starts_with('[');
    let text = format!(
        "url = \"https://models.example.org/\"\nbudget = 1\nbatch = {}\ntemplate = '{}'\n[input]\nshape = [2]\n[output]\n{output}",
        if single { 1 } else { 8 },
        if single { "\"$input\"" } else { "\"$inputs\"" }
    );
    let description: Description = toml::from_str(&text).unwrap();
    description.answer(body.as_bytes(), rows).map_err(|fault| fault.to_string())
}

#[test]
fn scores_must_be_what_they_are_said_to_be() {
    let probabilities = "kind = \"probabilities\"\nclasses = 2";
    assert_eq!(read(probabilities, "[[0.25, 0.75], [1, 0]]", 2), Ok(vec![0.25, 0.75, 1.0, 0.0]));
    assert_eq!(read(probabilities, "[[1.000001, -0.0000001]]", 1), Ok(vec![1.0, 0.0]), "what f32 does");
    let wrong = |output: &str, body: &str| read(output, body, 1).unwrap_err();
    assert_eq!(wrong(probabilities, "[[1.5, 0]]"), "score 0 of answer 0 is 1.5, which is no probability");
    assert_eq!(wrong(probabilities, "[[0.5, -0.5]]"), "score 1 of answer 0 is -0.5, which is no probability");
    assert_eq!(wrong(probabilities, "[[0.9, 0.9]]"), "the probabilities of answer 0 sum to 1.800");
    assert_eq!(wrong(probabilities, "[[0, 0]]"), "the probabilities of answer 0 sum to 0.000");
    let logarithms = "kind = \"log-probabilities\"\nclasses = 2";
    assert_eq!(wrong(logarithms, "[[2, -1]]"), "score 0 of answer 0 is 2, which is no logarithm of a probability");
    let named = "kind = \"probabilities\"\nclasses = 2\nnames = [\"cat\", \"dog\"]";
    assert_eq!(read(named, "[{\"dog\": 0.25, \"cat\": 0.75}]", 1), Ok(vec![0.75, 0.25]));
    assert_eq!(
        wrong(named, "[{\"dog\": 0.25, \"cow\": 0.75}]"),
        "answer 0 has 1 scores, the description says 2 classes"
    );
    let label = "kind = \"label\"\nclasses = 3\nnames = [\"cat\", \"dog\", \"cow\"]\npointer = \"/class\"";
    assert_eq!(read(label, "{\"class\": 2}", 1), Ok(vec![0.0, 0.0, 1.0]));
    assert_eq!(read(label, "{\"class\": \"dog\"}", 1), Ok(vec![0.0, 1.0, 0.0]));
    for body in ["{\"class\": 3}", "{\"class\": -1}", "{\"class\": 0.5}", "{\"class\": \"ox\"}", "{\"class\": [1]}"] {
        assert_eq!(wrong(label, body), "answer 0 is no class of the 3 that are described");
    }
}

#[test]
fn classes_may_be_objects_in_any_order() {
    let output = "kind = \"probabilities\"\nclasses = 3\nnames = [\"cat\", \"dog\", \"cow\"]\nobjects = {}";
    let body = r#"[[{"label":"dog","score":0.7},{"score":0.1,"label":"cow","rank":2},{"label":"cat","score":0.2}]]"#;
    assert_eq!(read(output, body, 1).unwrap(), [0.2, 0.7, 0.1]);
    let keyed = output.replace("objects = {}", "objects = { label = \"class\", score = \"p\" }\nwithin = \"/all\"");
    let body = r#"[{"all":[{"class":"cow","p":0},{"class":"cat","p":1},{"class":"dog","p":0}]}]"#;
    assert_eq!(read(&keyed, body, 1).unwrap(), [1.0, 0.0, 0.0]);
    for (body, why) in [
        (r#"[[{"label":"dog","score":0.7},{"label":"cat","score":0.3}]]"#, "no score for the class `cow`"),
        (
            r#"[[{"label":"dog","score":0.7},{"label":"cat","score":0.2},{"label":"cow","score":0.1},{"label":"dog","score":0}]]"#,
            "class `dog` twice",
        ),
        (
            r#"[[{"label":"dog","score":0.7},{"label":"cat","score":0.2},{"label":"bird","score":0.1}]]"#,
            "a class `bird`, which",
        ),
        (
            r#"[[{"label":"dog","score":0.7},{"label":"cat","score":0.2},{"label":"cow\u001b[31m","score":0.1}]]"#,
            "which the description does not name",
        ),
        (r#"[[{"label":"dog","score":0.7},{"label":"cat"},{"label":"cow","score":0.1}]]"#, "entry 1 of answer 0"),
        (r#"[[{"label":0,"score":0.7}]]"#, "entry 0 of answer 0"),
        ("[[0.2,0.7,0.1]]", "entry 0 of answer 0"),
        (
            r#"[[{"label":"dog","score":"high"},{"label":"cat","score":0.2},{"label":"cow","score":0.1}]]"#,
            "score 1 of answer 0 is not a number",
        ),
        (r#"[[{"label":"dog","score":0.7},{"label":"cat","score":0.7},{"label":"cow","score":0.7}]]"#, "sum to 2.1"),
        (r#"[{"cat":0.2,"dog":0.7,"cow":0.1}]"#, "nothing stands at `/0/0`"),
        ("[[]]", "no score for the class `cat`"),
    ] {
        let refused = read(output, body, 1).unwrap_err();
        assert!(refused.contains(why) && !refused.contains('\u{1b}'), "{body}: {refused}");
    }
}

#[test]
fn a_question_is_written_as_described() {
    let asked = |template: &str, input: &str, batch: usize, values: &[f64]| {
        let text = format!(
            "url = \"https://models.example.org/\"\nbudget = 9\nbatch = {batch}\ntemplate = '{template}'\n[input]\n{input}\n\
             [output]\nkind = \"label\"\nclasses = 2"
        );
        let description: Description = toml::from_str(&text).unwrap();
        String::from_utf8(description.question(values)).unwrap()
    };
    let six = [0.1, 0.5, 1.0, 0.0, -1.0, 0.25];
    let nested = asked("{\"$inputs\": 1, \"x\": \"$inputs\"}", "shape = [1, 2]", 4, &six[..4]);
    assert_eq!(nested, "{\"$inputs\":1,\"x\":[[[0.1,0.5]],[[1.0,0.0]]]}");
    assert_eq!(asked("[\"$input\"]", "shape = [2, 3]", 1, &six), "[[[0.1,0.5,1.0],[0.0,-1.0,0.25]]]");
    assert_eq!(asked("\"$input\"", "shape = [2, 3]\nflat = true", 1, &six), "[0.1,0.5,1.0,0.0,-1.0,0.25]");
    let bytes = asked("\"$inputs\"", "shape = [6]\nscale = 255\noffset = 0.0\nwhole = true", 2, &six);
    assert_eq!(bytes, "[[26,128,255,0,-255,64]]");
}

/// How much is good about each text, in `{"outputs": [{"label": "good", "score": …}, …]}` and the other way about.
fn counts(request: &Request) -> Value {
    let asked: Value = serde_json::from_slice(&request.body).unwrap();
    let texts: Vec<String> = serde_json::from_value(asked["inputs"].clone()).unwrap();
    let of = |text: &String| {
        let good = (text.matches("good").count() as f64 + 1.0) / (text.matches("bad").count() as f64 + 2.0);
        let share = good / (good + 1.0);
        json!([{"label": "good", "score": share}, {"label": "bad", "score": 1.0 - share}])
    };
    Value::Array(texts.iter().map(of).collect())
}

const TEXTS: &str = "[input]\ntext = true\n[output]\nkind = \"probabilities\"\nclasses = 2\nnames = [\"bad\", \"good\"]\nobjects = {}\n";

#[test]
fn texts_are_asked_about_as_they_are() {
    let server = Server::start(0, |request| Reply::json(&counts(request))).unwrap();
    let head =
        format!("url = \"{}\"\nnetwork = \"local\"\ntemplate = '{{\"inputs\": \"$inputs\"}}'\n", server.origin());
    let description: Description = toml::from_str(&format!("{head}budget = 9\nbatch = 2\n{TEXTS}")).unwrap();
    assert!(description.is_text());
    let mut endpoint = open(description.clone()).unwrap();
    assert!(endpoint.ask(&[0.5]).is_err() && endpoint.ledger().requests == 0, "numbers are no texts");
    let (ours, theirs) = UnixStream::pair().unwrap();
    let served = thread::spawn(move || {
        serve(&ours, &mut endpoint).unwrap();
        endpoint
    });
    let asker = Asker::new(theirs, description);
    let texts =
        ["a \"good\" day\n\u{0}", "so b\u{200b}ad \u{1f600}", "\\bad\u{7f}", "", "good good"].map(str::to_owned);
    let scores = asker.ask_texts(&texts).unwrap();
    let good: Vec<f64> = scores.chunks(2).map(|row| row[1]).collect();
    for (found, wanted) in good.iter().zip([1.0 / 2.0, 1.0 / 3.0, 1.0 / 4.0, 1.0 / 3.0, 3.0 / 5.0]) {
        assert!((found - wanted).abs() < 1e-12, "{good:?}");
    }
    assert!(matches!(asker.ask(&[0.5]), Err(AskError::Failed { .. })));
    let long = asker.ask_texts(&["x".repeat(TEXT_BYTES_MAX + 1)]).unwrap_err();
    assert!(long.to_string().contains("limit is"), "{long}");
    assert_eq!(asker.ask_texts(&texts), Err(AskError::Spent { budget: 9 }));
    drop(asker);
    let ledger = served.join().unwrap().ledger().clone();
    assert_eq!((ledger.spent, ledger.requests, ledger.exhausted), (9, 5, true), "the last text would be the tenth");
}

#[test]
fn a_hostile_child_sends_no_texts_beyond_the_limits() {
    let server = Server::start(0, |request| Reply::json(&counts(request))).unwrap();
    let text =
        format!("url = \"{}\"\nnetwork = \"local\"\ntemplate = '\"$inputs\"'\nbudget = 9\n{TEXTS}", server.origin());
    let u32 = |number: usize| u32::try_from(number).unwrap().to_le_bytes();
    let cases =
        [[u32(1), u32(TEXT_BYTES_MAX + 1)].concat(), [&u32(1)[..], &u32(2), &[0xff, 0xfe]].concat(), u32(2).to_vec()];
    for bytes in cases {
        let mut endpoint = open(toml::from_str(&text).unwrap()).unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(&bytes).unwrap();
        drop(theirs);
        assert!(serve(&ours, &mut endpoint).is_err(), "{bytes:?}");
        assert_eq!(endpoint.ledger().requests, 0);
    }
}

#[test]
fn a_file_that_describes_no_endpoint_is_refused() {
    let whole = "url = \"https://models.example.org/v1\"\nbudget = 10\ntemplate = '\"$inputs\"'\n[input]\nshape = [4]\n[output]\nkind = \"label\"\nclasses = 2\n";
    assert!(toml::from_str::<Description>(whole).is_ok());
    let refused = |from: &str, to: &str, part: &str| {
        assert!(whole.contains(from));
        let error = toml::from_str::<Description>(&whole.replace(from, to)).unwrap_err().to_string();
        assert!(error.contains(part), "{to}: {error}");
    };
    refused("budget = 10", "", "missing field `budget`");
    refused("budget = 10", "budget = 0", "`budget` of the endpoint cannot be used");
    refused("budget = 10", "budget = 10\nretries = 3", "unknown field `retries`");
    refused("https://models.example.org/v1", "ftp://models.example.org", "`url` of the endpoint");
    refused("https://models.example.org/v1", "https://ana:secret@models.example.org", "`url` of the endpoint");
    refused("\"$inputs\"", "\"inputs\"", "must stand in it as one value, 0 do");
    refused("\"$inputs\"", "[\"$inputs\", \"$input\"]", "must stand in it as one value, 2 do");
    refused("\"$inputs\"", "{", "`template` of the endpoint");
    refused("budget = 10", "budget = 10\nbatch = 5000", "`batch` of the endpoint");
    refused("budget = 10", "budget = 10\nrequests-per-s = 0", "`requests-per-s` of the endpoint");
    refused("'\"$inputs\"'", "'\"$input\"'\nbatch = 2", "the template holds one input");
    refused("shape = [4]", "shape = []", "`input.shape` of the endpoint");
    refused("shape = [4]", "", "`input.shape` of the endpoint");
    assert!(toml::from_str::<Description>(&whole.replace("shape = [4]", "text = true")).is_ok());
    refused("shape = [4]", "text = true\nshape = [4]", "`input.text` of the endpoint");
    refused("shape = [4]", "text = true\nscale = 2.0", "`input.text` of the endpoint");
    refused(
        "budget = 10\ntemplate = '\"$inputs\"'\n[input]\nshape = [4]",
        "budget = 10\nbatch = 257\ntemplate = '\"$inputs\"'\n[input]\ntext = true",
        "at most 256 texts",
    );
    refused("shape = [4]", "shape = [4294967296, 4294967296]", "cannot be used");
    refused("shape = [4]", "shape = [4]\nscale = nan", "`input.scale` of the endpoint");
    refused("classes = 2", "classes = 1", "`output.classes` of the endpoint");
    refused("classes = 2", "classes = 2\nnames = [\"a\", \"a\"]", "1 different names for 2 classes");
    refused("classes = 2", "classes = 2\nobjects = {}", "a label alone");
    let scores = |more: &str| format!("kind = \"logits\"\nclasses = 2\n{more}");
    let last = "kind = \"label\"\nclasses = 2\n";
    refused(last, &scores("objects = {}"), "the names must be known");
    refused(last, &scores("names = [\"a\", \"b\"]\nobjects = { label = \"x\", score = \"x\" }"), "different keys");
    refused(last, &scores("names = [\"a\", \"b\"]\nobjects = { name = \"x\" }"), "unknown field");
    refused("classes = 2", "classes = 2\npointer = \"scores\"", "`output.pointer` of the endpoint");
    refused("kind = \"label\"", "kind = \"vibes\"", "unknown variant `vibes`");
    let header = |line: &str, part: &str| refused("[input]", &format!("[headers]\n{line}\n[input]"), part);
    header("authorization = { value = \"Bearer s3cret\" }", "a secret does not stand in the file");
    header("x-api-key = { value = \"s3cret\" }", "a secret does not stand in the file");
    header("host = { value = \"other\" }", "is written by Ringfence itself");
    header("x-model = { value = \"a\\r\\nb\" }", "visible ASCII");
    header("\"x model\" = { value = \"a\" }", "small letters");
}

#[test]
fn a_secret_goes_to_its_endpoint_and_into_nothing_else() {
    let server = model_server();
    let secret = "budget = 10\n[headers]\nauthorization = { bearer = \"TOKEN\" }\nx-model = { value = \"digits 3\" }";
    let mut endpoint = open(described(&server, secret)).unwrap();
    endpoint.ask(&[0.5; 64]).unwrap();
    assert_eq!(server.log()[0].authorization.as_deref(), Some("Bearer s3cret-t0ken"));
    let shown =
        format!("{endpoint:?} {:?} {}", endpoint.ledger(), serde_json::to_string(endpoint.description()).unwrap());
    assert!(!shown.contains("s3cret"), "{shown}");

    let missing = open(described(&server, "budget = 10\n[headers]\nx-key = { environment = \"NOT_SET\" }"));
    assert_eq!(missing.unwrap_err().to_string(), "setting `headers` cannot be used: `NOT_SET` is not set");
    let clear: Description = toml::from_str(
        "url = \"http://models.example.org/\"\nbudget = 1\ntemplate = '\"$inputs\"'\n[headers]\nauthorization = { bearer = \"TOKEN\" }\n\
         [input]\nshape = [4]\n[output]\nkind = \"label\"\nclasses = 2",
    )
    .unwrap();
    let error = open(clear).unwrap_err().to_string();
    assert_eq!(
        error,
        "setting `headers` cannot be used: the secret of `authorization` is not sent in the clear; use https"
    );
}

#[test]
fn this_machine_and_metadata_services_are_asked_only_where_the_file_says_so() {
    let denied = |url: &str, network: &str| {
        let text = format!(
            "url = \"{url}\"\nnetwork = \"{network}\"\nbudget = 1\ntemplate = '\"$inputs\"'\n[input]\nshape = [4]\n[output]\n\
             kind = \"label\"\nclasses = 2"
        );
        open(toml::from_str(&text).unwrap()).err()
    };
    for url in
        ["http://127.0.0.1:9/", "https://10.0.0.7/", "http://169.254.169.254/latest/meta-data", "http://[::1]:9/"]
    {
        let error = denied(url, "public").unwrap();
        assert!(
            matches!(&error, ReachError::Denied(denied) if matches!(denied.rule, DenyRule::Address { .. })),
            "{error}"
        );
    }
    assert!(denied("http://127.0.0.1:9/", "local").is_none());
    // A name that stands for this machine is judged when it is asked.
    let server = Arc::new(model_server());
    let text = format!(
        "url = \"http://localhost:{}/\"\nattempts = 1\nbudget = 1\ntemplate = '\"$inputs\"'\n[input]\nshape = [4]\n[output]\n\
         kind = \"label\"\nclasses = 2",
        server.port()
    );
    let mut endpoint = open(toml::from_str(&text).unwrap()).unwrap();
    let error = endpoint.ask(&[0.0; 4]).unwrap_err();
    assert!(matches!(error, EndpointError::Reach(ReachError::Denied(_))), "{error}");
    assert!(server.log().is_empty());
}

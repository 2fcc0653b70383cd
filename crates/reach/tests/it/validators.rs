//! Alerts as others read them: the libraries of the formats' own makers take what is sent.
//!
//! Needs a Python with the packages that each test names; `RINGFENCE_PYTHON` names one other than `python3`. Where one is
//! absent the test says so and passes, except under `RINGFENCE_STRICT`.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

use ringfence_reach::{
    sink::{
        deadline,
        encode::{mail, ocsf, otlp_logs, otlp_metrics, prometheus},
        metrics::{MetricKind, Metrics},
    },
    testing::{Reply, Server},
};
use ringfence_schema::event::Usage;

use crate::{
    alerts::{alert, hostile, now, open, parcel, parcels, settings},
    python::python,
};

/// What `script` prints about `input`.
fn run(program: &str, script: &str, input: &str) -> String {
    let mut child = Command::new(program)
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn standard_webhooks_verifies_the_signature() {
    let Some(program) = python("standardwebhooks") else { return };
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let requests = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&requests);
    let server = Server::start(0, move |request| {
        kept.lock().unwrap().push(request.clone());
        Reply::new(204, &b""[..])
    })
    .unwrap();
    let to =
        format!("webhook = {{ url = \"{}/\", secret = {{ command = [\"echo\", \"{secret}\"] }} }}", server.origin());
    let mut outlet = open(settings(server.port()), &to).unwrap();
    let alerts = [hostile()];
    // Its library refuses what is older than five minutes.
    let sent =
        outlet.sink.as_mut().unwrap().send(&parcels(&alerts), std::time::SystemTime::now().into(), deadline(5_000));
    assert!(sent.taken == 1, "{:?}", sent.failure);
    let request = requests.lock().unwrap().pop().unwrap();
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let headers = serde_json::json!(names.map(|name| (name, request.header(name).unwrap())));
    let input = format!("{headers}\n{}", String::from_utf8(request.body).unwrap());
    let script = format!(
        "import json, sys\nfrom standardwebhooks import Webhook\nheaders, body = sys.stdin.read().split('\\n', 1)\n\
         print(Webhook('{secret}').verify(body, dict(json.loads(headers)))['type'])"
    );
    assert_eq!(run(&program, &script, &input), "ringfence.alert");
}

#[test]
fn py_ocsf_models_reads_a_detection_finding() {
    let Some(program) = python("py_ocsf_models") else { return };
    let script = "import sys\nfrom py_ocsf_models.events.findings.detection_finding import DetectionFinding as F\n\
                  f = F.model_validate_json(sys.stdin.read())\n\
                  print(f.class_uid, f.type_uid.value, f.severity, f.metadata.version, f.finding_info.uid)";
    for alert in [alert(0), hostile()] {
        let severity = if alert.confidence.is_nan() { "Critical" } else { "High" };
        let expected = format!("2004 200401 {severity} 1.5.0 {}", alert.id.hex());
        assert_eq!(run(&program, script, &ocsf(&parcel(&alert)).to_string()), expected);
    }
}

#[test]
fn opentelemetry_reads_logs_and_metrics() {
    let Some(program) = python("opentelemetry.proto.collector.logs.v1.logs_service_pb2") else { return };
    let script = "import sys\nfrom google.protobuf.json_format import Parse\n\
                  from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest as R\n\
                  r = Parse(sys.stdin.read(), R()).resource_logs[0].scope_logs[0].log_records\n\
                  print(len(r), r[0].time_unix_nano, r[0].severity_number, len(r[0].attributes))";
    let alerts = [alert(0), hostile()];
    let logs = otlp_logs(&parcels(&alerts)).to_string();
    assert_eq!(run(&program, script, &logs), "2 1799999030250000000 17 13");
    let script = "import sys\nfrom google.protobuf.json_format import Parse\n\
                  from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest as R\n\
                  m = Parse(sys.stdin.read(), R()).resource_metrics[0].scope_metrics[0].metrics\n\
                  print(len(m), m[0].sum.is_monotonic, m[0].sum.data_points[0].as_double)";
    assert_eq!(run(&program, script, &otlp_metrics(&metrics()).to_string()), "9 True 1.5");
}

fn metrics() -> Metrics {
    let mut metrics = Metrics::new("v", now(), now());
    metrics.add_run("r-\"1\\\n", &Usage { cpu_ms: 1_500, ..Usage::default() }, None);
    metrics.add(("ringfence_zero", MetricKind::Gauge, "none"), &[], f64::INFINITY);
    metrics
}

#[test]
fn prometheus_client_reads_the_figures() {
    let Some(program) = python("prometheus_client") else { return };
    let script = "import sys\nfrom prometheus_client.parser import text_string_to_metric_families as parse\n\
                  f = {m.name: m for m in parse(sys.stdin.read())}\nc = f['ringfence_run_cpu_seconds']\n\
                  print(len(f), c.type, c.samples[0].value, repr(c.samples[0].labels['run']), f['ringfence_zero'].samples[0].value)";
    let printed = run(&program, script, &prometheus(&metrics()));
    assert_eq!(printed, "9 counter 1.5 'r-\"1\\\\\\\\u{a}' inf");
}

#[test]
fn python_reads_the_mail() {
    let Some(program) = python("email") else { return };
    let script = "import sys\nfrom email import message_from_bytes, policy\n\
                  m = message_from_bytes(sys.stdin.buffer.read(), policy=policy.default)\n\
                  assert not m.defects and all(not h.defects for h in m.values()), [h.defects for h in m.values()]\n\
                  print(m['subject'][:24], m['date'].datetime.isoformat(), m['to'].addresses[1].addr_spec, len(m), \
                  m.get_content().splitlines()[2][:11])";
    let to = ["ann@example.org".to_owned(), "bob@example.org".to_owned()];
    for (alert, subject) in [(alert(0), "[ringfence] high: miner "), (hostile(), "[ringfence] critical: a\"")] {
        let read = run(&program, script, &mail(&parcel(&alert), "r@example.org", &to));
        assert!(read.starts_with(subject) && read.ends_with("+00:00 bob@example.org 9 subject"), "{read}");
    }
}

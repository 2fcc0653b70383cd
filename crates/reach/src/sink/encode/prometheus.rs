//! Prometheus' text exposition format, version 0.0.4.

use crate::sink::metrics::{MetricKind, Metrics};

/// The figures as text.
pub fn prometheus(metrics: &Metrics) -> String {
    let mut out = String::new();
    for family in metrics.families() {
        let (name, help) = (family.name, family.help.replace('\\', "\\\\").replace('\n', "\\n"));
        let kind = match family.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
        };
        out.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        for point in &family.points {
            let labels: Vec<String> =
                point.labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escape(value))).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            out.push_str(&format!("{name}{labels} {}\n", number(point.value)));
        }
    }
    out
}

/// A label's value: `\`, `"` and line feeds are escaped.
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".into()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".into() } else { "-Inf".into() }
    } else {
        value.to_string()
    }
}

//! Another implementation as a witness of our trail, and as a log that our witness sees: PyPI's `witness-log` (0.6.1).
//!
//! `RINGFENCE_PYTHON` names a Python that has it, if `python3` has not. Where it is absent the test says so and passes.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use crate::{
    home::{Home, small_table},
    witness::{Tower, configure},
};

/// Their witness behind Python's own HTTP server; says its key and port.
const WITNESS: &str = r#"
import http.server, sys, witness_log
origin, vkey = sys.argv[1:]
service = witness_log.WitnessService.new("peer.example/w1", bytes(range(32)))
assert service.add_log(origin, vkey)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status, kind, answer = service.handle_add_checkpoint_http(body.decode())
        answer = answer.encode() if isinstance(answer, str) else answer
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(service.vkey(), server.server_address[1], flush=True)
server.serve_forever()
"#;

/// Their log: says its key, hears where our witness is and its public key, and shows itself three times.
const LOG: &str = r#"
import sys, urllib.request, urllib.error, witness_log
log = witness_log.WitnessLog.generate()
log.append_intent(b"{}")
print(log.c2sp_vkey(log.canonical_origin()), flush=True)
prefix, public = sys.stdin.readline().split()
def ask(old):
    body = log.add_checkpoint_body(old)
    try:
        request = urllib.request.Request(prefix + "/add-checkpoint", body.encode())
        answer = urllib.request.urlopen(request)
        return answer.status, answer.read().decode(), ""
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), error.headers["Content-Type"]
status, answer, _ = ask(0)
assert status == 200, (status, answer)
assert log.dossier_from_responses([(public, answer)])[1] == 1
for _ in range(20):
    log.append_intent(b"{}")
assert ask(0) == (409, "1\n", "text/x.tlog.size"), ask(0)
status, answer, _ = ask(1)
assert status == 200, (status, answer)
assert log.dossier_from_responses([(public, answer)])[1] == 1
forged = answer[:-6] + ("A" if answer[-6] != "A" else "B") + answer[-5:]
try:
    assert log.dossier_from_responses([(public, forged)])[1] == 0
except ValueError:
    pass
print(log.tree_size(), flush=True)
"#;

fn python() -> Option<OsString> {
    let python = env::var_os("RINGFENCE_PYTHON").unwrap_or_else(|| "python3".into());
    let there =
        Command::new(&python).args(["-c", "import witness_log"]).output().is_ok_and(|done| done.status.success());
    if !there {
        println!("SKIPPED: there is no Python with witness-log here; RINGFENCE_PYTHON can name one");
    }
    there.then_some(python)
}

/// A script that talks line by line.
struct Script {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Script {
    fn start(python: &OsString, text: &str, args: &[&str]) -> Self {
        let mut command = Command::new(python);
        command.args(["-c", text]).args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the script ended");
        line.trim().to_owned()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn a_public_witness_cosigns_our_trail() {
    let Some(python) = python() else { return };
    let home = Home::with_vault();
    home.write("lab.root", home.run(&["show", "root"]).exits(0).raw());
    home.run(&["trail", "mirror", "mirror"]).exits(0);
    let words = ["trail", "verify", "--mirror", "mirror", "--root", "lab.root", "--format", "json"];
    let vkey = home.run(&words).exits(0).json()["facts"]["verifier key"].as_str().unwrap().to_owned();
    let mut peer = Script::start(&python, WITNESS, &[vkey.split('+').next().unwrap(), &vkey]);
    let said = peer.line();
    let (key, port) = said.split_once(' ').unwrap();
    configure(&home, &[("peer", key, Some(([127, 0, 0, 1], port.parse().unwrap()).into()))], "quorum peer\n");
    for rows in [40, 44, 48] {
        home.run(&["trail", "witness"]).exits(0);
        home.run(&["trail", "verify", "--witness-policy", "witnesses.policy"]).exits(0);
        home.write("train.csv", small_table(rows));
        home.run(&["add", "train.csv", "--as", "dataset/small", "--label", "label"]).exits(0);
    }
    // What is kept tells how far the witness got; without it the witness does.
    fs::remove_file(home.vault().join("witnessed.checkpoint")).unwrap();
    home.run(&["trail", "witness"]).exits(0);
}

#[test]
fn a_public_log_is_cosigned_by_our_witness() {
    let Some(python) = python() else { return };
    let home = Home::new();
    let mut log = Script::start(&python, LOG, &[]);
    let vkey = log.line();
    let tower = Tower::of_keys(&home, "ana", &vkey);
    let public = tower.public_hex();
    writeln!(log.input, "http://{} {public}", tower.address()).unwrap();
    assert_eq!(log.line(), "21");
}

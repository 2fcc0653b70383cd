//! What people bring a file to another machine with and take it out again: over the same line, uncut, from file to file.
//!
//! Each gives the seconds of both ways, or nothing where it is not installed.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{hash, proxy::Proxy};
use ringfence_engine::schema::Digest;

/// curl and nginx over TLS 1.3 (Debian: `nginx-light curl openssl`).
pub(crate) fn curl(folder: &Path, source: &Path, digest: Digest) -> Option<[f64; 2]> {
    if !(works("nginx", &["-v"]) && works("curl", &["--version"]) && works("openssl", &["version"])) {
        return None;
    }
    fs::create_dir_all(folder.join("files")).unwrap();
    let at = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (key, certificate) = (at("key.pem"), at("certificate.pem"));
    let words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -addext";
    let words: Vec<&str> = words.split(' ').chain(["subjectAltName=DNS:localhost"]).collect();
    assert!(works("openssl", &[&words[..], &["-keyout", &key, "-out", &certificate]].concat()));
    let (line, serving) = served(|port| {
        let [settings, body, files, pid, log] = ["nginx.conf", "body", "files", "pid", "log"].map(at);
        let text = format!(
            "daemon off; master_process off; pid {pid}; error_log {log};
             events {{ worker_connections 64; }}
             http {{
                 access_log off; client_body_temp_path {body}; client_max_body_size 0; output_buffers 2 512k;
                 server {{
                     listen 127.0.0.2:{port} ssl; root {files};
                     ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.3;
                     location / {{ dav_methods PUT; }}
                 }}
             }}"
        );
        fs::write(&settings, text).unwrap();
        silent("nginx", &["-e", &log, "-p", folder.to_str().unwrap(), "-c", &settings])
    });
    let (url, back) = (format!("https://localhost:{}/blob.bin", line.port()), at("back"));
    let seconds = [["--upload-file", source.to_str().unwrap()], ["--output", back.as_str()]].map(|way| {
        let words = [&["--silent", "--fail", "--http1.1", "--cacert", &certificate, &url][..], &way].concat();
        timed("curl", &words)
    });
    ended(serving, folder, &back, digest);
    Some(seconds)
}

/// scp and sshd (Debian: `openssh-client openssh-server`; as root, sshd wants the folder `/run/sshd`), with AES-256-GCM as above.
pub(crate) fn scp(folder: &Path, source: &Path, digest: Digest) -> Option<[f64; 2]> {
    fs::create_dir_all(folder).unwrap();
    let at = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let [key, settings, there, back] = ["key", "sshd_config", "there", "back"].map(at);
    if !works("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &key]) {
        return None;
    }
    let configured = |port: u16| {
        let text = format!(
            "ListenAddress 127.0.0.2:{port}\nHostKey {key}\nAuthorizedKeysFile {key}.pub\nPidFile none\nStrictModes no\nUsePAM no
             Subsystem sftp internal-sftp\n"
        );
        fs::write(&settings, text).unwrap();
    };
    configured(22);
    if !works(SSHD, &["-t", "-f", &settings]) {
        return None;
    }
    let (line, serving) = served(|port| {
        configured(port);
        silent(SSHD, &["-D", "-f", &settings])
    });
    let (port, far) = (line.port().to_string(), format!("127.0.0.1:{there}"));
    let words = "-q -F none -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -c aes256-gcm@openssh.com -P";
    let words: Vec<&str> = words.split(' ').chain([port.as_str(), "-i", &key]).collect();
    let ways = [[source.to_str().unwrap(), far.as_str()], [far.as_str(), back.as_str()]];
    let seconds = ways.map(|way| timed("scp", &[&words[..], &way].concat()));
    ended(serving, folder, &back, digest);
    Some(seconds)
}

/// A program that serves, once it does, and the line to it.
fn served(program: impl FnOnce(u16) -> Command) -> (Proxy, Child) {
    let mut serving = None;
    let line = Proxy::start(|port| {
        serving = Some(program(port).spawn().unwrap());
        let address = SocketAddr::from(([127, 0, 0, 2], port));
        while TcpStream::connect(address).is_err() {
            thread::sleep(Duration::from_millis(10));
        }
        address
    });
    line.cut(0, u64::MAX);
    (line, serving.unwrap())
}

/// What came back is what was sent, and nothing is left.
fn ended(mut serving: Child, folder: &Path, back: &str, digest: Digest) {
    assert_eq!(hash(Path::new(back)), digest);
    serving.kill().unwrap();
    serving.wait().unwrap();
    fs::remove_dir_all(folder).unwrap();
}

fn timed(program: &str, words: &[&str]) -> f64 {
    let begun = Instant::now();
    assert!(works(program, words), "{program} {words:?}");
    begun.elapsed().as_secs_f64()
}

fn works(program: &str, words: &[&str]) -> bool {
    silent(program, words).status().is_ok_and(|status| status.success())
}

fn silent(program: &str, words: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// It insists on being called by its whole name.
const SSHD: &str = "/usr/sbin/sshd";

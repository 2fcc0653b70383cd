//! In through `oidc-provider`, a certified implementation: the built binary, a browser's redirects and cookies, and after
//! that a command line.
//!
//! It needs Node.js (`node`), `curl`, and a folder with `oidc-provider` in its `node_modules`, which `RINGFENCE_OIDC_PROVIDER`
//! names. Where they are absent it says so and passes, except under `RINGFENCE_STRICT`.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use serde_json::Value;

use crate::{
    home::Home,
    remote::{Site, code},
};

/// A provider that runs until this is dropped.
struct Running {
    child: Child,
    /// Kept open: the provider writes notices there, and ends when it cannot.
    _said: BufReader<ChildStdout>,
    issuer: String,
}

/// Whether everything is here.
fn folder() -> Option<PathBuf> {
    let works = |program: &str| Command::new(program).arg("--version").output().is_ok_and(|done| done.status.success());
    let folder = env::var_os("RINGFENCE_OIDC_PROVIDER").filter(|_| works("node") && works("curl"));
    if folder.is_none() {
        assert!(env::var_os("RINGFENCE_STRICT").is_none(), "no OpenID provider to test against");
        println!("SKIPPED: no `node` or `curl`, or RINGFENCE_OIDC_PROVIDER names no folder with `oidc-provider`");
    }
    folder.map(PathBuf::from)
}

impl Running {
    /// Starts one that sends browsers back to `site`.
    fn start(folder: &Path, site: &str, kind: &str) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/it/oidc/provider.mjs");
        let mut child = Command::new("node")
            .args([script.as_path(), folder])
            .args([&format!("{site}/login/back"), kind])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut issuer = String::new();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        said.read_line(&mut issuer).unwrap();
        assert!(issuer.starts_with("http://127.0.0.1:"), "the provider did not start");
        Self { child, _said: said, issuer: issuer.trim().to_owned() }
    }

    /// What `login.toml` says of it.
    fn entry(&self, name: &str, secret: &Path) -> String {
        format!(
            "[[provider]]\nname = \"{name}\"\nissuer = \"{}\"\nclient_id = \"basic\"\nclient_secret_file = \"{}\"\n\
             scopes = [\"profile\", \"email\", \"groups\"]\nmfa_levels = [\"urn:example:mfa\"]\n\
             [provider.roles]\nlab = [\"researcher\"]\n",
            self.issuer,
            secret.display()
        )
    }

    /// What `reach.toml` says of it.
    fn host(&self) -> String {
        let port = self.issuer.rsplit(':').next().unwrap();
        format!("{{ host = \"127.0.0.1\", port = {port}, scheme = \"http\", network = \"local\" }}")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A browser as far as redirects and cookies go.
struct Browser<'s> {
    site: &'s Site,
    cookies: PathBuf,
}

/// Where it is, and what it sees.
struct Page {
    status: u16,
    at: String,
    body: String,
}

impl Browser<'_> {
    fn ask(&self, url: &str, more: &[&str]) -> Page {
        let done = Command::new("curl")
            .args(["-sS", "-L", "--proto", "=http,https", "--cacert"])
            .arg(self.site.authority())
            .arg("-b")
            .arg(&self.cookies)
            .arg("-c")
            .arg(&self.cookies)
            .args(["-w", "\n%{http_code} %{url_effective}"])
            .args(more)
            .arg(url)
            .output()
            .unwrap();
        assert!(done.status.success(), "{url}: {}", String::from_utf8_lossy(&done.stderr));
        let text = String::from_utf8(done.stdout).unwrap();
        let (body, last) = text.rsplit_once('\n').unwrap();
        let (status, at) = last.split_once(' ').unwrap();
        Page { status: status.parse().unwrap(), at: at.to_owned(), body: body.to_owned() }
    }

    /// Logs in at a provider as `name`, and ends where that sends the browser back to.
    fn logs_in(&self, provider: &str, name: &str) -> Page {
        let mut page = self.ask(&format!("{}/login/with/{provider}", self.site.url()), &[]);
        for _ in 0..4 {
            if page.at.starts_with(&self.site.url()) {
                return page;
            }
            assert_eq!(page.status, 200, "{}", page.body);
            let form = if page.body.contains("name=\"prompt\" value=\"login\"") {
                format!("prompt=login&login={name}&password=any")
            } else {
                "prompt=consent".to_owned()
            };
            page = self.ask(&page.at, &["--data", &form]);
        }
        panic!("the login does not end: {}", page.at);
    }
}

#[test]
fn people_come_in_through_a_real_provider_and_bring_their_command_line() {
    let Some(folder) = folder() else { return };
    let mut running = Vec::new();
    let site = Site::with(&[], |there, site| {
        for kind in ["factors", "plain"] {
            running.push(Running::start(&folder, site, kind));
        }
        let secret = there.write("secret", "basic:50%+&=/?secret");
        let entries: String =
            running.iter().zip(["lab", "weak"]).map(|(each, name)| each.entry(name, &secret)).collect();
        fs::write(there.config().join("login.toml"), format!("schema = \"ringfence.login/1\"\n{entries}")).unwrap();
        let hosts: Vec<String> = running.iter().map(Running::host).collect();
        fs::write(there.config().join("reach.toml"), format!("[egress]\nhosts = [{}]\n", hosts.join(", "))).unwrap();
    });
    let home = Home::new();
    let browser = Browser { site: &site, cookies: home.work().join("cookies") };
    let back = browser.logs_in("lab", "ann");
    assert!(back.status == 200 && back.body.contains("You are signed in"), "{}: {}", back.status, back.body);
    let me = browser.ask(&format!("{}/api/v1/me", site.url()), &[]);
    let me: Value = serde_json::from_str(&me.body).unwrap();
    assert_eq!((&me["person"]["name"], &me["login"]), (&"ann".into(), &"mfa".into()), "{me}");
    assert_eq!(me["person"]["factors"][0]["kind"], "federated", "{me}");

    // Her command line is let in by that session, and has the roles that her groups give.
    let authority = site.authority();
    let mut command = home.command(&["login", "--authority", authority.to_str().unwrap()]);
    command.env("RINGFENCE_SERVER", site.url());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let confirm = format!("{}/api/v1/device/{}", site.url(), code(&mut child));
    let origin = format!("origin: {}", site.url());
    let confirmed = browser.ask(&confirm, &["-X", "POST", "-H", &origin]);
    assert_eq!(confirmed.status, 204, "{}", confirmed.body);
    assert!(child.wait_with_output().unwrap().status.success());
    let run = |args: &[&str]| {
        let mut command = home.command(args);
        command.env("RINGFENCE_SERVER", site.url());
        home.done(command)
    };
    run(&["ls"]).exits(0);
    home.write("job/train.py", "print('a job')\n");
    run(&["add", "job", "--as", "code/job"]).exits(0);
    // A researcher appoints nobody.
    run(&["user", "add", "mallory", "--role", "owner"]).exits(1);

    // Who vouches for one factor alone opens nothing, and a callback of nobody's login neither.
    let other = Browser { site: &site, cookies: home.work().join("others") };
    let weak = other.logs_in("weak", "eve");
    assert_eq!(weak.status, 403, "{}", weak.body);
    assert_eq!(other.ask(&format!("{}/api/v1/me", site.url()), &[]).status, 401);
    let forged = other.ask(&format!("{}/login/back?code=x&state=y", site.url()), &[]);
    assert_eq!(forged.status, 401, "{}", forged.body);
}

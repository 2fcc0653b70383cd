//! A real browser, driven over its debugging pipe (Chrome DevTools Protocol): JSON, each message ended by a zero byte.
//!
//! No driver program and no package is needed, only `chromium`. A virtual authenticator stands in for a finger.

use std::{
    env, fs,
    io::{Read as _, Write as _},
    os::fd::AsFd as _,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};

/// Longest wait for something on a page.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longest wait for any word of a browser that was asked something.
const SILENCE: Duration = Duration::from_mins(2);

/// A browser with one page.
pub(crate) struct Chromium {
    child: Child,
    to: ChildStdin,
    from: ChildStdout,
    rest: Vec<u8>,
    session: Option<String>,
    asked: u64,
    /// What the page and the browser complained of: violations of the content policy, errors on the console.
    pub(crate) complaints: Vec<String>,
}

impl Chromium {
    /// Starts one whose profile lies in `home`, or says why there is none.
    pub(crate) fn start(home: &Path) -> Option<Self> {
        let found = ["chromium", "chromium-browser", "google-chrome"]
            .into_iter()
            .find(|name| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success()));
        let Some(name) = found else {
            assert!(env::var_os("RINGFENCE_STRICT").is_none(), "no browser to test with");
            println!("SKIPPED: there is no `chromium`");
            return None;
        };
        // The pipe is expected at descriptors 3 and 4. The certificate is the embedded authority's, which no browser knows.
        let line = format!(
            "exec {name} --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
             --ignore-certificate-errors --user-data-dir='{}' --remote-debugging-pipe 3<&0 4>&1 </dev/null >/dev/null 2>&1",
            home.join("profile").display()
        );
        fs::create_dir_all(home).unwrap();
        let mut child = Command::new("/bin/sh")
            .args(["-c", &line])
            .env("HOME", home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut browser = Self { child, to, from, rest: Vec::new(), session: None, asked: 0, complaints: Vec::new() };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.call("Target.attachToTarget", attach)["sessionId"].as_str().unwrap().to_owned();
        browser.session = Some(session);
        for domain in ["Page.enable", "Runtime.enable", "Log.enable", "Audits.enable"] {
            browser.call(domain, json!({}));
        }
        Some(browser)
    }

    /// Plugs in an authenticator that always verifies its user.
    pub(crate) fn plug_authenticator(&mut self) {
        self.call("WebAuthn.enable", json!({}));
        let options = json!({"protocol": "ctap2", "transport": "internal", "hasResidentKey": true,
            "hasUserVerification": true, "isUserVerified": true});
        self.call("WebAuthn.addVirtualAuthenticator", json!({"options": options}));
    }

    /// Opens `url` and waits until it has loaded.
    pub(crate) fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({"url": url}));
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'");
    }

    /// Resizes the page, in CSS pixels.
    pub(crate) fn resize(&mut self, width: u32, height: u32) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// What `script` evaluates to; a promise is waited for.
    pub(crate) fn evaluate(&mut self, script: &str) -> Value {
        let asked = json!({"expression": script, "awaitPromise": true, "returnByValue": true, "userGesture": true});
        let mut answer = self.call("Runtime.evaluate", asked);
        assert!(answer.get("exceptionDetails").is_none(), "{script}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].take()
    }

    /// Waits until `condition` holds on the page, whatever page that is by then.
    pub(crate) fn wait(&mut self, condition: &str) {
        let end = Instant::now() + PATIENCE;
        let script = format!("(() => {{ try {{ return Boolean({condition}); }} catch (e) {{ return false; }} }})()");
        loop {
            let asked = json!({"expression": script, "returnByValue": true});
            // A page that is being left has no context to evaluate in.
            if self.call("Runtime.evaluate", asked)["result"]["value"] == json!(true) {
                return;
            }
            assert!(Instant::now() < end, "`{condition}` never held; the page says: {}", self.text());
            // The pipe has no way to wait for a condition.
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The page's visible text.
    pub(crate) fn text(&mut self) -> String {
        let asked = json!({"expression": "document.body ? document.body.innerText : ''", "returnByValue": true});
        self.call("Runtime.evaluate", asked)["result"]["value"].as_str().unwrap_or_default().to_owned()
    }

    /// Fills the field with this `name` on the page.
    pub(crate) fn fill(&mut self, name: &str, value: &str) {
        let (name, value) = (json!(name), json!(value));
        let script = format!(
            "(() => {{ const field = document.querySelector(`[name=${{CSS.escape({name})}}]`); field.value = {value}; \
             return field.value; }})()"
        );
        self.evaluate(&script);
    }

    /// Presses the first visible button or link whose text contains `words`.
    pub(crate) fn press(&mut self, words: &str) {
        let script = format!(
            "(() => {{ const wanted = {}; const found = [...document.querySelectorAll('button, a')].find((one) => \
             one.checkVisibility() && one.textContent.includes(wanted)); if (!found) return false; found.click(); \
             return true; }})()",
            json!(words)
        );
        assert_eq!(self.evaluate(&script), json!(true), "no button `{words}` on: {}", self.text());
    }

    /// One call; what the browser tells meanwhile is kept if it is a complaint.
    fn call(&mut self, method: &str, params: Value) -> Value {
        self.asked += 1;
        let mut message = json!({"id": self.asked, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).unwrap();
        let asked = self.asked;
        loop {
            let mut told = self.receive();
            if told["id"] == json!(asked) {
                return told["result"].take();
            }
            self.hear(&told);
        }
    }

    fn hear(&mut self, told: &Value) {
        if told["method"] == json!("Page.javascriptDialogOpening") {
            return self.agree();
        }
        let complaint = match told["method"].as_str().unwrap_or_default() {
            "Audits.issueAdded" => told["params"]["issue"]["code"] == json!("ContentSecurityPolicyIssue"),
            "Runtime.exceptionThrown" => true,
            "Log.entryAdded" => told["params"]["entry"]["source"] == json!("security"),
            _ => false,
        };
        if complaint {
            self.complaints.push(told["params"].to_string());
        }
    }

    /// Says yes to a question that holds the page up, and waits for no answer.
    fn agree(&mut self) {
        self.asked += 1;
        let params = json!({"accept": true});
        let message = json!({"id": self.asked, "method": "Page.handleJavaScriptDialog", "params": params, "sessionId": self.session});
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).unwrap();
    }

    fn receive(&mut self) -> Value {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == 0) {
                let message: Vec<u8> = self.rest.drain(..=end).collect();
                return serde_json::from_slice(&message[..end]).unwrap();
            }
            let mut answers = [PollFd::new(self.from.as_fd(), PollFlags::POLLIN)];
            let ready = poll(&mut answers, PollTimeout::try_from(SILENCE).unwrap()).unwrap();
            assert!(ready > 0, "the browser has said nothing for {} s", SILENCE.as_secs());
            let mut piece = vec![0; 65_536];
            let count = self.from.read(&mut piece).unwrap();
            assert!(count > 0, "the browser went away");
            self.rest.extend_from_slice(&piece[..count]);
        }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

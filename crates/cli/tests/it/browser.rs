//! A team's first day in a real browser: the first passkey over TLS, every page, an invitation, the way out and in again.
//!
//! Skipped, loudly, where there is no `chromium`. `RINGFENCE_AXE` may name axe-core's `axe.min.js`: every page is then
//! also looked at by it.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixListener,
    process::{Child, Stdio},
    sync::mpsc,
    thread,
    time::Instant,
};

use ringfence_engine::schema::{
    alert::TelemetryLine,
    event::{Claimed, Progress, RunEvent, Source},
};
use serde_json::Value;

use crate::{chromium::Chromium, home::Home};

/// `ringfence serve`, until this is dropped.
pub(crate) struct Serving {
    pub(crate) child: Child,
    /// Where browsers find it.
    pub(crate) url: String,
    /// The first administrator's way in.
    pub(crate) setup: Option<String>,
}

impl Serving {
    /// Starts it on a free port and waits until it has said where it listens, and what lets the first administrator in.
    pub(crate) fn start(home: &Home, expects_setup: bool) -> Self {
        Self::start_at(home, "127.0.0.1:0", expects_setup)
    }

    /// The same at this address.
    pub(crate) fn start_at(home: &Home, listen: &str, expects_setup: bool) -> Self {
        let args = ["serve", "--listen", listen, "--format", "json", "--quiet"];
        let mut child = home.command(&args).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        let (mut text, mut url, mut setup) = (Vec::new(), None, None);
        while url.is_none() || (expects_setup && setup.is_none()) {
            let mut piece = [0; 4_096];
            let count = out.read(&mut piece).unwrap();
            assert!(count > 0, "the server ended: {}", String::from_utf8_lossy(&text));
            text.extend_from_slice(&piece[..count]);
            for document in serde_json::Deserializer::from_slice(&text).into_iter::<Value>().flatten() {
                url = url.or_else(|| document["url"].as_str().map(str::to_owned));
                setup = setup.or_else(|| document["setup"].as_str().map(str::to_owned));
            }
        }
        Self { child, url: url.unwrap(), setup }
    }

    /// Stops it as an operator does.
    pub(crate) fn stop(&mut self) -> i32 {
        let id = nix::unistd::Pid::from_raw(self.child.id().try_into().unwrap());
        nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) const PAGES: [(&str, &str); 13] = [
    ("/", "Overview"),
    ("/artifacts", "Artifacts"),
    ("/review", "Review"),
    ("/runs", "Runs"),
    ("/queue", "Queue"),
    ("/break-glass", "Break-glass"),
    ("/tests", "Tests"),
    ("/trail", "Trail"),
    ("/trail/0", "Entry"),
    ("/security", "Security"),
    ("/people", "People"),
    ("/policy", "Policy"),
    ("/account", "Ana"),
];

/// A pickle that would run `os.system` when it is loaded.
pub(crate) const HARMFUL: &[u8] = b"cos\nsystem\n(S'echo <script>alert(1)</script>'\ntR.";

#[test]
fn a_first_day_in_a_browser() {
    let home = Home::with_vault();
    // Held, with a file's name and a finding's evidence that would be markup if anything let them.
    let folder = home.work().join("net");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("<img src=x onerror=alert(1)>.pkl"), HARMFUL).unwrap();
    home.run(&["add", "net", "--as", "model/net"]).exits(1);
    let Some(mut browser) = Chromium::start(&home.root().join("browser")) else { return };
    let begun = Instant::now();
    let mut server = Serving::start(&home, true);
    browser.plug_authenticator();

    // Nobody administers it yet, so whoever comes is asked for the token.
    browser.open(&server.url);
    browser.wait("location.pathname === '/invitation'");
    let token = server.setup.clone().unwrap();
    browser.fill("token", &token);
    browser.press("Open the invitation");
    browser
        .wait("document.querySelector('form[data-passkey]') && !document.querySelector('form[data-passkey]').hidden");
    browser.fill("name", "ana");
    browser.fill("label", "laptop <b>");
    browser.press("Create a passkey");
    browser.wait("document.getElementById('codes') && !document.getElementById('codes').hidden");
    browser.press("I have kept them");
    browser.wait("location.pathname === '/' && document.querySelector('h1')");
    println!("from the start of the server to the first passkey's login: {:.1} s", begun.elapsed().as_secs_f64());

    walk(&mut browser, &server.url);
    let review = format!("{}/review", server.url);
    browser.open(&review);
    assert!(browser.text().contains("RF-PKL"), "{}", browser.text());
    assert_eq!(browser.evaluate("document.images.length"), 0, "a name became an element");

    // Ana invites Ben; the link is shown once, with the token behind `#`.
    browser.open(&format!("{}/people", server.url));
    let summary = "document.querySelectorAll('details').forEach((one) => { one.open = true; })";
    browser.evaluate(summary);
    browser.fill("name", "ben");
    browser.fill("display", "Ben <i>");
    browser.evaluate("document.querySelector('form[action=\"/people/invite\"]').requestSubmit()");
    browser.wait("document.body.innerText.includes('/invitation#rf_invite_')");

    plans(&mut browser, &server.url);
    follows(&mut browser, &server.url, &home);

    // Out, and in again with the passkey alone.
    browser.open(&format!("{}/account", server.url));
    browser.evaluate("document.querySelector('form[action=\"/sign-out\"]').requestSubmit()");
    browser.wait("location.pathname === '/sign-in'");
    browser.open(&format!("{}/trail?who=x", server.url));
    browser.wait("location.pathname === '/sign-in'");
    browser.press("passkey");
    browser.wait("location.pathname === '/trail'");
    assert_eq!(browser.complaints, [""; 0], "the browser complained");
    assert_eq!(server.stop(), 0);

    // Whoever opens the files now is nobody, and the trail of all this verifies.
    home.run(&["review", "approve", "model/net@1", "--reason", "mine"]).exits(1);
    home.run(&["trail", "verify"]).exits(0);
}

/// Something is done by itself from now on, and no more.
fn plans(browser: &mut Chromium, url: &str) {
    browser.open(&format!("{url}/security"));
    browser.wait("document.querySelector('#schedules')");
    browser.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })");
    browser.evaluate("document.querySelector('#schedule-job').value = 'audit'");
    browser.fill("every", "1d");
    browser.fill("at", "03:30");
    browser.press("Have it done");
    browser.wait("document.querySelector('form[action=\"/schedules/remove\"]')");
    look_closely(browser, "/security");
    browser.evaluate("document.querySelector('form[action=\"/schedules/remove\"]').submit()");
    browser
        .wait("document.querySelector('#schedules') && !document.querySelector('form[action=\"/schedules/remove\"]')");
}

/// A run is followed live, and stopped. It is a socket in the vault's folder, as every run's is.
fn follows(browser: &mut Chromium, url: &str, home: &Home) {
    let progress = |at_ms: u64, loss: f64| {
        let progress = Progress { loss: Some(loss), ..Progress::default() };
        let event = RunEvent { at_ms, source: Source::Claimed(Claimed::Progress(progress)) };
        serde_json::to_string(&TelemetryLine::Event(event)).unwrap() + "\n"
    };
    fs::create_dir_all(home.vault().join("live")).unwrap();
    let listener = UnixListener::bind(home.vault().join("live/r-1.sock")).unwrap();
    let so_far = progress(1_000, 3.0) + &progress(60_000, 2.0);
    let (told, orders) = mpsc::channel();
    thread::spawn(move || {
        let mut followers = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut word = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut word).unwrap();
            match word.trim() {
                "" => {}
                "so-far" => stream.write_all(so_far.as_bytes()).unwrap(),
                "watch" => {
                    stream.write_all((so_far.clone() + &progress(125_000, 1.25)).as_bytes()).unwrap();
                    followers.push(stream);
                }
                order => {
                    stream.write_all(b"ok\n").unwrap();
                    told.send(order.to_owned()).unwrap();
                }
            }
        }
    });
    browser.open(&format!("{url}/runs/r-1"));
    browser.wait("document.querySelector('[data-clock]').textContent === '2:05'");
    browser.wait("document.querySelector('[data-lane] [data-latest]').textContent === '1.25'");
    look_closely(browser, "/runs/r-1");
    browser.fill("reason", "it has seen enough");
    browser.evaluate("document.querySelector('form[action=\"/runs/r-1/stop\"]').submit()");
    assert_eq!(orders.recv().unwrap(), "stop");
    browser.wait("location.pathname === '/runs/r-1' && document.querySelector('h1')");
    fs::remove_file(home.vault().join("live/r-1.sock")).unwrap();
}

/// axe-core has nothing serious to say of what is shown.
fn look_closely(browser: &mut Chromium, what: &str) {
    let Some(axe) = env::var_os("RINGFENCE_AXE").map(|path| fs::read_to_string(path).unwrap()) else { return };
    browser.evaluate(&format!("{axe}; 0"));
    let asked = "axe.run(document, {resultTypes: ['violations']}).then((found) => found.violations\
                 .filter((one) => ['serious', 'critical'].includes(one.impact))\
                 .map((one) => one.id + ': ' + one.nodes.map((node) => node.html).join(' | ')))";
    let found = browser.evaluate(asked);
    assert_eq!(found.as_array().unwrap().len(), 0, "{what}: {found:#}");
}

/// Every page, wide and narrow: it is there, nothing is wider than the window, and axe-core has nothing serious to say.
fn walk(browser: &mut Chromium, url: &str) {
    for (width, height) in [(1_280, 900), (390, 844)] {
        browser.resize(width, height);
        for (path, title) in PAGES {
            browser.open(&format!("{url}{path}"));
            browser.wait("document.querySelector('h1')");
            let heading = browser.evaluate("document.querySelector('h1').innerText");
            let said = heading.as_str().unwrap().to_lowercase();
            assert!(said.contains(&title.to_lowercase()), "{path}: {said}");
            let wide = browser.evaluate("document.documentElement.scrollWidth - innerWidth");
            assert!(wide.as_i64().unwrap() <= 0, "{path} is {wide} pixels wider than {width}");
            look_closely(browser, &format!("{path} at {width}"));
        }
    }
}

//! Every form of the pages, filled in by people in browsers: one with a passkey, one with a password and an app.
//!
//! What is pressed is kept; in the end every form that either of them can see must have been pressed, here or in
//! [`crate::browser`].

use std::{
    collections::BTreeSet,
    fs,
    process::{Child, Stdio},
};

use serde_json::json;

use crate::{
    browser::{HARMFUL, PAGES, Serving},
    chromium::Chromium,
    home::{Home, small_table},
    remote::code,
};

/// What [`crate::browser`] presses.
const PRESSED_THERE: [&str; 3] = ["/schedules/add", "/schedules/remove", "/sign-out"];

const POLICY: &str = "schema = \"ringfence.policy/1\"\n\n[settings]\nevidence_max_age_days = 30\n";
const OTHER_POLICY: &str = "schema = \"ringfence.policy/1\"\n\n[settings]\nallow_no_scan = true\n";

/// The app on Ben's telephone, in the browser's own cryptography: RFC 4648 base32, RFC 6238 with SHA-1, RFC 4226 digits.
const APP: &str = "(async (secret, offset) => {
    let bits = '';
    for (const letter of secret) bits += 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(letter).toString(2).padStart(5, '0');
    const bytes = Uint8Array.from(bits.match(/.{8}/g), (byte) => parseInt(byte, 2));
    const step = new DataView(new ArrayBuffer(8));
    step.setBigUint64(0, BigInt(Math.floor(Date.now() / 30000) + offset));
    const key = await crypto.subtle.importKey('raw', bytes, { name: 'HMAC', hash: 'SHA-1' }, false, ['sign']);
    const mac = new DataView(await crypto.subtle.sign('HMAC', key, step.buffer));
    const number = mac.getUint32(mac.getUint8(19) & 15) & 0x7fffffff;
    return String(number % 1000000).padStart(6, '0');
})";

/// Somebody at a browser.
struct Person {
    browser: Chromium,
    url: String,
    pressed: BTreeSet<String>,
    seen: BTreeSet<String>,
}

impl Person {
    fn new(browser: Chromium, url: &str) -> Self {
        let mut person = Self { browser, url: url.to_owned(), pressed: BTreeSet::new(), seen: BTreeSet::new() };
        person.browser.plug_authenticator();
        person
    }

    /// Opens a page, with everything on it that can be folded open.
    fn open(&mut self, path: &str) {
        self.browser.open(&format!("{}{path}", self.url));
        self.arrived();
    }

    fn arrived(&mut self) {
        self.browser.wait("document.readyState === 'complete' && document.querySelector('h1')");
        self.browser.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })");
        let forms = "[...document.querySelectorAll('form')].filter((one) => one.method === 'post')\
                     .map((one) => one.dataset.finish || one.getAttribute('action'))";
        let forms = self.browser.evaluate(forms);
        self.seen.extend(forms.as_array().unwrap().iter().map(|form| form.as_str().unwrap().to_owned()));
    }

    /// Fills in the first form with this action whose text or fields hold `about`, presses its button, and waits for the page
    /// that follows.
    fn press(&mut self, action: &str, about: &str, fields: &[(&str, &str)]) {
        let fill = format!(
            "(() => {{
                const holds = (form) => form.closest('article, tr, section')?.textContent.includes({about});
                const forms = [...document.querySelectorAll('form')]
                    .filter((one) => (one.dataset.finish || one.getAttribute('action')) === {action});
                const form = forms.find((one) => {about} === '' || holds(one));
                if (!form) return 'no such form';
                for (const [name, value] of {fields}) {{
                    const all = [...form.elements].filter((one) => one.name === name);
                    const choice = all.find((one) => ['checkbox', 'radio'].includes(one.type) && one.value === value);
                    if (choice) choice.checked = true;
                    else if (all.length === 1) all[0].value = value;
                    else return `no field ${{name}}`;
                }}
                window.left = true;
                form.querySelector('button').click();
                return '';
            }})()",
            about = json!(about),
            action = json!(action),
            fields = json!(fields),
        );
        let trouble = self.browser.evaluate(&fill);
        assert_eq!(trouble, json!(""), "{action} ({about}) on: {}", self.browser.text());
        self.pressed.insert(action.to_owned());
        self.browser.wait("!window.left");
        self.arrived();
    }

    fn shows(&mut self, words: &str) {
        let text = self.browser.text();
        assert!(text.contains(words), "`{words}` is not in: {text}");
    }

    /// The first match of a regular expression in what is shown.
    fn find(&mut self, expression: &str) -> String {
        let found = self.browser.evaluate(&format!("(document.body.innerText.match({expression}) || [''])[0]"));
        assert_ne!(found, json!(""), "{expression} on: {}", self.browser.text());
        found.as_str().unwrap().to_owned()
    }

    /// Brings in a person or a program, and returns the invitation's address where there is one.
    fn invite(&mut self, name: &str, kind: &str, roles: &[&str]) -> String {
        self.open("/people");
        let display = format!("{name} <i>");
        let mut fields = vec![("name", name), ("display", display.as_str()), ("kind", kind)];
        fields.extend(roles.iter().map(|role| ("role", *role)));
        self.press("/people/invite", "", &fields);
        if kind == "service" { String::new() } else { self.find(r"/https:\/\/\S+\/invitation#\S+/") }
    }

    fn code(&mut self, secret: &str, offset: i64) -> String {
        let code = self.browser.evaluate(&format!("{APP}({}, {offset})", json!(secret)));
        code.as_str().unwrap().to_owned()
    }
}

#[test]
fn every_form_does_what_it_says() {
    let home = Home::with_vault();
    for name in ["net", "web"] {
        fs::create_dir(home.work().join(name)).unwrap();
        fs::write(home.work().join(name).join("'\"><img src=x onerror=alert(1)>.pkl"), HARMFUL).unwrap();
        home.run(&["add", name, "--as", &format!("model/{name}")]).exits(1);
    }
    rewritten(&home);
    let Some(first) = Chromium::start(&home.root().join("first")) else { return };
    let Some(second) = Chromium::start(&home.root().join("second")) else { return };
    let mut server = Serving::start(&home, true);
    let mut ana = Person::new(first, &server.url);
    let mut ben = Person::new(second, &server.url);

    // Ana is the first, with a passkey.
    ana.open("/invitation");
    let setup = server.setup.clone().unwrap();
    ana.press("/invitation/open", "", &[("token", &setup)]);
    ana.browser.wait("!document.querySelector('form[data-passkey]').hidden");
    ana.browser.fill("name", "ana");
    ana.browser.fill("label", "laptop");
    ana.browser.press("Create a passkey");
    ana.pressed.insert("/invitation/passkey/finish".to_owned());
    ana.browser.wait("!document.getElementById('codes').hidden");
    ana.browser.press("I have kept them");
    ana.browser.wait("location.pathname === '/'");
    ana.open("/step-up?next=/people");
    ana.press("/step-up/passkey/finish", "", &[]);
    assert_eq!(ana.browser.evaluate("location.pathname"), json!("/people"));
    let invitation = ana.invite("ben", "human", &["security_officer", "researcher"]);
    ana.invite("cleo", "human", &["researcher"]);
    ana.invite("mule", "service", &["trainer"]);

    enters(&mut ben, &invitation);
    own_account(&mut ben, &home);
    judges(&mut ben);
    asks_and_is_answered(&mut ana, &mut ben);
    administers(&mut ana);
    ana.open("/");
    ana.press("/alerts/acknowledge", "", &[("reason", "the table was made anew"), ("days", "3")]);

    // Out, and in again with what they have.
    ana.open("/account");
    ana.press("/sign-out", "", &[]);
    ana.press("/sign-in/passkey/finish", "", &[]);

    // Nothing that they can see was left out.
    for person in [&mut ana, &mut ben] {
        for (path, _) in PAGES {
            person.open(path);
        }
        assert_eq!(person.browser.complaints, [""; 0], "the browser complained");
    }
    let pressed: BTreeSet<&String> = ana.pressed.union(&ben.pressed).collect();
    let left: Vec<&String> = ana
        .seen
        .union(&ben.seen)
        .filter(|form| !pressed.contains(form) && !PRESSED_THERE.contains(&form.as_str()))
        .collect();
    assert!(left.is_empty(), "nobody pressed {left:?}");
    assert_eq!(server.stop(), 0);
    home.run(&["trail", "verify"]).exits(0);
}

/// A dataset whose second version has other values in most of its records: that raises an alert.
fn rewritten(home: &Home) {
    let moved = |(number, line): (usize, &str)| match (number, line.split_once(',')) {
        (0, _) | (_, None) => line.to_owned(),
        (_, Some((first, rest))) => format!("{},{rest}", first.parse::<f64>().unwrap() + 100.0),
    };
    let table = small_table(400);
    let other: Vec<String> = table.lines().enumerate().map(moved).collect();
    for table in [table.clone(), other.join("\n") + "\n"] {
        home.write("train.csv", table);
        home.run(&["add", "train.csv", "--as", "dataset/small", "--label", "label"]).exits(0);
    }
}

/// Ben takes up his invitation with a password and an app, and signs in again with both.
fn enters(ben: &mut Person, invitation: &str) {
    ben.browser.open(invitation);
    ben.arrived();
    ben.press("/invitation/open", "", &[]);
    let secret = ben.find(r"/otpauth:\S+/");
    let secret = secret.split("secret=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    // Each step's code counts once, and those beside the present one count too: three codes for three uses.
    let code = ben.code(&secret, -1);
    let password = "eleven herons over a meadow";
    ben.press("/invitation/password", "", &[("password", password), ("code", &code)]);
    ben.browser.wait("document.querySelector('ul.codes li')");
    ben.browser.press("I have kept them");
    ben.browser.wait("location.pathname === '/'");
    ben.arrived();
    ben.press("/sign-out", "", &[]);
    let code = ben.code(&secret, 0);
    ben.press("/sign-in", "", &[("name", "ben"), ("password", password), ("code", &code)]);
    assert_eq!(ben.browser.evaluate("location.pathname"), json!("/"), "{}", ben.browser.text());
    ben.open("/step-up?next=/account");
    let code = ben.code(&secret, 1);
    ben.press("/step-up", "", &[("code", &code)]);
    assert_eq!(ben.browser.evaluate("location.pathname"), json!("/account"), "{}", ben.browser.text());
}

/// Ben's own factors, sessions and tokens, and a command line that he lets in and out.
fn own_account(ben: &mut Person, home: &Home) {
    ben.open("/account");
    ben.press("/account/passkey/finish", "", &[("label", "key <u>")]);
    ben.shows("key <u>");
    ben.press("/account/factors/remove", "key <u>", &[]);
    ben.press("/account/recovery-codes", "", &[]);
    ben.open("/account");
    ben.press("/account/tokens", "", &[("label", "nightly"), ("scope", "read"), ("days", "1")]);
    ben.find(r"/rf_\w+/");
    ben.press("/account/tokens/revoke", "nightly", &[]);

    let authority = home.config().join("tls/authority.pem");
    let mut command = home.command(&["login", "--authority", authority.to_str().unwrap()]);
    command.env("RINGFENCE_SERVER", &ben.url);
    let mut child: Child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let code = code(&mut child);
    ben.open(&format!("/device?code={code}"));
    ben.press("/device/confirm", "", &[]);
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let url = ben.url.clone();
    let lists = || {
        let mut command = home.command(&["ls"]);
        command.env("RINGFENCE_SERVER", &url);
        home.done(command)
    };
    lists().exits(0);
    ben.open("/account");
    ben.press("/account/sessions/end", "ringfence", &[]);
    lists().exits(4);
}

/// Ben decides on what is held.
fn judges(ben: &mut Person) {
    ben.open("/review");
    ben.press("/review/approve", "model/net@1", &[("reason", "known <b>operator</b>")]);
    ben.press("/review/refuse", "model/web@1", &[("reason", "nobody knows it")]);
    ben.open("/artifacts/model/net/1");
    ben.shows("admitted");
}

/// Ben asks for two policies; Ana approves one with her passkey and refuses the other.
fn asks_and_is_answered(ana: &mut Person, ben: &mut Person) {
    for document in [POLICY, OTHER_POLICY] {
        ben.open("/policy");
        ben.press("/policy/compare", "", &[("document", document)]);
        ben.press("/policy/propose", "", &[("reason", "as <i>agreed</i>")]);
    }
    ben.open("/artifacts/dataset/small/1");
    ben.press("/requests/make", "", &[("action", "destroy"), ("reason", "its owner left")]);
    ana.open("/review");
    ana.shows("its owner left");
    ana.shows("destroy the keys of dataset/small@1");
    ben.open("/review");
    ben.press("/requests/withdraw", "destroy the keys", &[]);
    ana.open("/review");
    ana.press("/requests/approve/finish", "evidence_max_age_days", &[]);
    ana.shows("1 of 2");
    ana.press("/requests/refuse", "allow_no_scan", &[("reason", "then we wait")]);
    ana.open("/break-glass");
    ana.press("/break-glass/break", "", &[("reason", "the site is <b>on fire</b>")]);
    ana.shows("broken now");
    ana.press("/break-glass/end", "", &[]);
    ana.shows("waits for a review");
    ben.open("/break-glass");
    ben.press("/break-glass/review", "", &[("reason", "she took nothing out")]);
    ben.shows("she took nothing out");
}

/// Ana gives roles, shuts out, lets in, resets, and makes a program's token.
fn administers(ana: &mut Person) {
    ana.open("/people");
    ana.press("/people/roles", "cleo <i>", &[("role", "tester")]);
    ana.press("/people/disable", "cleo <i>", &[("reason", "on leave")]);
    ana.press("/people/enable", "cleo <i>", &[]);
    ana.press("/people/reset", "cleo <i>", &[("reason", "lost the telephone")]);
    ana.find(r"/https:\/\/\S+\/invitation#\S+/");
    ana.open("/people");
    ana.press("/people/token", "mule <i>", &[("label", "cluster"), ("scope", "receive"), ("days", "30")]);
    ana.find(r"/rf_\w+/");
}

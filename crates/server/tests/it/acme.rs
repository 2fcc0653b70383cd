//! Certificates from an authority that speaks ACME.
//!
//! The proofs are shown to a client of ours everywhere; the whole way needs the authority `pebble` and its
//! `pebble-challtestsrv` (Debian: pebble), and skips, loudly, without them.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rcgen::{CertificateParams, KeyPair};
use ringfence_engine::schema::Timestamp;
use ringfence_server::{
    guard::hosts::HostName,
    serve::{
        Channel, Drained, Exposure, Limits, Listener, Stop,
        acme::{Acme, AcmeError, Certified},
        authority::Authority,
        tls::{Clients, Identity, Tls, provider},
    },
};
use rustls::{ClientConfig, RootCertStore, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, pem::PemObject as _};
use tokio::{net::TcpStream, sync::mpsc, task::JoinHandle, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::world::{App, FREE, PATIENCE, now, service};

const NAME: &str = "train.ringfence.example";

/// A server with the embedded authority's certificate, and what it presents.
struct Served {
    address: SocketAddr,
    tls: Tls,
    authority: Arc<Authority>,
    stop: Stop,
    running: JoinHandle<Drained>,
    folder: tempfile::TempDir,
}

impl Served {
    async fn start(proving: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let hosts = [HostName::parse(NAME).unwrap()];
        let authority = Arc::new(Authority::open(&folder.path().join("tls"), &hosts, now()).unwrap());
        let tls = Tls::new(Identity::Embedded(authority.clone()), Clients::Unasked, now()).unwrap();
        let tls = if proving { tls.proving() } else { tls };
        let exposure = Exposure::of(([127, 0, 0, 1], 0).into(), Channel::Tls(tls.clone()), || Ok(())).unwrap();
        let listener = Listener::bind(exposure, Limits::default()).await.unwrap();
        let (address, stop) = (listener.address(), Stop::default());
        let serving = listener.serve(service(App::default(), FREE), stop.clone());
        let running = tokio::spawn(serving);
        Self { address, tls, authority, stop, running, folder }
    }

    fn tls_folder(&self) -> std::path::PathBuf {
        self.folder.path().join("tls")
    }

    /// A handshake for the name under these roots.
    async fn shake(&self, roots: RootCertStore, alpn: &[u8]) -> std::io::Result<TlsStream<TcpStream>> {
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        let socket = TcpStream::connect(self.address).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(NAME).unwrap(), socket).await
    }

    async fn end(self) {
        self.stop.stop();
        assert_eq!(self.running.await.unwrap(), Drained::Whole);
    }
}

/// A certificate of its own for the name, and itself as the only root.
fn own() -> (CertifiedKey, RootCertStore) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![NAME.to_owned()]).unwrap().self_signed(&key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    (CertifiedKey::from_der(vec![certificate.der().clone()], private, &provider()).unwrap(), roots)
}

#[tokio::test]
async fn a_proof_is_shown_to_who_asks_for_it_and_to_nobody_else() {
    let served = Served::start(true).await;
    let (proof, roots) = own();
    assert!(served.shake(roots.clone(), b"acme-tls/1").await.is_err(), "nothing is to be proven");
    served.tls.prove(NAME, proof);
    let shaken = served.shake(roots.clone(), b"acme-tls/1").await.unwrap();
    assert_eq!(shaken.get_ref().1.alpn_protocol(), Some(&b"acme-tls/1"[..]));
    assert!(served.shake(roots.clone(), b"http/1.1").await.is_err(), "others get the server's certificate");
    assert!(served.shake(served.authority.roots().unwrap(), b"http/1.1").await.is_ok());
    served.tls.forget_proofs();
    assert!(served.shake(roots, b"acme-tls/1").await.is_err());
    served.end().await;
    let without = Served::start(false).await;
    let refused = without.shake(without.authority.roots().unwrap(), b"acme-tls/1").await;
    assert!(refused.is_err(), "who asked no authority proves nothing");
    without.end().await;
}

#[tokio::test]
async fn a_certificate_that_has_run_out_gives_way_to_the_embedded_authoritys() {
    let served = Served::start(true).await;
    let (key, roots) = own();
    let until = now().plus_millis(60_000);
    served.tls.install(key, until);
    assert!(served.shake(roots.clone(), b"http/1.1").await.is_ok());
    assert!(!served.tls.renew(now()).unwrap());
    assert!(served.shake(roots.clone(), b"http/1.1").await.is_ok());
    assert!(served.tls.renew(until).unwrap());
    assert!(served.shake(roots, b"http/1.1").await.is_err());
    assert!(served.shake(served.authority.roots().unwrap(), b"http/1.1").await.is_ok());
    served.end().await;
}

#[test]
fn names_that_no_public_authority_signs_for_are_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let ask = |names: &[&str]| {
        let hosts: Vec<_> = names.iter().map(|name| HostName::parse(name).unwrap()).collect();
        Acme::new("https://acme.ringfence.example/directory", None, None, &hosts, folder.path())
    };
    assert!(ask(&[NAME]).is_ok());
    for names in [&["192.0.2.1"][..], &[NAME, "2001:db8::1"], &["train"], &[]] {
        assert!(matches!(ask(names), Err(AcmeError::Name { .. })), "{names:?}");
    }
    let plain =
        Acme::new("http://acme.ringfence.example", None, None, &[HostName::parse(NAME).unwrap()], folder.path());
    assert!(matches!(plain, Err(AcmeError::Reach(_))));
}

/// A program that runs until the test ends.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(command: &mut Command) -> Option<Program> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok().map(Program)
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// `pebble` with names that all lead to this machine, asking for proofs on `proven`: its directory, its root, where what it
/// signs begins, and the programs.
fn pebble(folder: &Path, proven: u16) -> Option<(String, String, [Program; 2])> {
    let (dns, listens, managed) = (free_port(), free_port(), free_port());
    let names = start(
        Command::new("pebble-challtestsrv")
            .args(["-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", ""])
            .args(["-dns01", &format!("127.0.0.1:{dns}"), "-management", &format!("127.0.0.1:{}", free_port())]),
    )?;
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    fs::write(folder.join("cert.pem"), certificate.pem()).unwrap();
    fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    let config = serde_json::json!({"pebble": {
        "listenAddress": format!("127.0.0.1:{listens}"), "managementListenAddress": format!("127.0.0.1:{managed}"),
        "certificate": folder.join("cert.pem"), "privateKey": folder.join("key.pem"),
        "httpPort": free_port(), "tlsPort": proven, "ocspResponderURL": "", "externalAccountBindingRequired": false,
    }});
    fs::write(folder.join("pebble.json"), config.to_string()).unwrap();
    let authority = start(
        Command::new("pebble")
            .env("PEBBLE_VA_NOSLEEP", "1")
            .args(["-dnsserver", &format!("127.0.0.1:{dns}"), "-config"])
            .arg(folder.join("pebble.json")),
    )?;
    let up = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        std::net::TcpStream::connect(("127.0.0.1", listens)).is_ok()
    });
    assert!(up, "pebble does not listen");
    Some((format!("https://localhost:{listens}/dir"), certificate.pem(), [names, authority]))
}

/// How much later than now [`later`] is.
static LATER_MS: AtomicU64 = AtomicU64::new(0);

fn later() -> Timestamp {
    now().plus_millis(LATER_MS.load(Ordering::Relaxed))
}

fn hear(acme: Acme, tls: &Tls, now: fn() -> Timestamp) -> (JoinHandle<()>, mpsc::UnboundedReceiver<Certified>) {
    let (told, heard) = mpsc::unbounded_channel();
    let kept = acme.keep(tls.clone(), now, move |outcome| drop(told.send(outcome)));
    (tokio::spawn(kept), heard)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_signs_what_is_proven_and_it_is_kept_for_the_next_start() {
    let served = Served::start(true).await;
    let work = tempfile::tempdir().unwrap();
    let Some((directory, root, _programs)) = pebble(work.path(), served.address.port()) else {
        println!("SKIPPED: no `pebble` and `pebble-challtestsrv` (Debian: pebble)");
        return;
    };
    let hosts = [HostName::parse(NAME).unwrap()];
    let (folder, root) = (served.tls_folder(), root.into_bytes());
    let ask = || Acme::new(&directory, Some(&root), Some("ops@ringfence.example"), &hosts, &folder).unwrap();
    let (keeping, mut heard) = hear(ask(), &served.tls, now);
    let outcome = timeout(PATIENCE, heard.recv()).await.unwrap().unwrap();
    let Certified::Until(until) = outcome else { panic!("{outcome:?}") };
    assert!(until > now());
    assert!(served.shake(served.authority.roots().unwrap(), b"http/1.1").await.is_err(), "another one is served");
    let chain = fs::read(folder.join("acme.pem")).unwrap();
    let signer = CertificateDer::pem_slice_iter(&chain).filter_map(Result::ok).last().unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(signer).unwrap();
    served.shake(roots, b"http/1.1").await.unwrap();
    keeping.abort();
    // Only their owner reads the keys, and nothing else is left behind.
    let mut kept = Vec::new();
    for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
        use std::os::unix::fs::PermissionsExt as _;
        let name = entry.file_name().into_string().unwrap();
        if name.starts_with("acme") {
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        }
        kept.push(name);
    }
    kept.sort();
    assert_eq!(kept, ["acme-account.json", "acme.pem", "authority.key.pem", "authority.pem"]);
    // The next start has it at once, from an authority that is not even asked.
    let again = Acme::new("https://localhost:1/dir", Some(&root), None, &hosts, &folder).unwrap();
    let (keeping, mut heard) = hear(again, &served.tls, now);
    assert!(matches!(timeout(PATIENCE, heard.recv()).await.unwrap(), Some(Certified::Until(same)) if same == until));
    keeping.abort();
    // With a third of its life left, the next is obtained, with the account of before.
    LATER_MS.store((until.millis() - now().millis()) / 4 * 3, Ordering::Relaxed);
    let (keeping, mut heard) = hear(ask(), &served.tls, later);
    assert!(matches!(timeout(PATIENCE, heard.recv()).await.unwrap(), Some(Certified::Until(same)) if same == until));
    let next = timeout(PATIENCE, heard.recv()).await.unwrap().unwrap();
    assert!(matches!(next, Certified::Until(next) if next >= until), "{next:?}");
    keeping.abort();
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_is_not_reached_or_not_convinced_is_asked_again_later() {
    let served = Served::start(true).await;
    let hosts = [HostName::parse(NAME).unwrap()];
    let folder = served.tls_folder();
    let gone = format!("https://localhost:{}/dir", free_port());
    let acme = Acme::new(&gone, Some(served_root(&served).as_bytes()), None, &hosts, &folder).unwrap();
    let (keeping, mut heard) = hear(acme, &served.tls, now);
    let outcome = timeout(PATIENCE, heard.recv()).await.unwrap().unwrap();
    assert!(
        matches!(&outcome, Certified::Refused(AcmeError::Refused { .. }, wait) if *wait >= Duration::from_mins(15)),
        "{outcome:?}"
    );
    keeping.abort();
    assert!(served.shake(served.authority.roots().unwrap(), b"http/1.1").await.is_ok(), "the first one serves on");
    let work = tempfile::tempdir().unwrap();
    // Names that lead to where nobody proves anything.
    let Some((directory, root, _programs)) = pebble(work.path(), free_port()) else {
        println!("SKIPPED: no `pebble` and `pebble-challtestsrv` (Debian: pebble)");
        return;
    };
    let acme = Acme::new(&directory, Some(root.as_bytes()), None, &hosts, &folder).unwrap();
    let (keeping, mut heard) = hear(acme, &served.tls, now);
    let outcome = timeout(PATIENCE, heard.recv()).await.unwrap().unwrap();
    let Certified::Refused(why, _) = outcome else { panic!("{outcome:?}") };
    assert!(why.to_string().contains("tls-alpn-01"), "the authority's own words: {why}");
    keeping.abort();
    served.end().await;
}

fn served_root(served: &Served) -> String {
    fs::read_to_string(served.authority.certificate_path()).unwrap()
}

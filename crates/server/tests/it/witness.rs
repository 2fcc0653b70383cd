//! The witness's door with a certificate: TLS 1.3 and nothing older; what it answers is tested through the command.

use std::{net::SocketAddr, path::Path, sync::Arc, sync::mpsc, thread, time::Duration};

use ringfence_engine::witness::{Algorithm, create, open};
use ringfence_server::witness::{CertificateFiles, WitnessServeError, serve};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;

struct Door {
    address: SocketAddr,
    roots: RootCertStore,
}

/// A witness that serves until the process ends.
fn door(folder: &Path) -> Door {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (chain, key) = (folder.join("chain.pem"), folder.join("key.pem"));
    std::fs::write(&chain, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let home = folder.join("witness");
    create(&home, Some("ana.example/w1"), Algorithm::Ed25519).unwrap();
    let (tell, hear) = mpsc::channel();
    thread::spawn(move || {
        let files = CertificateFiles { chain: &chain, key: &key };
        let ready = move |address| tell.send(address).unwrap();
        serve(open(&home).unwrap(), "127.0.0.1:0".parse().unwrap(), Some(files), ready, Arc::new(|_: &str| {}))
    });
    Door { address: hear.recv_timeout(Duration::from_secs(30)).unwrap(), roots }
}

impl Door {
    /// What it answers to `GET` over this version of TLS.
    fn ask(&self, versions: &[&'static SupportedProtocolVersion]) -> std::io::Result<String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(self.address).await?;
            let name = "localhost".try_into().unwrap();
            let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
            stream.write_all(b"GET /add-checkpoint HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok(answer)
        })
    }
}

#[test]
fn a_certificate_means_tls_1_3() {
    let home = tempfile::tempdir().unwrap();
    let door = door(home.path());
    let answer = door.ask(&[&rustls::version::TLS13]).unwrap();
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("allow: post"), "{answer}");
    door.ask(&[&rustls::version::TLS12]).unwrap_err();
}

#[test]
fn beyond_loopback_a_certificate_is_needed() {
    let home = tempfile::tempdir().unwrap();
    let witness = create(home.path(), None, Algorithm::MlDsa44).unwrap();
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let witness = open(home.path()).unwrap();
        let refused = serve(witness, listen.parse().unwrap(), None, |_| {}, Arc::new(|_: &str| {}));
        assert!(matches!(refused, Err(WitnessServeError::NeedsTls { .. })), "{listen}");
    }
    let nowhere = home.path().join("nowhere.pem");
    let files = CertificateFiles { chain: &nowhere, key: &nowhere };
    let refused = serve(witness, "127.0.0.1:0".parse().unwrap(), Some(files), |_| {}, Arc::new(|_: &str| {}));
    assert!(matches!(refused, Err(WitnessServeError::Certificate { .. })));
}

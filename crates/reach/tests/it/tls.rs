//! TLS and proxies, with a server of our own: who is believed, what is spoken, and what a proxy gets to see.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
};

use ringfence_reach::{HostRule, Network, Proxy, Reach, ReachError, Roots, Scheme, Settings, testing::open_settings};
use rustls::{
    NamedGroup, ProtocolVersion, ServerConfig, ServerConnection, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use crate::world::{hub, reach, source};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name)
}

/// What a connection agreed on.
type Spoken = Arc<Mutex<Vec<(Option<ProtocolVersion>, Option<NamedGroup>)>>>;

/// Serves one small file over TLS of the given versions; gives its port.
fn server(versions: &[&'static rustls::SupportedProtocolVersion]) -> (u16, Spoken) {
    let certificate = CertificateDer::from_pem_file(file("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let (config, spoken) = (Arc::new(config), Spoken::default());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let told = Arc::clone(&spoken);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
            let mut head = [0; 4_096];
            if stream.read(&mut head).is_ok_and(|bytes| bytes > 0) {
                let group = stream.conn.negotiated_key_exchange_group().map(rustls::crypto::SupportedKxGroup::name);
                told.lock().unwrap().push((stream.conn.protocol_version(), group));
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\nconnection: close\r\n\r\nweights");
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    });
    (port, spoken)
}

fn settings(port: u16, roots: Roots) -> Settings {
    let mut settings = Settings { roots, ..open_settings(&[]) };
    let host = "localhost".parse().unwrap();
    settings.egress.hosts.push(HostRule { host, port: Some(port), scheme: Scheme::Https, network: Network::Local });
    settings
}

fn look(settings: Settings, port: u16) -> Result<Option<u64>, ReachError> {
    let listing = Reach::new(settings, ringfence_reach::Secrets::default())?
        .listing(&source(&format!("https://localhost:{port}/net.onnx")))?;
    Ok(listing.files[0].size)
}

#[test]
fn a_certificate_counts_if_its_authority_was_named() {
    let (port, spoken) = server(rustls::ALL_VERSIONS);
    assert_eq!(look(settings(port, Roots::File(file("ca.pem"))), port).unwrap(), Some(7));
    let first = spoken.lock().unwrap()[0];
    assert_eq!(first, (Some(ProtocolVersion::TLSv1_3), Some(NamedGroup::X25519MLKEM768)));
    let error = look(settings(port, Roots::Bundled), port).unwrap_err();
    assert!(matches!(error, ReachError::Tls { .. }), "{error}");
    assert!(error.remedy().unwrap().contains("roots"));
    // The server's own certificate is no authority, and its key no certificate.
    assert!(look(settings(port, Roots::File(file("server.key"))), port).is_err());
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let (port, _) = server(rustls::ALL_VERSIONS);
    let mut settings = settings(port, Roots::File(file("ca.pem")));
    let host = "127.0.0.1".parse().unwrap();
    settings.egress.hosts.push(HostRule { host, port: Some(port), scheme: Scheme::Https, network: Network::Local });
    let error = reach(settings).listing(&source(&format!("https://127.0.0.1:{port}/net.onnx"))).unwrap_err();
    assert!(matches!(error, ReachError::Tls { .. }), "{error}");
}

#[test]
fn tls_1_2_is_the_least_that_is_spoken() {
    let (port, spoken) = server(&[&rustls::version::TLS12]);
    assert_eq!(look(settings(port, Roots::File(file("ca.pem"))), port).unwrap(), Some(7));
    assert_eq!(spoken.lock().unwrap()[0].0, Some(ProtocolVersion::TLSv1_2));
}

/// A proxy that connects everything to `target`; what it was asked is in the list.
fn proxy(target: u16) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&asked);
    thread::spawn(move || {
        for mut near in listener.incoming().flatten() {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && near.read(&mut byte).is_ok_and(|bytes| bytes > 0) {
                head.push(byte[0]);
            }
            let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
            told.lock().unwrap().push(line);
            let Ok(mut far) = TcpStream::connect(("127.0.0.1", target)) else { continue };
            near.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
            let (mut back_from, mut back_to) = (far.try_clone().unwrap(), near.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut back_from, &mut back_to));
            thread::spawn(move || std::io::copy(&mut near, &mut far));
        }
    });
    (port, asked)
}

#[test]
fn a_proxy_is_used_if_it_is_named_and_the_policy_still_judges() {
    let hub = hub();
    let (port, asked) = proxy(hub.api.port());
    let mut settings = hub.settings();
    // The name means nothing here: the proxy resolves it.
    settings.hub.endpoint = "http://hub.example.org".into();
    settings.egress.hosts.push(HostRule {
        host: "hub.example.org".parse().unwrap(),
        port: None,
        scheme: Scheme::Http,
        network: Network::Public,
    });
    settings.proxy = Some(Proxy(format!("http://127.0.0.1:{port}")));
    reach(settings.clone()).listing(&source("hf://acme/digits")).unwrap();
    assert!(asked.lock().unwrap().iter().all(|line| line.starts_with("CONNECT hub.example.org:80 ")));
    assert!(!asked.lock().unwrap().is_empty());
    settings.hub.endpoint = "http://other.example.org".into();
    let count = asked.lock().unwrap().len();
    let error = reach(settings).listing(&source("hf://acme/digits")).unwrap_err();
    assert!(matches!(error, ReachError::Denied(_)), "{error}");
    assert_eq!(asked.lock().unwrap().len(), count);
}

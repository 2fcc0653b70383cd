//! What is negotiated, and what is not.

use std::sync::Arc;

use ringfence_server::serve::{authority::Fingerprint, tls::provider};
use rustls::{
    ClientConfig, NamedGroup, ProtocolVersion,
    crypto::{aws_lc_rs, aws_lc_rs::kx_group},
    version::TLS12,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use crate::world::{Plan, Site, now, send};

#[tokio::test]
async fn the_group_is_post_quantum_and_the_version_is_1_3() {
    let site = Site::start(Plan::default()).await;
    // A client that knows it gets it, wherever it stands among the shares that it offers; one that does not is still heard.
    let cases = [
        (aws_lc_rs::DEFAULT_KX_GROUPS.to_vec(), NamedGroup::X25519MLKEM768),
        (vec![kx_group::X25519MLKEM768], NamedGroup::X25519MLKEM768),
        (vec![kx_group::X25519], NamedGroup::X25519),
    ];
    for (groups, expected) in cases {
        let crypto = rustls::crypto::CryptoProvider { kx_groups: groups, ..aws_lc_rs::default_provider() };
        let mut config = ClientConfig::builder_with_provider(Arc::new(crypto))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(site.authority.roots().unwrap())
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let stream = site.connect_as(config).await.unwrap();
        let (_, connection) = stream.get_ref();
        assert_eq!(connection.negotiated_key_exchange_group().unwrap().name(), expected);
        assert_eq!(connection.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        assert_eq!(connection.alpn_protocol(), Some(&b"http/1.1"[..]));
    }
}

#[tokio::test]
async fn version_1_2_and_other_protocols_are_refused() {
    let site = Site::start(Plan::default()).await;
    let old = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .with_root_certificates(site.authority.roots().unwrap())
        .with_no_client_auth();
    let refused = site.connect_as(old).await.unwrap_err().to_string();
    assert!(refused.contains("ProtocolVersion"), "{refused}");
    let mut h2 = site.trusting().with_no_client_auth();
    h2.alpn_protocols = vec![b"h2".to_vec()];
    let refused = site.connect_as(h2).await.unwrap_err().to_string();
    assert!(refused.contains("NoApplicationProtocol"), "{refused}");
    assert_eq!(site.ask("GET /open HTTP/1.1", b"").await.status, 200, "and the server lives on");
}

#[tokio::test]
async fn a_client_resumes_and_early_data_is_not_offered() {
    let site = Site::start(Plan::default()).await;
    let mut config = site.trusting().with_no_client_auth();
    config.enable_early_data = true;
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let mut stream = site.connect_as(config.clone()).await.unwrap();
        let head = format!("GET /open HTTP/1.1\r\nHost: localhost:{}\r\n\r\n", site.address.port());
        send(&mut stream, head.as_bytes()).await.unwrap();
        let (_, connection) = stream.get_ref();
        assert!(!connection.is_early_data_accepted());
        kinds.push(connection.handshake_kind().unwrap());
    }
    assert_eq!(kinds, [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed]);
}

#[tokio::test]
async fn a_part_is_known_by_its_certificate() {
    let site = Site::start(Plan { clients: true, ..Plan::default() }).await;
    let part = site.authority.part("runner-1", now()).unwrap();
    let identity = |certificate: &str, key: &str| {
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        site.trusting().with_client_auth_cert(chain, key).unwrap()
    };
    let request = format!("GET /me HTTP/1.1\r\nHost: localhost:{}\r\n\r\n", site.address.port());
    let mut stream = site.connect_as(identity(&part.certificate_pem, &part.key_pem)).await.unwrap();
    let reply = send(&mut stream, request.as_bytes()).await.unwrap();
    assert_eq!((reply.status, reply.body), (200, format!("{0} by {0}", part.fingerprint)));

    // Without one, one is nobody; the handshake holds all the same.
    let reply = send(&mut site.connect().await, request.as_bytes()).await.unwrap();
    assert_eq!((reply.status, reply.problem().as_str()), (401, "sign-in"));

    // One of another authority ends the connection; so does one whose time is over.
    let folder = tempfile::tempdir().unwrap();
    let other = ringfence_server::serve::authority::Authority::open(folder.path(), &[], now()).unwrap();
    let long_ago = ringfence_engine::schema::Timestamp::from_millis(now().millis() - 100 * 86_400_000);
    for part in [other.part("runner-1", now()).unwrap(), site.authority.part("runner-2", long_ago).unwrap()] {
        let config = identity(&part.certificate_pem, &part.key_pem);
        // In TLS 1.3 a client learns of the refusal only when it reads.
        let answered = match site.connect_as(config).await {
            Ok(mut stream) => send(&mut stream, request.as_bytes()).await.is_some(),
            Err(_) => false,
        };
        assert!(!answered);
    }
}

#[tokio::test]
async fn the_certificate_is_renewed_before_it_runs_out() {
    use ringfence_server::serve::{
        authority::{Authority, LEAF_LIFE, LEAF_RENEW_BEFORE},
        tls::{Clients, Identity, Tls},
    };
    let folder = tempfile::tempdir().unwrap();
    let start = now();
    let authority = Arc::new(Authority::open(folder.path(), &[], start).unwrap());
    let tls = Tls::new(Identity::Embedded(authority), Clients::Unasked, start).unwrap();
    let first: Fingerprint = tls.fingerprint().unwrap();
    let due = u64::try_from(LEAF_LIFE.saturating_sub(LEAF_RENEW_BEFORE).as_millis()).unwrap();
    assert!(!tls.renew(start.plus_millis(due - 1)).unwrap());
    assert_eq!(tls.fingerprint(), Some(first));
    assert!(tls.renew(start.plus_millis(due)).unwrap());
    assert_ne!(tls.fingerprint(), Some(first));
    assert_eq!(provider().kx_groups[0].name(), NamedGroup::X25519MLKEM768);
}

//! Any bytes as what others sign or tell: the first byte says as what. A model signature is also read behind its signature
//! check, since no fuzzer forges one.
#![no_main]
use ringfence_schema::{Digest, Timestamp, Tree, TreeEntry, osv};
use ringfence_trust::{certificate, content::OnRecord, ecdsa, feed, minisign, oms, sums, waiver};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    match kind % 8 {
        0 => {
            let entry = TreeEntry { path: "config.json".into(), size: 1, sha256: Digest::of(b"x") };
            let Ok(tree) = Tree::new(vec![entry]) else { return };
            let request = oms::Request {
                signature_path: None,
                at: Timestamp::from_millis(1_790_000_000_000),
                uncovered: oms::Uncovered::Tell,
            };
            let trusted = [oms::Trusted::Certificates { roots: Vec::new(), names: certificate::SignerNames::Any }];
            let _ = oms::verify(&OnRecord::new(&tree), data, &trusted, &request);
        }
        1 => oms::fuzz_statement(data),
        2 => {
            if let Ok(chain) = certificate::from_pem(data) {
                let any = certificate::SignerNames::Any;
                let _ = certificate::verify(&chain, &chain, &any, Timestamp::from_millis(1_790_000_000_000));
                let _ = chain.iter().map(|each| (each.subject(), each.names(), each.public_key())).count();
            }
        }
        3 => {
            let _ = ecdsa::EcdsaPublicKey::from_pem(data);
            let _ = ecdsa::EcdsaKey::from_pem(data);
        }
        4 => {
            let _ = minisign::MinisignSignature::parse(data);
            let _ = minisign::MinisignKey::parse(data);
        }
        5 => {
            if let Ok(list) = sums::parse(data) {
                assert_eq!(sums::parse(sums::to_list(&list).as_bytes()).ok(), Some(list));
            }
        }
        6 => {
            if let Ok(advisory) = osv::parse(data) {
                let version = String::from_utf8_lossy(data.get(..8).unwrap_or_default()).into_owned();
                let packages = advisory.affected.iter().filter_map(|affected| affected.package.as_ref());
                let packages: Vec<_> = packages
                    .map(|package| osv::Package {
                        ecosystem: package.ecosystem.clone(),
                        name: package.name.clone(),
                        version: version.clone(),
                    })
                    .collect();
                let _ = osv::matches(&[advisory], &packages, &[]);
            }
        }
        _ => {
            let _ = waiver::open_file(data, &[]);
            let _ = feed::open(data, &[], None, Timestamp::from_millis(0));
        }
    }
});

//! Trusted certificates of the connections to PostgreSQL and Redis.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// A client that trusts the certificates of `ca_file`, or the system's without it.
pub(crate) fn client(ca_file: Option<&Path>) -> anyhow::Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(ca_file)?)
        .with_no_client_auth())
}

fn roots(ca_file: Option<&Path>) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            let shown = path.display();
            for certificate in
                CertificateDer::pem_file_iter(path).with_context(|| format!("cannot read {shown} as PEM"))?
            {
                let certificate = certificate.with_context(|| format!("cannot read {shown} as PEM"))?;
                roots
                    .add(certificate)
                    .with_context(|| format!("cannot use a certificate of {shown}"))?;
            }
            anyhow::ensure!(!roots.is_empty(), "{shown} contains no certificate");
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            for certificate in found.certs {
                // One unreadable system certificate must not prevent the use of the others.
                let _ = roots.add(certificate);
            }
        }
    }
    Ok(roots)
}

//! TLS of the API's listener: its certificate, which is read again when its files change. Connections that are open
//! keep the certificate with which they began.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::RwLock;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, RootCertStore, ServerConfig};

use crate::config::TlsFiles;

/// How often the files are compared with what was read of them.
const RELOAD_INTERVAL: Duration = Duration::from_secs(2);

/// Why a certificate cannot be used: the variable, its file, the reason, and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}={file}: {reason}; {remedy}")]
pub struct TlsError {
    variable: &'static str,
    file: String,
    reason: String,
    remedy: &'static str,
}

const CERTIFICATE: &str = "TLS_CERTIFICATE";
const KEY: &str = "TLS_KEY";
const CHAIN_REMEDY: &str = "name a readable PEM file with the certificate of the service, followed by those of the \
                            authorities between it and the root";
const KEY_REMEDY: &str =
    "name a readable PEM file with the private key of the certificate, without a passphrase";
const PAIR_REMEDY: &str = "name the key with which the certificate was requested";
const VALID_REMEDY: &str = "renew the certificate, or correct the clock of this machine";

/// The contents of both files.
#[derive(PartialEq, Eq)]
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// The certificate that new connections get.
pub(super) struct Certificate {
    files: TlsFiles,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<CertifiedKey>>,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").field("files", &self.files).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read()))
    }
}

/// The encryption of a listener: TLS 1.2 and 1.3 with the certificate of these files, which is watched in a task of
/// the current system.
///
/// # Errors
/// If a file cannot be read, or if the certificate cannot be used.
pub(super) fn server_config(files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let contents = read(files)?;
    let current = RwLock::new(Arc::new(certified(files, &contents, &provider)?));
    let certificate = Certificate { files: files.clone(), provider, current };
    let certificate = Arc::new(certificate);
    let config = ServerConfig::builder_with_provider(Arc::clone(&certificate.provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| problem(CERTIFICATE, &files.certificate, error, CHAIN_REMEDY))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(&certificate) as Arc<dyn ResolvesServerCert>);
    actix_web::rt::spawn(certificate.watch(contents));
    Ok(config)
}

impl Certificate {
    /// Replaces the certificate whenever its files have changed and are a valid pair. Otherwise the certificate before
    /// stays, and the error is logged once.
    async fn watch(self: Arc<Self>, mut read_last: Contents) {
        let mut failed_last = None;
        loop {
            actix_web::rt::time::sleep(RELOAD_INTERVAL).await;
            match self.reload(&read_last) {
                Ok(None) => failed_last = None,
                Ok(Some(contents)) => {
                    read_last = contents;
                    failed_last = None;
                    log::info!("the TLS certificate was read again, since its files have changed");
                }
                Err(error) if failed_last.as_ref() == Some(&error) => {}
                Err(error) => {
                    log::error!("the TLS certificate before stays in use: {error}");
                    failed_last = Some(error);
                }
            }
        }
    }

    /// The new contents of the files, once they are in use; `None` if nothing has changed.
    fn reload(&self, read_last: &Contents) -> Result<Option<Contents>, TlsError> {
        let contents = read(&self.files)?;
        if contents == *read_last {
            return Ok(None);
        }
        let certified = certified(&self.files, &contents, &self.provider)?;
        *self.current.write() = Arc::new(certified);
        Ok(Some(contents))
    }
}

fn problem(
    variable: &'static str,
    file: &Path,
    reason: impl ToString,
    remedy: &'static str,
) -> TlsError {
    TlsError { variable, file: file.display().to_string(), reason: reason.to_string(), remedy }
}

fn read(files: &TlsFiles) -> Result<Contents, TlsError> {
    let read = |variable, file: &Path, remedy| {
        std::fs::read(file).map_err(|error| problem(variable, file, error, remedy))
    };
    let certificate = read(CERTIFICATE, &files.certificate, CHAIN_REMEDY)?;
    let key = read(KEY, &files.key, KEY_REMEDY)?;
    Ok(Contents { certificate, key })
}

/// The certificate with its key: both can be read, belong together, and are valid now.
fn certified(
    files: &TlsFiles,
    contents: &Contents,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let of_chain =
        |reason: String, remedy| problem(CERTIFICATE, &files.certificate, reason, remedy);
    let of_key = |reason: String, remedy| problem(KEY, &files.key, reason, remedy);
    let chain = CertificateDer::pem_slice_iter(&contents.certificate)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| of_chain(error.to_string(), CHAIN_REMEDY))?;
    if chain.is_empty() {
        return Err(of_chain("it has no certificate".to_owned(), CHAIN_REMEDY));
    }
    let key = PrivateKeyDer::from_pem_slice(&contents.key)
        .map_err(|error| of_key(error.to_string(), KEY_REMEDY))?;
    let key = provider.key_provider.load_private_key(key);
    let key = key.map_err(|error| of_key(error.to_string(), KEY_REMEDY))?;
    if let Some(reason) = not_valid(&chain, provider) {
        return Err(of_chain(reason, VALID_REMEDY));
    }
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) => Ok(certified),
        Err(Error::InconsistentKeys(_)) => {
            let reason = format!("it is not the key of {}", files.certificate.display());
            Err(of_key(reason, PAIR_REMEDY))
        }
        Err(error) => Err(of_chain(error.to_string(), CHAIN_REMEDY)),
    }
}

/// Why the first certificate of a chain is not valid at this time, if so. Its signature is not checked.
fn not_valid(chain: &[CertificateDer<'static>], provider: &CryptoProvider) -> Option<String> {
    let (first, further) = chain.split_first()?;
    let mut roots = RootCertStore::empty();
    roots.add(chain.last()?.clone()).ok()?;
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(provider.clone()));
    let name = ServerName::try_from("localhost").ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = UnixTime::since_unix_epoch(now);
    // The period is checked before anything else. Whether clients trust the chain is not for this process to say.
    let verified = verifier.build().ok()?.verify_server_cert(first, further, &name, &[], now);
    match verified.err()? {
        Error::InvalidCertificate(
            error @ (CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }),
        ) => Some(error.to_string()),
        _ => None,
    }
}

//! Where the keys of the identity provider come from: a URL or a file.

use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::key_set::KeySet;

/// The time limit of the whole request.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The most bytes of a key set.
const SIZE_MAX: u64 = 256 * 1024;

/// Where the keys come from.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// A URL of the identity provider.
    Url(String),
    /// A file.
    File(PathBuf),
}

/// Reads keys from their source.
#[derive(Debug)]
pub(super) struct KeyReader {
    source: KeySource,
    agent: Agent,
}

impl KeyReader {
    /// Trusts the certificates of the system, or those of Mozilla if the system has none. Follows no redirect.
    pub(super) fn new(source: KeySource) -> Self {
        let system = rustls_native_certs::load_native_certs().certs;
        let system: Vec<_> = system
            .iter()
            .map(|certificate| Certificate::from_der(certificate).to_owned())
            .collect();
        let roots = match system.as_slice() {
            [] => RootCerts::WebPki,
            certificates => RootCerts::new_with_certs(certificates),
        };
        let config = Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .max_redirects(0)
            .http_status_as_error(false)
            .proxy(None)
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .build();
        Self { source, agent: config.into() }
    }

    /// Reads the keys; blocks.
    pub(super) fn read(&self) -> Result<KeySet, String> {
        let mut text = Vec::new();
        let read = match &self.source {
            KeySource::File(path) => std::fs::File::open(path)
                .and_then(|file| file.take(SIZE_MAX + 1).read_to_end(&mut text))
                .map_err(|error| error.to_string()),
            KeySource::Url(url) => {
                let answer = self.agent.get(url).call().map_err(|error| error.to_string())?;
                if answer.status() != 200 {
                    return Err(format!("the identity provider answers {}", answer.status()));
                }
                let body = answer.into_body().into_reader();
                body.take(SIZE_MAX + 1).read_to_end(&mut text).map_err(|error| error.to_string())
            }
        };
        read?;
        if u64::try_from(text.len()).is_ok_and(|length| length > SIZE_MAX) {
            return Err(format!("it has more than {SIZE_MAX} bytes"));
        }
        KeySet::parse(&text)
    }
}

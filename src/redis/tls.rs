//! Which certificates are believed: those of the system, read once, and one more file.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use deadpool_redis::redis::{
    Client, ConnectionAddr, IntoConnectionInfo, RedisResult, TlsCertificates,
};

use super::discovery::wrong;
use super::settings::{Address, Tls};

/// Turns addresses into those of encrypted connections.
#[derive(Clone)]
pub(super) struct Encryption {
    /// Carries what redis made of the certificates, which cannot be named outside of it.
    template: ConnectionAddr,
}

impl Encryption {
    /// Fails if there is nobody to believe, or if the file holds no certificate that can be read.
    pub(super) fn new(tls: &Tls) -> RedisResult<Self> {
        let mut authorities = String::new();
        if let Some(ca) = &tls.ca {
            let read = ca.contains("-----BEGIN CERTIFICATE-----") && believing(ca).is_ok();
            if !read {
                return Err(wrong("REDIS_TLS_CA holds no certificate in PEM form".to_owned()));
            }
            authorities.push_str(ca);
            authorities.push('\n');
        }
        let system = rustls_native_certs::load_native_certs();
        for error in system.errors {
            log::warn!("a certificate of the system is left out: {error}");
        }
        for certificate in system.certs {
            // All or none are taken at once, and a system may have some that rustls cannot read.
            let certificate = pem(&certificate);
            if believing(&certificate).is_ok() {
                authorities.push_str(&certificate);
            }
        }
        if authorities.is_empty() {
            let remedy = "the system has no certificates to believe; install its ca-certificates \
                          or set REDIS_TLS_CA";
            return Err(wrong(remedy.to_owned()));
        }
        Ok(Self { template: believing(&authorities)? })
    }

    /// The address, encrypted.
    pub(super) fn address(&self, address: &Address) -> ConnectionAddr {
        let mut encrypted = self.template.clone();
        if let ConnectionAddr::TcpTls { host, port, .. } = &mut encrypted {
            host.clone_from(&address.host);
            *port = address.port;
        }
        encrypted
    }
}

/// An address whose server is believed if one of these authorities vouches for it.
fn believing(authorities: &str) -> RedisResult<ConnectionAddr> {
    let nowhere =
        ConnectionAddr::TcpTls { host: String::new(), port: 0, insecure: false, tls_params: None };
    let certificates =
        TlsCertificates { client_tls: None, root_cert: Some(authorities.as_bytes().to_vec()) };
    let client = Client::build_with_tls(nowhere.into_connection_info()?, certificates)?;
    Ok(client.get_connection_info().addr().clone())
}

fn pem(certificate: &[u8]) -> String {
    let text = STANDARD.encode(certificate);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_refused() {
        for ca in ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(Encryption::new(&Tls { ca: Some(ca.into()) }).is_err(), "{ca:?}");
        }
    }
}

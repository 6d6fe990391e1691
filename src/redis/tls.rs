//! The trusted certificates: those of the system, which are read once, and those of `REDIS_TLS_CA`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use deadpool_redis::redis::{
    Client, ConnectionAddr, IntoConnectionInfo, RedisResult, TlsCertificates,
};

use super::failure::other_error;
use super::settings::{Address, Tls};

/// Makes addresses for encrypted connections.
#[derive(Clone)]
pub(super) struct RedisTls {
    /// Holds the parsed certificates, whose type is private to the crate redis.
    template: ConnectionAddr,
}

impl RedisTls {
    /// Reads the trusted certificates. Fails if there are none, or if `tls.ca` contains no readable certificate.
    pub(super) fn new(tls: &Tls) -> RedisResult<Self> {
        let mut authorities = String::new();
        if let Some(ca) = &tls.ca {
            let is_valid = ca.contains("-----BEGIN CERTIFICATE-----") && trusting(ca).is_ok();
            if !is_valid {
                return Err(other_error(
                    "REDIS_TLS_CA holds no certificate in PEM form".to_owned(),
                ));
            }
            authorities.push_str(ca);
            authorities.push('\n');
        }
        let system = rustls_native_certs::load_native_certs();
        for error in system.errors {
            log::warn!("a certificate of the system is ignored: {error}");
        }
        for certificate in system.certs {
            // Certificates that rustls cannot read are skipped, because one of them would make the whole list invalid.
            let certificate = pem(&certificate);
            if trusting(&certificate).is_ok() {
                authorities.push_str(&certificate);
            }
        }
        if authorities.is_empty() {
            let remedy = "the system has no trusted certificates; install its ca-certificates \
                          or set REDIS_TLS_CA";
            return Err(other_error(remedy.to_owned()));
        }
        Ok(Self { template: trusting(&authorities)? })
    }

    /// The address for an encrypted connection.
    pub(super) fn address(&self, address: &Address) -> ConnectionAddr {
        let mut encrypted = self.template.clone();
        if let ConnectionAddr::TcpTls { host, port, .. } = &mut encrypted {
            host.clone_from(&address.host);
            *port = address.port;
        }
        encrypted
    }
}

/// An encrypted address that trusts these authorities.
fn trusting(authorities: &str) -> RedisResult<ConnectionAddr> {
    let placeholder =
        ConnectionAddr::TcpTls { host: String::new(), port: 0, insecure: false, tls_params: None };
    let certificates =
        TlsCertificates { client_tls: None, root_cert: Some(authorities.as_bytes().to_vec()) };
    let client = Client::build_with_tls(placeholder.into_connection_info()?, certificates)?;
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
            assert!(RedisTls::new(&Tls { ca: Some(ca.into()) }).is_err(), "{ca:?}");
        }
    }
}

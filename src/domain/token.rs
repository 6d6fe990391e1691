//! Customer tokens: which tokens of the shop's identity provider are accepted (RFC 7519, RFC 8725).

use strum::{AsRefStr, EnumString};

use super::api_key::origin::Origin;

/// A signature algorithm with a public key (RFC 7518 §3.1, RFC 8037). Neither `none` nor a shared secret is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, AsRefStr, EnumString)]
#[strum(serialize_all = "UPPERCASE")]
pub enum TokenAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// ECDSA with P-384 and SHA-384.
    Es384,
    /// Ed25519.
    #[strum(serialize = "EdDSA")]
    EdDsa,
}

/// What a token must say.
#[derive(Debug, Clone)]
pub struct TokenRules {
    /// The value of `iss`.
    pub issuer: String,
    /// The values of `aud`, one of which a token must have.
    pub audiences: Vec<String>,
    /// The algorithms that are accepted.
    pub algorithms: Vec<TokenAlgorithm>,
    /// By how many milliseconds the clocks may differ.
    pub leeway_ms: i64,
    /// The pages that may send tokens.
    pub origins: Vec<Origin>,
}

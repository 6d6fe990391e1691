//! The public keys of the identity provider (JWKS, RFC 7517), and signatures by them.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;

use crate::domain::token::TokenAlgorithm;

/// The most keys of a set.
const KEYS_MAX: usize = 100;

/// The least bytes of the modulus of an RSA key (RFC 7518 §3.3).
const MODULUS_MIN: usize = 256;

/// A key as it is written; unknown members are ignored.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<serde_json::Value>,
}

#[derive(Debug, PartialEq, Eq)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// A key that verifies signatures.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct VerifyingKey {
    kid: Option<String>,
    /// The only algorithm that the key is for, if it names one.
    algorithm: Option<TokenAlgorithm>,
    material: Material,
}

/// The keys that verify signatures. Keys of another use or kind are left out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct KeySet(Vec<VerifyingKey>);

/// The result of a look-up.
#[derive(Debug)]
pub(super) enum FoundKey<'a> {
    /// The key of the id, or the only key.
    Key(&'a VerifyingKey),
    /// No key has the id.
    Unknown,
    /// The token names no key, and there are several.
    Ambiguous,
}

impl KeySet {
    /// Reads a set. Fails if it has no key that verifies signatures.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let set: Jwks =
            serde_json::from_slice(text).map_err(|error| format!("it is no JWKS: {error}"))?;
        if set.keys.len() > KEYS_MAX {
            return Err(format!("it has more than {KEYS_MAX} keys"));
        }
        let keys = set
            .keys
            .into_iter()
            .filter_map(|key| VerifyingKey::of(serde_json::from_value(key).ok()?));
        let keys: Vec<VerifyingKey> = keys.collect();
        if keys.is_empty() {
            return Err(
                "it has no public key for signatures (RSA of 2048 bits or more, P-256, P-384, \
                        Ed25519)"
                    .to_owned(),
            );
        }
        Ok(Self(keys))
    }

    /// The key that a token names. A token need not name the only key.
    pub(super) fn find(&self, kid: Option<&str>) -> FoundKey<'_> {
        match (kid, self.0.as_slice()) {
            (None, [key]) => FoundKey::Key(key),
            (None, _) => FoundKey::Ambiguous,
            (Some(kid), keys) => {
                let named = keys.iter().find(|key| key.kid.as_deref() == Some(kid));
                named.map_or(FoundKey::Unknown, FoundKey::Key)
            }
        }
    }
}

fn bytes(text: Option<String>) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(text?).ok()
}

/// An uncompressed point with coordinates of this length.
fn point(x: Option<String>, y: Option<String>, length: usize) -> Option<Vec<u8>> {
    let (x, y) = (bytes(x)?, bytes(y)?);
    (x.len() == length && y.len() == length).then(|| [&[4], x.as_slice(), y.as_slice()].concat())
}

impl VerifyingKey {
    /// The key, if it is public and meant for signatures.
    fn of(key: Jwk) -> Option<Self> {
        let is_for_signatures = key.usage.as_deref().is_none_or(|usage| usage == "sig");
        let verifies = key.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !is_for_signatures || !verifies {
            return None;
        }
        let algorithm = key.alg.map(|name| name.parse::<TokenAlgorithm>()).transpose().ok()?;
        let material = match (key.kty.as_str(), key.crv.as_deref()) {
            ("RSA", _) => {
                let n: Vec<u8> = bytes(key.n)?.into_iter().skip_while(|byte| *byte == 0).collect();
                let e = bytes(key.e)?.into_iter().skip_while(|byte| *byte == 0).collect();
                (n.len() >= MODULUS_MIN).then_some(Material::Rsa { n, e })?
            }
            ("EC", Some("P-256")) => Material::P256(point(key.x, key.y, 32)?),
            ("EC", Some("P-384")) => Material::P384(point(key.x, key.y, 48)?),
            ("OKP", Some("Ed25519")) => Material::Ed25519(bytes(key.x)?),
            _ => return None,
        };
        Some(Self { kid: key.kid, algorithm, material })
    }

    /// Whether the signature of the message is by this key; never with an algorithm of another kind of key.
    pub(super) fn verifies(&self, algorithm: TokenAlgorithm, message: &[u8], sign: &[u8]) -> bool {
        use TokenAlgorithm as A;
        if self.algorithm.is_some_and(|own| own != algorithm) {
            return false;
        }
        let rsa = match algorithm {
            A::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            A::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            A::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            A::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
            A::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
            A::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
            A::Es256 | A::Es384 | A::EdDsa => {
                return self.verifies_on_curve(algorithm, message, sign);
            }
        };
        match &self.material {
            Material::Rsa { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(rsa, message, sign).is_ok()
            }
            _ => false,
        }
    }

    fn verifies_on_curve(&self, algorithm: TokenAlgorithm, message: &[u8], sign: &[u8]) -> bool {
        let (form, key): (&'static dyn signature::VerificationAlgorithm, _) =
            match (algorithm, &self.material) {
                (TokenAlgorithm::Es256, Material::P256(key)) => {
                    (&signature::ECDSA_P256_SHA256_FIXED, key)
                }
                (TokenAlgorithm::Es384, Material::P384(key)) => {
                    (&signature::ECDSA_P384_SHA384_FIXED, key)
                }
                (TokenAlgorithm::EdDsa, Material::Ed25519(key)) => (&signature::ED25519, key),
                _ => return false,
            };
        UnparsedPublicKey::new(form, key).verify(message, sign).is_ok()
    }
}

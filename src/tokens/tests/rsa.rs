//! Signatures of an RSA key, made by `openssl genrsa 2048` and `openssl dgst -sign` (for PSS with
//! `-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:-1`). `ring` makes no RSA keys.

use super::*;

/// What was signed.
const MESSAGE: &[u8] = b"seatlock";

/// The modulus; the exponent is 65537.
const MODULUS: &str = "27GvkxZFPDORS5cqS37fKu6wPqK9ws4Nsa9ZLznJsj49UtgNMNl22jjmMI3sLf9nOpVsngYfKY3G7-jxyZ31dksH\
    2DckkrAjqAM1zVeuw5TGxMWkFxEfh1nYYH94UkEGkHnVvmTK1PqU8O8fl3rWuauXG9_kkm4DooQouFZR5eW_fg3i\
    uqoFhLqQdgP4dslTvlWtGLgdnhxfYTUEVX9BAbv3bEjdHdKkLPp9r7fTumOqgM32iGHjNJPqh08RK5Y-AAw3kBfM\
    UecW-Ioiz_bUADJ8nGMbIs3NpeRBLJPJpZuj2eSLj_k5vsHzr8RUUUKyH9cq_AvG2gTcDxkJtXdiDQ";

const RS256: &str = "09S2WUrw3abbmTestNTq0U1CXWtJJ483pOM0GVx-4Sq6YNsGk8rT5a8wJ-knlOIk8-K3CqwdcD_1y7ybk1hyQ2AN\
    rdn_jQHIc7M1cgC77835_sSTME-aY3hLqHs4nEv2rY0UNS5eT2r1XwppivGNxwlGFtHkAL9vaW3K440L_dRarrIG\
    KlJRYKQr0rM0Tlp9tZuoVVST6EHnQsERi2im0i1sjKiWCB12Epv8Rq1YD5c2XvNVSY6Ji905w6o0LaxPWblRuKkk\
    q-fGeOdMBbX5Bh2nb9PJgRCDLsQWIqw2VJ0-YWYdZYADcMRKDy7a_NDQydhVmPBGdQ0p9xvKYkItuQ";

const PS512: &str = "OpFS3uVnYkWWEKKYWcBST8XUFesTDfT3XAFPhD4DxQsQ6clF83dCmpx_lX7cMmFSsDCiR4AoIE3RfZUctCEb6WsH\
    SzDu3UzaTEtpJtQ2iuVvhnOKL2q1XMezRNBL0toesBdPrJfTwNSYVy3aAEFgl-d_xqratjfJ-u12RXOj7udFiS4z\
    Ydaf6Z4n12Af0CNZkAtzJO6lcrnfw0lH7kA5f_SD-xetf1XdDoSb7LNCVE_5Uaayc9BPVwj7hxOAJJbOWU1J4nFU\
    B9icp0rOt4CZ0JF_0i7vhF4vr4Bc4Y3WoWsQKwiwXIl130a2ZcJbH5pWqt19xp7mT-DxP8X3pujFYA";

fn key(algorithm: Option<&str>) -> KeySet {
    let jwk = json!({"kty": "RSA", "n": MODULUS, "e": "AQAB", "alg": algorithm});
    KeySet::parse(set(&[jwk]).as_bytes()).unwrap()
}

#[test]
fn an_rsa_key_verifies_its_signatures_by_the_algorithm_that_made_them_only() {
    let verifies = |keys: &KeySet, algorithm, message: &[u8], signature: &str| {
        let FoundKey::Key(key) = keys.find(None) else { panic!("one key needs no kid") };
        key.verifies(algorithm, message, &BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap())
    };
    use TokenAlgorithm::{Es256, Ps256, Ps512, Rs256, Rs512};
    let keys = key(None);
    assert!(verifies(&keys, Rs256, MESSAGE, RS256));
    assert!(verifies(&keys, Ps512, MESSAGE, PS512));
    for other in [Rs512, Ps256, Ps512, Es256] {
        assert!(!verifies(&keys, other, MESSAGE, RS256), "{other:?}");
    }
    assert!(!verifies(&keys, Rs256, MESSAGE, PS512));
    assert!(!verifies(&keys, Rs256, b"seatlocK", RS256));
    let mut forged = BASE64_URL_SAFE_NO_PAD.decode(RS256).unwrap();
    forged[200] ^= 1;
    assert!(!verifies(&keys, Rs256, MESSAGE, &encoded(forged)));
    assert!(verifies(&key(Some("RS256")), Rs256, MESSAGE, RS256));
    assert!(!verifies(&key(Some("PS512")), Rs256, MESSAGE, RS256), "the key is for PS512 only");
}

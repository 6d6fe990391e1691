//! Tokens of a provider that the tests play: every attack is refused, and keys are read as seldom as they should be.

mod rsa;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use serde_json::{Value, json};

use super::*;
use crate::domain::token::TokenAlgorithm;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

const NOW: i64 = 1_000_000;

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

struct Signer {
    kid: &'static str,
    ed: Ed25519KeyPair,
}

impl Signer {
    fn new(kid: &'static str) -> Self {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self { kid, ed: Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap() }
    }

    fn jwk(&self) -> Value {
        let x = encoded(self.ed.public_key());
        json!({"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "use": "sig", "alg": "EdDSA", "x": x})
    }

    fn signed(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
        format!("{message}.{}", encoded(self.ed.sign(message.as_bytes())))
    }

    fn header(&self) -> Value {
        json!({"alg": "EdDSA", "kid": self.kid, "typ": "JWT"})
    }

    fn token(&self) -> String {
        self.signed(&self.header(), &claims())
    }
}

fn claims() -> Value {
    json!({"iss": "https://id.example", "aud": ["other", "seatlock"], "sub": "ada", "exp": NOW + 60})
}

fn with(mut of: Value, name: &str, value: Value) -> Value {
    of[name] = value;
    of
}

fn without(mut of: Value, name: &str) -> Value {
    of.as_object_mut().unwrap().remove(name);
    of
}

fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

fn tokens(source: KeySource) -> Arc<Tokens> {
    let rules = TokenRules {
        issuer: "https://id.example".to_owned(),
        audiences: vec!["seatlock".to_owned()],
        algorithms: vec![TokenAlgorithm::EdDsa, TokenAlgorithm::Es256, TokenAlgorithm::Rs256],
        leeway_ms: 30_000,
        origins: Vec::new(),
    };
    Arc::new(Tokens::new(rules, source, Duration::from_secs(300), || EpochMs(NOW * 1_000)))
}

fn knowing(keys: &[Value]) -> Arc<Tokens> {
    let tokens = tokens(KeySource::File("/nonexistent".into()));
    *tokens.keys.write() = Some(Arc::new(KeySet::parse(set(keys).as_bytes()).unwrap()));
    // No refresh follows, so an unknown key is refused without waiting.
    tokens.refreshes.close();
    tokens
}

async fn refusal(tokens: &Tokens, token: &str) -> String {
    match tokens.caller(token).await {
        Err(RefusedToken::Invalid(why)) => why,
        other => panic!("{other:?} of {token}"),
    }
}

#[tokio::test]
async fn a_valid_token_is_its_customer() {
    let signer = Signer::new("a");
    let tokens = knowing(&[signer.jwk(), Signer::new("b").jwk()]);
    let caller = tokens.caller(&signer.token()).await.unwrap();
    assert_eq!(caller.customer.as_ref().unwrap().as_str(), "ada");
    let (header, claims) = (signer.header(), claims());
    for (header, claims) in [
        (without(header.clone(), "typ"), with(claims.clone(), "aud", json!("seatlock"))),
        (with(header.clone(), "typ", json!("application/at+jwt")), claims.clone()),
        (header.clone(), with(claims.clone(), "exp", json!(NOW - 29))),
        (header.clone(), with(claims.clone(), "nbf", json!(NOW + 30))),
    ] {
        tokens.caller(&signer.signed(&header, &claims)).await.unwrap();
    }
    let alone = knowing(&[signer.jwk()]);
    alone.caller(&signer.signed(&without(header, "kid"), &claims)).await.unwrap();
}

#[tokio::test]
async fn every_attack_is_refused_with_its_reason() {
    let (signer, other) = (Signer::new("a"), Signer::new("b"));
    let pair = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
    let pair = EcdsaKeyPair::from_pkcs8(
        &ECDSA_P256_SHA256_FIXED_SIGNING,
        pair.unwrap().as_ref(),
        &SystemRandom::new(),
    );
    let point = pair.unwrap().public_key().as_ref().to_vec();
    let curve = json!({"kty": "EC", "crv": "P-256", "kid": "c", "x": encoded(&point[1..33]), "y": encoded(&point[33..])});
    let tokens = knowing(&[signer.jwk(), other.jwk(), curve]);
    let (header, good) = (signer.header(), claims());
    for (header, claims, why) in [
        (with(header.clone(), "alg", json!("none")), good.clone(), "JWT_ALGORITHMS"),
        (with(header.clone(), "alg", json!("HS256")), good.clone(), "JWT_ALGORITHMS"),
        (with(header.clone(), "alg", json!("PS256")), good.clone(), "JWT_ALGORITHMS"),
        (with(header.clone(), "alg", json!("ES256")), good.clone(), "signature"),
        (with(header.clone(), "alg", json!("RS256")), good.clone(), "signature"),
        (with(header.clone(), "kid", json!("c")), good.clone(), "signature"),
        (with(header.clone(), "kid", json!("b")), good.clone(), "signature"),
        (with(header.clone(), "kid", json!("x")), good.clone(), "no key with its kid"),
        (without(header.clone(), "kid"), good.clone(), "needs a kid"),
        (with(header.clone(), "crit", json!(["b64"])), good.clone(), "critical"),
        (with(header.clone(), "typ", json!("logout+jwt")), good.clone(), "typ"),
        (header.clone(), with(good.clone(), "iss", json!("https://evil.example")), "iss"),
        (header.clone(), with(good.clone(), "iss", json!(["https://id.example"])), "lacks"),
        (header.clone(), with(good.clone(), "aud", json!(["other"])), "aud"),
        (header.clone(), with(good.clone(), "exp", json!(NOW - 30)), "expired"),
        (header.clone(), with(good.clone(), "exp", json!("9999999999")), "lacks"),
        (header.clone(), with(good.clone(), "nbf", json!(NOW + 31)), "nbf"),
        (header.clone(), with(good.clone(), "sub", json!(" ")), "sub"),
        (
            header.clone(),
            with(good.clone(), "sub", json!(format!("browser-session-{}", "a".repeat(32)))),
            "sub",
        ),
        (header.clone(), without(good.clone(), "exp"), "lacks"),
        (header.clone(), without(good.clone(), "iss"), "lacks"),
        (header.clone(), without(good.clone(), "aud"), "lacks"),
        (header.clone(), without(good.clone(), "sub"), "lacks"),
        (header.clone(), with(good.clone(), "more", json!("x".repeat(9_000))), "bytes"),
    ] {
        let found = refusal(&tokens, &signer.signed(&header, &claims)).await;
        assert!(found.contains(why), "{found} instead of {why}");
    }
    // A shared secret that is the text of the public key, and a changed or absent signature.
    let (message, _) =
        signer.token().rsplit_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    for token in [format!("{message}."), format!("{message}.{}", encoded([0; 64]))] {
        assert!(refusal(&tokens, &token).await.contains("signature"));
    }
    let header = json!({"alg": "HS256", "kid": "a"});
    let message = format!("{}.{}", encoded(header.to_string()), encoded(good.to_string()));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, signer.ed.public_key().as_ref());
    let forged = format!("{message}.{}", encoded(ring::hmac::sign(&key, message.as_bytes())));
    assert!(refusal(&tokens, &forged).await.contains("JWT_ALGORITHMS"));
}

#[test]
fn keys_of_another_use_or_kind_are_left_out() {
    let key = Signer::new("a").jwk();
    let short = json!({"kty": "RSA", "n": encoded([255; 128]), "e": "AQAB"});
    for wrong in [
        with(key.clone(), "use", json!("enc")),
        with(key.clone(), "alg", json!("HS256")),
        with(key.clone(), "key_ops", json!(["sign"])),
        with(key.clone(), "crv", json!("X25519")),
        json!({"kty": "oct", "k": "AAAA"}),
        short,
        json!(7),
    ] {
        assert!(KeySet::parse(set(std::slice::from_ref(&wrong)).as_bytes()).is_err(), "{wrong}");
        assert_eq!(
            KeySet::parse(set(&[wrong, key.clone()]).as_bytes()),
            KeySet::parse(set(std::slice::from_ref(&key)).as_bytes())
        );
    }
    for text in ["", "{}", "[]", "{\"keys\":{}}"] {
        assert!(KeySet::parse(text.as_bytes()).is_err(), "{text}");
    }
}

/// An identity provider that counts requests and sends the answer that the test has set.
#[derive(Default)]
struct Provider {
    requests: AtomicU64,
    is_down: AtomicBool,
    answer: RwLock<String>,
}

impl Provider {
    fn start() -> (Arc<Self>, KeySource) {
        let provider = Arc::new(Self::default());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/jwks", listener.local_addr().unwrap());
        let own = Arc::clone(&provider);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = [0; 4_096];
                let _ = stream.read(&mut head);
                own.requests.fetch_add(1, Ordering::SeqCst);
                if !own.is_down.load(Ordering::SeqCst) {
                    let _ = stream.write_all(own.answer.read().as_bytes());
                }
            }
        });
        (provider, KeySource::Url(url))
    }

    fn answers(&self, status: &str, body: &str) {
        let length = body.len();
        *self.answer.write() = format!(
            "HTTP/1.1 {status}\r\nlocation: /jwks\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
    }

    fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_unknown_keys_cause_one_request_and_a_rotation_needs_no_restart() {
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let (provider, source) = Provider::start();
    provider.answers("200 OK", &set(&[old.jwk()]));
    let tokens = tokens(source);
    assert_eq!(tokens.caller(&old.token()).await, Err(RefusedToken::Unavailable));
    tokens.refresh().await.unwrap();
    tokens.caller(&old.token()).await.unwrap();
    provider.answers("200 OK", &set(&[old.jwk(), new.jwk()]));
    // The task in the background: one reading for all that wait.
    let task = Arc::clone(&tokens);
    let task = tokio::spawn(async move {
        task.wanted().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        task.refresh().await
    });
    let requests = (0..1_000).map(|n| {
        let token = if n == 500 { new.token() } else { Signer::new("unknown").token() };
        let tokens = Arc::clone(&tokens);
        tokio::spawn(async move { tokens.caller(&token).await.is_ok() })
    });
    let accepted = futures_util::future::join_all(requests).await;
    assert_eq!(accepted.into_iter().filter(|accepted| *accepted.as_ref().unwrap()).count(), 1);
    task.await.unwrap().unwrap();
    assert_eq!(provider.requests(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_good_keys_are_used_while_the_provider_fails() {
    let signer = Signer::new("a");
    let (provider, source) = Provider::start();
    provider.answers("200 OK", &set(&[signer.jwk()]));
    let tokens = tokens(source);
    tokens.refresh().await.unwrap();
    let huge = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(300_000));
    for (status, body) in [
        ("500 Internal Server Error", ""),
        ("302 Found", ""),
        ("200 OK", "{}"),
        ("200 OK", "{\"keys\":[]}"),
        ("200 OK", huge.as_str()),
    ] {
        provider.answers(status, body);
        assert!(tokens.refresh().await.is_err(), "{status}");
        tokens.caller(&signer.token()).await.unwrap();
    }
    assert_eq!(provider.requests(), 6, "no redirect is followed");
    provider.is_down.store(true, Ordering::SeqCst);
    assert!(tokens.refresh().await.is_err());
    tokens.caller(&signer.token()).await.unwrap();
}

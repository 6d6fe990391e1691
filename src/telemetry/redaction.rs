//! Removes secrets from all text that the process outputs.
//!
//! The configuration registers every secret before it is used. [`redact`] is applied to log lines, to the output of
//! commands and to the reasons of `/readyz`, because the error of a driver may contain the URL of its server.

use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};

use parking_lot::RwLock;

/// The text that replaces a secret.
pub const REDACTED: &str = "[redacted]";

/// The least length of a text that is removed. Shorter texts also occur in ordinary words.
const LENGTH_MIN: usize = 4;

/// The parameters of URLs whose values are not secret, and may occur in other texts.
const HARMLESS: [&str; 16] = [
    "application_name",
    "channel_max",
    "connection_timeout",
    "dbname",
    "frame_max",
    "heartbeat",
    "host",
    "hostaddr",
    "options",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-root-cert",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

/// Texts to remove, the longest first.
static SECRETS: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// The most secrets of [`register_changing`]: those of several servers, each with some before it.
const CHANGING_MAX: usize = 16;

/// The forms of each secret that is replaced by others, the newest secret first.
static CHANGING: RwLock<VecDeque<Vec<String>>> = RwLock::new(VecDeque::new());

/// Registers a secret. From now on it is removed from every text, in each form in which it may occur.
pub fn register(secret: &str) {
    let mut secrets = SECRETS.write();
    secrets.extend(forms(secret));
    secrets.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    secrets.dedup();
}

/// Registers a secret that will be replaced by others, such as a password that is valid for minutes. Only the newest
/// ones are removed from texts.
pub fn register_changing(secret: &str) {
    let mut forms: Vec<String> = forms(secret).into_iter().collect();
    forms.sort_unstable_by_key(|form| std::cmp::Reverse(form.len()));
    let mut changing = CHANGING.write();
    changing.truncate(CHANGING_MAX - 1);
    changing.push_front(forms);
}

/// The text without the registered secrets.
#[must_use]
pub fn redact(text: &str) -> Cow<'_, str> {
    let text = without(text, &SECRETS.read());
    CHANGING.read().iter().fold(text, |text, forms| match without(&text, forms) {
        Cow::Borrowed(_) => text,
        Cow::Owned(text) => Cow::Owned(text),
    })
}

fn without<'a>(text: &'a str, secrets: &[String]) -> Cow<'a, str> {
    secrets.iter().fold(Cow::Borrowed(text), |text, secret| match text.contains(secret) {
        true => Cow::Owned(text.replace(secret, REDACTED)),
        false => text,
    })
}

/// The forms in which a secret may be printed: as given, percent-decoded, and each of these as `Debug` prints it. If
/// the secret is a URL, these are the forms of the whole URL, of its password and of the values of its parameters.
fn forms(secret: &str) -> BTreeSet<String> {
    let mut parts = vec![secret.trim().to_owned()];
    if let Some((_, rest)) = secret.split_once("://") {
        match url_parts(rest) {
            Some(secret) => parts.extend(secret),
            None => parts.clear(),
        }
    }
    let decoded: Vec<String> = parts.iter().map(|part| percent_decoded(part)).collect();
    let plain = parts.into_iter().chain(decoded);
    let forms = plain.flat_map(|part| [part.escape_debug().to_string(), part]);
    forms.filter(|form| form.len() >= LENGTH_MIN).collect()
}

/// The secrets in the part of a URL after its scheme; `None` if there are none. The part before the last `@` is the
/// user and password, because a password may contain an `@` that should have been encoded.
fn url_parts(rest: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut has_password = false;
    if let Some((login, address)) = rest.rsplit_once('@')
        && let Some((user, password)) = login.split_once(':')
    {
        has_password = true;
        // A password that is also the name of the user or the database would be removed everywhere.
        let database = address.rsplit('/').next().and_then(|path| path.split('?').next());
        if password != user && Some(password) != database {
            parts.push(password.to_owned());
        }
    }
    let query = rest.split_once('?').map_or("", |(_, query)| query);
    for parameter in query.split('&') {
        let (name, value) = parameter.split_once('=').unwrap_or(("", parameter));
        if !value.is_empty() && !HARMLESS.contains(&name) && name != "sslmode" {
            parts.push(value.to_owned());
            parts.push(value.replace('+', " "));
        }
    }
    (has_password || !parts.is_empty()).then_some(parts)
}

fn percent_decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(secret: &str, text: &str) -> String {
        let mut secrets: Vec<String> = forms(secret).into_iter().collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        without(text, &secrets).into_owned()
    }

    #[test]
    fn a_url_is_removed_as_a_whole_and_so_is_its_password_in_every_form() {
        let url = "postgres://shop:hunter%2F2%22x@db/seats?password=open%20sesame&sslmode=require";
        for (text, expected) in [
            (format!("cannot parse '{url}'"), "cannot parse '[redacted]'"),
            ("login by hunter%2F2%22x".to_owned(), "login by [redacted]"),
            ("login by hunter/2\"x".to_owned(), "login by [redacted]"),
            (format!("password: {:?}", "hunter/2\"x"), "password: \"[redacted]\""),
            ("open sesame, open%20sesame".to_owned(), "[redacted], [redacted]"),
            ("user shop, sslmode require".to_owned(), "user shop, sslmode require"),
        ] {
            assert_eq!(shown(url, &text), expected);
        }
    }

    #[test]
    fn a_url_that_cannot_be_parsed_is_removed_too() {
        for url in
            ["postgres://u:hun/ter2@<host>/db", "amqp://u:hun@ter2@mq", "u:hunter2@db", "hun ter2"]
        {
            assert_eq!(shown(url, &format!("bad: {url}!")), "bad: [redacted]!");
        }
        assert_eq!(shown("amqp://u:hun@ter2@mq", "hun@ter2"), "[redacted]");
    }

    #[test]
    fn a_url_without_a_secret_is_shown() {
        let verified = "postgres://shop@db/seats?sslmode=verify-full&sslrootcert=/etc/ca.pem";
        for url in ["db://", "postgres://shop@db/seats?host=/run/db", verified, "kafka://one:9092"]
        {
            assert_eq!(shown(url, url), url);
        }
    }

    #[test]
    fn ordinary_words_are_not_removed() {
        let text = "seatlock: 5432 on";
        assert_eq!(shown("postgres://seatlock:seatlock@db:5432/x?port=5432", text), text);
        assert_eq!(shown("on", text), text, "too short to be a secret");
    }

    #[test]
    fn a_registered_secret_is_removed_from_then_on() {
        assert_eq!(redact("learnt-in-this-test"), "learnt-in-this-test");
        register("learnt-in-this-test");
        assert_eq!(redact("a learnt-in-this-test b"), "a [redacted] b");
    }

    #[test]
    fn of_secrets_that_change_the_newest_are_removed() {
        for number in 0..20 {
            register_changing(&format!("changing-{number}-"));
        }
        assert_eq!(redact("changing-19- changing-3-"), "[redacted] changing-3-");
        assert_eq!(CHANGING.read().len(), CHANGING_MAX);
    }

    #[test]
    fn only_whole_triplets_are_decoded() {
        assert_eq!(percent_decoded("a%2Fb%zz%4"), "a/b%zz%4");
    }
}

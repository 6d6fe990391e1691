//! A Prometheus with the project's rules, and the answers of its API.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use test_support::{Client, Prometheus, eventually};
use tokio::task::block_in_place;

use crate::files::rule_files;

/// How long tests wait for a condition.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// A running Prometheus.
pub(crate) struct Watcher {
    server: Prometheus,
    client: Client,
}

/// An alert as Prometheus has read it.
#[derive(Debug)]
pub(crate) struct Alert {
    pub(crate) name: String,
    pub(crate) labels: Value,
    pub(crate) annotations: Value,
}

impl Watcher {
    /// Starts one with this configuration, without rules.
    pub(crate) fn start(configuration: &str) -> Self {
        let server = block_in_place(|| Prometheus::start(&[("prometheus.yml", configuration)]));
        let client = Client::of(([127, 0, 0, 1], server.port()).into());
        Self { server, client }
    }

    /// Loads these rule files, and waits until Prometheus has read them.
    pub(crate) async fn take_rules(&self, files: &[(String, String)]) {
        let paths: Vec<String> = files.iter().map(|(name, _)| format!("rules/{name}")).collect();
        let texts = files.iter().map(|(_, text)| text.as_str());
        let files: Vec<(&str, &str)> = paths.iter().map(String::as_str).zip(texts).collect();
        block_in_place(|| self.server.reload(&files));
        eventually("the rules", SOON, async || {
            let answer = self.ask("rules", None).await;
            let groups = answer["data"]["groups"].as_array();
            if groups.is_none_or(Vec::is_empty) { Err(answer) } else { Ok(()) }
        })
        .await;
    }

    /// Starts one with the project's rules and without targets.
    pub(crate) async fn start_idle() -> Self {
        let watcher = Self::start("rule_files: [rules/*.yml]\n");
        watcher.take_rules(&rule_files()).await;
        watcher
    }

    /// The answer of the API; for a wrong expression it is `"status": "error"`.
    async fn ask(&self, path: &str, body: Option<String>) -> Value {
        let path = format!("/api/v1/{path}");
        let request = match body {
            None => self.client.request(Method::GET, &path),
            Some(body) => {
                let request = self.client.request(Method::POST, &path);
                request.header("content-type", "application/x-www-form-urlencoded").body(body)
            }
        };
        self.client.send(request).await.json()
    }

    /// The current result of an expression, or its error.
    pub(crate) async fn evaluate(&self, expression: &str) -> Result<Vec<Value>, String> {
        let answer = self.ask("query", Some(format!("query={}", encoded(expression)))).await;
        match answer["data"]["result"].as_array() {
            Some(result) => Ok(result.clone()),
            None => Err(answer["error"].as_str().unwrap_or("no result").to_owned()),
        }
    }

    /// The values of a label in the result of an expression, sorted.
    pub(crate) async fn labels(&self, expression: &str, label: &str) -> Vec<String> {
        let found = self.evaluate(expression).await.unwrap_or_else(|error| panic!("{error}"));
        let value =
            |sample: &Value| sample["metric"][label].as_str().unwrap_or_default().to_owned();
        let mut values: Vec<String> = found.iter().map(value).collect();
        values.sort();
        values
    }

    /// The rules of one kind (`alerting`, `recording`), as read.
    async fn rules(&self, kind: &str) -> Vec<Value> {
        let answer = self.ask("rules", None).await;
        let groups = answer["data"]["groups"].as_array().unwrap();
        let rules = groups.iter().flat_map(|group| group["rules"].as_array().unwrap());
        let rules: Vec<Value> = rules.filter(|rule| rule["type"] == kind).cloned().collect();
        assert!(!rules.is_empty(), "no {kind} rules: {answer}");
        rules
    }

    /// Every alert.
    pub(crate) async fn alerts(&self) -> Vec<Alert> {
        let alert = |rule: Value| Alert {
            name: rule["name"].as_str().unwrap().to_owned(),
            labels: rule["labels"].clone(),
            annotations: rule["annotations"].clone(),
        };
        self.rules("alerting").await.into_iter().map(alert).collect()
    }

    /// The names of all recorded series.
    pub(crate) async fn recorded(&self) -> Vec<String> {
        let rules = self.rules("recording").await;
        rules.iter().map(|rule| rule["name"].as_str().unwrap().to_owned()).collect()
    }

    /// The expression of every rule, with the rule's name.
    pub(crate) async fn expressions(&self) -> Vec<(String, String)> {
        let mut rules = self.rules("alerting").await;
        rules.extend(self.rules("recording").await);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        rules.iter().map(|rule| (text(&rule["name"]), text(&rule["query"]))).collect()
    }

    /// Waits until an expression has a result.
    pub(crate) async fn until(&self, expression: &str) {
        eventually(expression, SOON, async || {
            let result = self.evaluate(expression).await.unwrap_or_else(|error| panic!("{error}"));
            if result.is_empty() { Err("no result") } else { Ok(()) }
        })
        .await;
    }
}

/// Encodes a text as `application/x-www-form-urlencoded`.
fn encoded(text: &str) -> String {
    let letter = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(letter).collect()
}

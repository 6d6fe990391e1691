//! compose.yaml: the service's part.

use seatlock::config::Config;
use serde_json::Value;

use crate::files::{Variables, text, yaml};
use crate::program::{assert_command, assert_known, configuration, queue_url};

fn service() -> Value {
    yaml("compose.yaml")["services"]["seatlock"].clone()
}

/// The service's variables, where nothing else is in the environment: `${NAME:-value}` is `value`.
fn environment() -> Variables {
    let service = service();
    let named = service["environment"].as_object().unwrap().iter();
    named.map(|(name, value)| (name.clone(), defaulted(text(value)))).collect()
}

fn defaulted(value: &str) -> String {
    let mut parts = value.split("${");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (variable, rest) = part.split_once('}').unwrap();
        let (_, default) =
            variable.split_once(":-").unwrap_or_else(|| panic!("{value}: no default"));
        text = text + default + rest;
    }
    text
}

fn config() -> Config {
    configuration(&environment(), "compose.yaml")
}

#[test]
fn the_variables_of_compose_make_a_valid_configuration() {
    assert_known(environment().keys(), "compose.yaml");
    let config = config();
    assert!(config.redis.is_some());
    assert_eq!(config.warnings, [""; 0]);
}

#[test]
fn the_replica_and_the_queue_are_each_switched_on_by_one_variable() {
    let mut environment = environment();
    let replica = "postgres://seatlock:only-for-this-machine@postgres-replica:5432/seatlock";
    environment.insert("READ_DB_URL".to_owned(), replica.to_owned());
    let queue = "amqp://seatlock:only-for-this-machine@rabbitmq:5672/%2f";
    environment.insert("QUEUE_MODE".to_owned(), "prefer".to_owned());
    environment.insert("QUEUE_URL".to_owned(), queue_url(queue).to_owned());
    configuration(&environment, "compose.yaml with its profiles");
    let text = crate::files::read("compose.yaml");
    assert!(text.contains(replica) && text.contains(queue), "a comment has the values to set");
}

#[test]
fn ports_command_and_times_of_compose_are_those_of_the_program() {
    let (service, http) = (service(), config().http);
    let published = text(&service["ports"][0]);
    assert!(published.starts_with("127.0.0.1:"), "only this machine: {published}");
    assert!(published.ends_with(&format!(":{}", http.bind.port)), "{published}");
    assert_command(text(&service["command"][0]), "compose.yaml");
    let grace = format!("{}s", http.termination_grace.as_secs());
    assert_eq!(service["stop_grace_period"], grace);
    let prometheus = yaml("packaging/compose/prometheus.yml");
    let scraped = &prometheus["scrape_configs"][0];
    assert_eq!(scraped["job_name"], "seatlock");
    assert_eq!(scraped["dns_sd_configs"][0]["port"], http.metrics_bind.unwrap().port);
}

#[test]
fn without_a_profile_there_are_the_service_postgresql_and_redis() {
    let compose = yaml("compose.yaml");
    let services = compose["services"].as_object().unwrap().iter();
    let always: Vec<&str> =
        services.filter(|(_, s)| s["profiles"].is_null()).map(|(name, _)| name.as_str()).collect();
    assert_eq!(always.len(), 3, "{always:?}");
    for name in ["seatlock", "postgres", "redis"] {
        assert!(always.contains(&name), "{always:?}");
    }
}

#[test]
fn the_default_of_a_variable_is_the_text_after_the_colon() {
    assert_eq!(defaulted("a${B:-c}d${E:-}f"), "acdf");
}

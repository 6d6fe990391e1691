//! Telemetry for operators: health, metrics, the request context of log lines, and the redaction of secrets.

pub mod health;
pub mod metrics;
pub mod redaction;
pub mod request_context;

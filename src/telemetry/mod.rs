//! What operators see: metrics, the request context of log lines, and what must never be printed.

pub mod metrics;
pub mod redaction;
pub mod request_context;

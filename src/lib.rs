//! x
pub mod reservation;
pub mod actors;
pub mod store;
pub mod lock;
pub mod domain;
pub mod metrics;
pub mod config;

//! The use cases, a file per resource. A handler of HTTP calls one of them and nothing below.

pub mod bookings;
pub mod catalogue;
pub mod queued_requests;

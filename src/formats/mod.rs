//! Formats of seat plans and prices outside Seatlock: CSV, pretix' JSON, prices in a query.

pub mod csv;
pub mod pretix;
pub mod prices;

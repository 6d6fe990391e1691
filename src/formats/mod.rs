//! Formats in which seat plans and prices are imported: CSV, pretix's JSON, prices in a query.

pub mod csv;
pub mod pretix;
pub mod prices;

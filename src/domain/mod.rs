//! The pure core: every decision of the service, as a function over plain data.
//!
//! An **event** is a show, a **schedule** one performance of it, a **seat plan** its layout, a **seat** one place
//! in one schedule. A **hold** is a customer's temporary claim, a **booking** a durable sale, a **block** house
//! seats out of sale. A **command** is the action that a request leads to, a **batch** the commands of one transaction,
//! a **rejection** (refusal) the business reason against a command. The **journal** is the ordered record of seat
//! changes.
//!
//! Nothing here waits, reads a clock, draws a random number or uses a database: times, identifiers and rows are
//! arguments.

pub mod answer_codec;
pub mod api_key;
pub mod audit;
pub mod bounded;
pub mod catalogue;
pub mod cidr;
pub mod claim_event;
pub mod claims;
pub mod clock;
pub mod command;
pub mod currency;
pub mod decide;
pub mod effect;
pub mod execution_error;
pub mod ids;
pub mod name;
pub mod plan;
pub mod rejection;
pub mod rows;
pub mod rules;
pub mod seat;
pub mod token;
pub mod version;
pub mod whole;

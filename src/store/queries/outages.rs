//! Recorded outages, which a statement aggregates into one text.

use crate::domain::clock::{EpochMs, Outage};
use crate::store::connection::{DbResult, rows};

/// Parses `began:ended,began:ended`, the text that a statement aggregates. Returns the outages by their beginning.
pub(crate) fn outages(text: &str) -> DbResult<Vec<Outage>> {
    let one = |pair: &str| {
        let (began, ended) = pair.split_once(':')?;
        Some(Outage { began: EpochMs(began.parse().ok()?), ended: EpochMs(ended.parse().ok()?) })
    };
    let pairs = text.split(',').filter(|pair| !pair.is_empty());
    let mut outages: Vec<Outage> =
        pairs.map(one).collect::<Option<_>>().ok_or_else(|| rows::corrupt("outage"))?;
    outages.sort_by_key(|outage| outage.began);
    Ok(outages)
}

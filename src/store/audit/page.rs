//! Pages of rows that contain lists. A page is bounded in bytes, since one list may contain every seat.

use sea_orm::{TryGetable, Value};

use super::{Auditor, PAGE};
use crate::domain::ids::ScheduleId;
use crate::store::connection::DbResult;

/// The most bytes of list texts in one page: about 40,000 seats.
const PAGE_BYTES: u64 = 256 * 1_024;

/// A table of which the rows of one schedule are read in pages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pages {
    pub(super) table: &'static str,
    /// The column that is unique within a schedule. The rows are read in its order.
    pub(super) key: &'static str,
    /// The column with the list.
    pub(super) list: &'static str,
}

impl Auditor {
    /// The key of the last row of the next page, if there is one.
    pub(super) async fn end_of_page<K>(
        &self,
        Pages { table, key, list }: Pages,
        id: ScheduleId,
        after: K,
    ) -> DbResult<Option<K>>
    where
        K: TryGetable + Into<Value> + Copy,
    {
        let sql = format!(
            "SELECT {key}, length({list}) FROM {table} WHERE schedule_id = $1 AND {key} > $2
             ORDER BY {key} LIMIT $3"
        );
        let values = vec![id.0.into(), after.into(), PAGE.into()];
        let sizes = self.session.fetch::<(K, i32)>(sql, values).await?;
        Ok(last_that_fits(&sizes))
    }
}

/// The key of the last row of a page. `rows` are the key of each next row and the bytes of its list. A page has as
/// many rows as fit, and at least one.
fn last_that_fits<K: Copy>(rows: &[(K, i32)]) -> Option<K> {
    let mut bytes = 0;
    let fits = |(_, size): &&(K, i32)| {
        bytes += u64::try_from(*size).unwrap_or(0);
        bytes <= PAGE_BYTES
    };
    rows.iter().take_while(fits).last().or_else(|| rows.first()).map(|(key, _)| *key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_bounded_by_the_bytes_of_its_lists() {
        let end = |sizes: &[i32]| {
            let rows: Vec<(usize, i32)> = (1..).zip(sizes.iter().copied()).collect();
            last_that_fits(&rows)
        };
        assert_eq!(end(&[]), None);
        assert_eq!(end(&[9, 9, 9]), Some(3));
        assert_eq!(end(&[200_000, 60_000, 60_000]), Some(2));
        assert_eq!(end(&[700_000, 1]), Some(1), "a list that is too long for a page has one alone");
    }
}

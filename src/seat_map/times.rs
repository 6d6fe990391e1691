//! The time limits of the seat maps. docs/seat-map-consistency.md has what each of them costs or buys, by `benches/maps`.

use std::time::Duration;

/// The shortest time between two reads of the journal because of announcements of other processes: at most 50 reads
/// per second, schedule and process.
pub(super) const ANNOUNCEMENT_PAUSE: Duration = Duration::from_millis(20);

/// Up to this age, a map is answered without a read, unless a newer version was announced: without announcements, 5
/// reads of the journal per second, schedule and process. Announcements cause at most ten times as many.
pub(super) const FRESH: Duration = Duration::from_millis(200);

/// How long a request that a map may refuse waits for the primary to confirm the map. Later, the rows decide.
pub(super) const CONFIRM_TIMEOUT: Duration = Duration::from_millis(250);

/// From this age on, a map is stale: it is not answered while a database is available, and it refuses no seats. A read
/// that starts when the map is no longer [`FRESH`] has the rest of this time before other readers wait for it.
pub(super) const STALE: Duration = Duration::from_millis(450);

/// How long the one reader that reads for all waits for the databases if an older map is in memory.
pub(super) const READ_TIMEOUT: Duration = Duration::from_millis(500);

/// How long a database is not read again after a failure, or for a version that even the primary does not have. Bounds
/// the readers that wait for [`READ_TIMEOUT`] to one per second and schedule.
pub(super) const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The shortest time between two times at which a process shares the map of a schedule, which copies all its seats.
pub(super) const SHARE_INTERVAL: Duration = Duration::from_secs(5);

/// The TTL in Redis of the version at which seats were freed. It must be longer than [`STALE`]: a map that may refuse
/// was confirmed more recently, and so has every version that is older than that.
pub(super) const FREED_TTL: Duration = Duration::from_secs(60);

/// The shortest time between two published versions of a large map: an encoding of 50,000 seats takes up to half of it.
pub(super) const PUBLISH_INTERVAL: Duration = Duration::from_millis(250);

/// The shortest time between two updates of a stream, before [`STREAM_INTERVAL_PER_LISTENER`] is added.
pub(super) const STREAM_INTERVAL: Duration = Duration::from_millis(50);

/// The time that each listener adds to [`STREAM_INTERVAL`]: about four times what sending it an update takes.
pub(super) const STREAM_INTERVAL_PER_LISTENER: Duration = Duration::from_micros(40);

/// The upper limit of the time between two updates of a stream: from 11,250 listeners on.
pub(super) const STREAM_INTERVAL_MAX: Duration = Duration::from_millis(500);

/// The time without an update after which a stream sends a keep-alive, so that proxies do not close the connection.
pub(super) const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// How long a stream without listeners still records changes, for listeners that return.
pub(super) const STREAM_IDLE_MAX: Duration = Duration::from_secs(30);

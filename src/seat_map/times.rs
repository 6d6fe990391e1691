//! The time limits of the seat maps; docs/seat-map-consistency.md explains how they depend on each other.

use std::time::Duration;

/// Up to this age, a map is answered without a read.
pub(super) const FRESH: Duration = Duration::from_millis(200);

/// From this age on, a map is stale: it is not answered while a database is available, and it refuses no seats.
pub(super) const STALE: Duration = Duration::from_millis(450);

/// The shortest time between two reads of the journal because of announcements of other processes.
pub(super) const ANNOUNCEMENT_PAUSE: Duration = Duration::from_millis(20);

/// How long a reader waits for the databases if an older map is in memory.
pub(super) const READ_TIMEOUT: Duration = Duration::from_millis(500);

/// How long a request that a map may refuse waits for the primary to confirm the map.
pub(super) const CONFIRM_TIMEOUT: Duration = Duration::from_millis(250);

/// How long a database is not read again after a failure, or for a version that even the primary does not have.
pub(super) const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The shortest time between two times at which a process shares the map of a schedule.
pub(super) const SHARE_INTERVAL: Duration = Duration::from_secs(1);

/// The TTL in Redis of the version at which seats were freed: far longer than a map refuses seats without a read.
pub(super) const FREED_TTL: Duration = Duration::from_secs(60);

/// The shortest time between two published versions of a large map, because each version must be encoded.
pub(super) const PUBLISH_INTERVAL: Duration = Duration::from_millis(250);

/// The shortest time between two updates of a stream, before [`STREAM_INTERVAL_PER_LISTENER`] is added.
pub(super) const STREAM_INTERVAL: Duration = Duration::from_millis(50);

/// The time that each listener adds to [`STREAM_INTERVAL`]. Writing an update to all listeners takes about half of
/// the added time.
pub(super) const STREAM_INTERVAL_PER_LISTENER: Duration = Duration::from_micros(40);

/// The upper limit of the time between two updates of a stream.
pub(super) const STREAM_INTERVAL_MAX: Duration = Duration::from_millis(500);

/// The time without an update after which a stream sends a keep-alive, so that proxies do not close the connection.
pub(super) const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// How long a stream without listeners still records changes, for listeners that return.
pub(super) const STREAM_IDLE_MAX: Duration = Duration::from_secs(30);

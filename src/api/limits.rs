//! Every bound of the API, by name.

use std::time::Duration;

/// Connections that have not shown the token yet. One more takes the place of the oldest, so that strangers who say nothing
/// keep no operator out.
pub const UNPROVEN_MAX: usize = 64;

/// Requests that are carried out at a time.
pub const REQUESTS_MAX: usize = 128;

/// Tails among them: they last as long as their deployments, and must leave room for whoever wants to do something.
pub const TAILS_MAX: usize = 96;

/// Bytes of a request's line and headers, and of what is read from a connection at a time.
pub const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Headers of a request.
pub const HEADERS_MAX: usize = 64;

/// How long a request's line and headers may take.
pub const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// Bytes of a request without its payload: a JSON body, or the fields of an upload.
pub const FIELDS_BYTES_MAX: u64 = 1024 * 1024;

/// Fields of an upload.
pub const FIELDS_MAX: usize = 64;

/// How long a request without its payload may take.
pub const FIELDS_WITHIN: Duration = Duration::from_secs(60);

/// Bytes of a payload: as many as a component may unpack to.
pub const PAYLOAD_BYTES_MAX: u64 = 8 * 1024 * 1024 * 1024;

/// Bytes that frame a payload: the end of its part, and of the upload.
pub const FRAMING_BYTES_MAX: u64 = 64 * 1024;

/// How long an upload may pause.
pub const UPLOAD_SILENCE_MAX: Duration = Duration::from_secs(60);

/// How long a client may leave an answer unread before it is given up.
pub const ANSWER_UNREAD_MAX: Duration = Duration::from_secs(60);

/// How long a connection stays open behind its answer, so that a client that still sends can read it.
pub const LINGER_MAX: Duration = Duration::from_secs(3);

/// How often a stream says that it is alive while nothing happens.
pub const ALIVE_EVERY: Duration = Duration::from_secs(15);

/// Bytes of lines that wait for a client of a stream; further lines are counted and left out.
pub const LINES_WAITING_BYTES_MAX: usize = 512 * 1024;

/// Bytes of all events that wait for a client of a stream; then the stream breaks off, and the deploy goes on.
pub const EVENTS_WAITING_BYTES_MAX: usize = 4 * 1024 * 1024;

//! The client's end of a deploy's stream: what it makes of it is its exit code. Pure.
//!
//! The stream's last event, `done` or `error`, is all that tells how a deploy ended. A stream that breaks off without one tells
//! nothing: the deploy goes on, and may end either way.

use super::event::Event;

/// How a client's command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientExit {
    /// The deployment succeeded.
    Success,
    /// It failed.
    Failure,
    /// The stream broke off: ask any node for the deployment's row.
    Lost,
}

impl ClientExit {
    /// The exit code of the client's process.
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Lost => 2,
        }
    }
}

/// A client that follows its deploy's stream.
#[derive(Debug, Default)]
pub struct ClientStream {
    end: Option<ClientExit>,
}

impl ClientStream {
    /// The next event of the stream.
    pub fn see(&mut self, event: &Event) {
        self.see_named(event.name());
    }

    /// The next event, as a client that only reads has it: by its name.
    pub fn see_named(&mut self, event: &str) {
        match event {
            "done" => self.end = Some(ClientExit::Success),
            "error" => self.end = Some(ClientExit::Failure),
            _ => {}
        }
    }

    /// How the command ends when nothing more comes (museum S07).
    pub fn exit(&self) -> ClientExit {
        self.end.unwrap_or(ClientExit::Lost)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn exit_after(events: &[Event]) -> u8 {
        let mut stream = ClientStream::default();
        events.iter().for_each(|event| stream.see(event));
        stream.exit().code()
    }

    #[test]
    fn only_done_is_success() {
        let line = Event::warning("disk nearly full");
        assert_eq!(exit_after(&[line.clone(), Event::done(json!({}))]), 0);
        assert_eq!(exit_after(&[line, Event::error(json!({}))]), 1);
    }

    #[test]
    fn a_stream_that_breaks_off_is_no_success() {
        assert_eq!(exit_after(&[]), 2);
        assert_eq!(exit_after(&[Event::warning("all is well")]), 2);
    }
}

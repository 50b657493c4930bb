//! How far a scan is: a bar where somebody looks at a terminal, a line now and then elsewhere.

use std::io::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::clock::{Clock, SystemClock, Timestamp};

/// How often a line is written where no bar can be drawn: a log stays readable, and a short scan
/// says nothing in between.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// How far the work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Far {
    /// GitHub's list is being read: so many repositories of so many, as far as either is known.
    Listing(Option<u64>, Option<u64>),
    /// Repositories are being read: so many of so many.
    Reading(u64, u64),
}

impl Far {
    fn text(self) -> String {
        match self {
            Self::Listing(Some(listed), Some(total)) => {
                format!("{listed} of {total} repositories listed")
            }
            Self::Listing(Some(listed), None) => format!("{listed} repositories listed"),
            Self::Listing(None, _) => "listing repositories".to_owned(),
            Self::Reading(read, total) => format!("{read} of {total} repositories read"),
        }
    }

    const fn parts(self) -> (u64, u64) {
        match self {
            Self::Listing(Some(done), Some(total)) | Self::Reading(done, total) => (done, total),
            Self::Listing(..) => (0, 0),
        }
    }
}

/// Shows it.
pub enum Progress {
    /// On a terminal.
    Bar(ProgressBar),
    /// Anywhere else; when the last line was written.
    Lines(Timestamp),
}

impl Progress {
    /// A bar on standard error, or lines.
    pub fn new(is_terminal: bool) -> Self {
        if !is_terminal {
            return Self::Lines(SystemClock.now());
        }
        let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr());
        let style = "{spinner} {msg} {wide_bar} {elapsed}";
        bar.set_style(ProgressStyle::with_template(style).expect("our own template"));
        Self::Bar(bar)
    }

    /// Shows how far the work is now.
    ///
    /// # Errors
    /// When `err` cannot be written.
    pub fn show(&mut self, far: Far, err: &mut dyn Write) -> std::io::Result<()> {
        let now = SystemClock.now();
        match self {
            Self::Bar(bar) => {
                let (done, total) = far.parts();
                bar.set_message(far.text());
                // A bar of nothing would look full.
                bar.set_length(total.max(1));
                bar.set_position(done);
                bar.tick();
            }
            Self::Lines(last) if now.since(*last) >= LINE_EVERY => {
                *last = now;
                writeln!(err, "cuelight: {}", far.text())?;
            }
            Self::Lines(_) => {}
        }
        Ok(())
    }

    /// Takes the bar away.
    pub fn end(self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_few_and_say_how_far_it_is() {
        let mut err = Vec::new();
        Progress::new(false).show(Far::Reading(1, 2), &mut err).unwrap();
        assert!(err.is_empty(), "a short scan is quiet");
        let mut late = Progress::Lines(SystemClock.now() - LINE_EVERY);
        for far in [Far::Listing(Some(300), Some(1200)), Far::Reading(7, 9)] {
            late.show(far, &mut err).unwrap();
        }
        let text = String::from_utf8(err).unwrap();
        assert_eq!(text, "cuelight: 300 of 1200 repositories listed\n");
    }

    #[track_caller]
    fn check(far: Far, text: &str, parts: (u64, u64)) {
        assert_eq!((far.text().as_str(), far.parts()), (text, parts));
    }

    #[test]
    fn what_is_not_known_is_not_shown() {
        check(Far::Listing(None, None), "listing repositories", (0, 0));
        check(Far::Listing(Some(3), None), "3 repositories listed", (0, 0));
        check(Far::Reading(1, 4), "1 of 4 repositories read", (1, 4));
    }
}

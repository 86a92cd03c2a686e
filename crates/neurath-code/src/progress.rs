//! What long work says about itself while it runs.

/// A report for a progress bar or a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A step that may take a while begins; the text is for people.
    Step(String),
    /// One more crate is ready, compiled or found unchanged.
    Compiled {
        /// The crate's name.
        package: String,
        /// How many are ready.
        done: usize,
        /// How many there are, as far as is known; `done` does not exceed it.
        total: usize,
    },
}

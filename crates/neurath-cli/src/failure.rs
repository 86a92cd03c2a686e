//! [`Failure`]: what a command ends with when it does not succeed, and its exit code.
//!
//! Invariant: a failure names the thing and the cause, and where there is one, the next step.

use std::process::ExitCode;

use miette::Diagnostic;
use neurath_node::BuilderError;
use neurath_node::ConnectError;
use neurath_node::api::ClientError;
use serde_json::Value;

use crate::place::process_of;

/// What the exit codes mean; shown by `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  refused, or failed
  2  the command line is wrong
  3  no node runs on the data directory, or at the address, or it does not answer
  4  the demo lost, duplicated or reordered messages, or did not end as it should";

/// The exit codes but 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Failed = 1,
    Usage = 2,
    NoNode = 3,
    Demo = 4,
}

/// See the module.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{message}")]
pub(crate) struct Failure {
    message: String,
    #[help]
    help: Option<String>,
    /// Text of others, such as the compiler's, that is shown as it is.
    verbatim: Option<String>,
    exit: Exit,
}

impl Failure {
    pub(crate) fn new(message: impl ToString) -> Self {
        Self { message: message.to_string(), help: None, verbatim: None, exit: Exit::Failed }
    }

    pub(crate) fn usage(message: impl ToString) -> Self {
        Self { exit: Exit::Usage, ..Self::new(message) }
    }

    /// A promise that the demo is there to show was not kept.
    pub(crate) fn of_demo(self) -> Self {
        Self { exit: Exit::Demo, ..self }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Help, if there is none yet.
    pub(crate) fn or_help(self, help: impl Into<String>) -> Self {
        if self.help.is_some() { self } else { self.help(help) }
    }

    fn verbatim(mut self, text: String) -> Self {
        self.verbatim = Some(text);
        self
    }

    /// Shows it on standard error.
    pub(crate) fn show(&self) {
        if let Some(text) = &self.verbatim {
            eprintln!("{}\n", text.trim_end());
        }
        let shown = Self { message: self.message.clone(), help: self.help.clone(), verbatim: None, exit: self.exit };
        eprintln!("{:?}", miette::Report::new(shown));
    }

    /// Shows it, and gives the exit code.
    pub(crate) fn report(self) -> ExitCode {
        self.show();
        ExitCode::from(self.exit as u8)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let failure = Self::new(&error);
        match error {
            ClientError::NoNode { .. } => Self { exit: Exit::NoNode, ..failure }
                .help("start one with `neurath node`; `--data DIR` or NEURATH_DATA chooses another data directory"),
            ClientError::Refused { error, .. } => match (error.hint, error.examples.as_slice()) {
                (hint, []) => Self { help: hint, ..failure },
                (hint, examples) => {
                    let hint = hint.map(|hint| hint + "\n").unwrap_or_default();
                    failure.help(hint + &for_example(examples))
                }
            },
            ClientError::Unreachable(ConnectError::Unreachable { .. }) => Self { exit: Exit::NoNode, ..failure },
            ClientError::Unreachable(_) => failure.help(
                "the operator's file may be of another cluster, the address that of another, or a clock wrong: `--at HOST:PORT` \
                 chooses another node, `neurath cluster operator NAME` makes another file",
            ),
            ClientError::NoAnswer(silence) => Self { exit: Exit::NoNode, ..failure }.help(format!(
                "it may be stopped{}, or have too much to do; it may still do what it was asked. `--answer-within TIME` waits \
                 longer",
                process_of(silence.data.as_deref())
            )),
            ClientError::Socket { .. } => failure.help("the socket belongs to the user who started the node"),
            ClientError::Broken(_) => failure.help(
                "look at the node's own output: it may have stopped, or have as many visitors as it may; `neurath ps` says \
                 whether it lives",
            ),
        }
    }
}

impl From<BuilderError> for Failure {
    fn from(error: BuilderError) -> Self {
        use neurath_code::BuildError;
        match error {
            BuilderError::Build(BuildError::Compile { package, diagnostics }) => {
                Self::new(format!("package `{package}` does not compile")).verbatim(diagnostics)
            }
            BuilderError::Build(BuildError::Cargo { package, said }) => {
                Self::new(format!("cargo fails to build package `{package}`")).verbatim(said)
            }
            BuilderError::Build(BuildError::Manifest { manifest, said }) => {
                Self::new(format!("cargo cannot work with {}", manifest.display())).verbatim(said)
            }
            other => Self::new(other),
        }
    }
}

/// Examples of JSON, quoted for a shell.
pub(crate) fn for_example(examples: &[Value]) -> String {
    let lines: Vec<_> = examples.iter().map(|example| format!("  {}", quoted(&example.to_string()))).collect();
    format!("what fits, for example:\n{}", lines.join("\n"))
}

/// A text as a shell takes it.
pub(crate) fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./@:,+".contains(&byte);
    match !text.is_empty() && text.bytes().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_can_be_pasted_into_a_shell() {
        assert_eq!(quoted("42"), "42");
        assert_eq!(quoted("\"Get\""), "'\"Get\"'");
        assert_eq!(quoted("\"it's\""), r#"'"it'\''s"'"#);
    }
}

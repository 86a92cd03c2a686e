//! Lines of log: they go to the node, which knows which process wrote them.

use std::fmt::{self, Write};

use crate::{executor, sys};

/// How much a line of log matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Level {
    /// Something failed.
    Error = 1,
    /// Something is not as it should be.
    Warn = 2,
    /// Something happened.
    Info = 3,
    /// Somebody looks for a fault.
    Debug = 4,
    /// Every step.
    Trace = 5,
}

/// Writes a line of log. The macros [`error!`](crate::error) to [`trace!`](crate::trace) are shorter.
pub fn log(level: Level, line: impl fmt::Display) {
    write_log(level, format_args!("{line}"));
}

#[doc(hidden)]
pub fn write_log(level: Level, line: fmt::Arguments<'_>) {
    if let Some(line) = line.as_str() {
        return sys::log(level as u32, line);
    }
    let mut text = executor::with_scratch(|bytes| String::from_utf8(std::mem::take(bytes))).unwrap_or_default();
    // A `Display` that fails has written what it could.
    let _ = text.write_fmt(line);
    sys::log(level as u32, &text);
    executor::with_scratch(|bytes| *bytes = text.into_bytes());
}

/// Writes a line of log: something failed. Takes what `format!` takes.
#[macro_export]
macro_rules! error {
    ($($argument:tt)*) => {
        $crate::__private::write_log($crate::__private::Level::Error, ::core::format_args!($($argument)*))
    };
}

/// Writes a line of log: something is not as it should be. Takes what `format!` takes.
#[macro_export]
macro_rules! warn {
    ($($argument:tt)*) => {
        $crate::__private::write_log($crate::__private::Level::Warn, ::core::format_args!($($argument)*))
    };
}

/// Writes a line of log: something happened. Takes what `format!` takes.
#[macro_export]
macro_rules! info {
    ($($argument:tt)*) => {
        $crate::__private::write_log($crate::__private::Level::Info, ::core::format_args!($($argument)*))
    };
}

/// Writes a line of log: somebody looks for a fault. Takes what `format!` takes.
#[macro_export]
macro_rules! debug {
    ($($argument:tt)*) => {
        $crate::__private::write_log($crate::__private::Level::Debug, ::core::format_args!($($argument)*))
    };
}

/// Writes a line of log: every step. Takes what `format!` takes.
#[macro_export]
macro_rules! trace {
    ($($argument:tt)*) => {
        $crate::__private::write_log($crate::__private::Level::Trace, ::core::format_args!($($argument)*))
    };
}

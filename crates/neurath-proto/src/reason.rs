//! Why a process ended, why a call failed.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::data::{Data, DecodeError, Reader};
use crate::id::Pid;
use crate::schema::{SchemaBuilder, Type};

/// Why a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExitReason {
    /// Its entry returned, or it said so.
    Normal,
    /// It was killed, which cannot be caught.
    Killed {
        /// Who did it; `None` is an operator.
        by: Option<Pid>,
    },
    /// It panicked.
    Panic {
        /// The panic's message.
        message: String,
        /// `file:line:column`.
        location: String,
    },
    /// The sandbox stopped it: a trap, a limit, a broken rule of the ABI.
    Trap {
        /// What happened.
        message: String,
    },
    /// There is no such process, or there is none any more.
    NoProcess,
    /// It could not be started at all.
    NotStarted {
        /// Why.
        message: String,
    },
    /// The association with its node ended.
    Disconnected,
    /// It ended with a reason of its own type.
    Custom {
        /// The type's name.
        type_name: String,
        /// The encoded schema of the value, so that anyone can show it.
        schema: Vec<u8>,
        /// The encoded value.
        value: Vec<u8>,
    },
}

impl ExitReason {
    /// Whether links are quiet about it.
    pub fn is_normal(&self) -> bool {
        matches!(self, Self::Normal)
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("normal"),
            Self::Killed { by: Some(pid) } => write!(f, "killed by {pid}"),
            Self::Killed { by: None } => f.write_str("killed by an operator"),
            Self::Panic { message, location } => write!(f, "panicked at {location}: {message}"),
            Self::Trap { message } => write!(f, "trapped: {message}"),
            Self::NoProcess => f.write_str("no such process"),
            Self::NotStarted { message } => write!(f, "not started: {message}"),
            Self::Disconnected => f.write_str("its node is disconnected"),
            Self::Custom { type_name, value, .. } if value.len() == 1 => write!(f, "{type_name} (1 byte)"),
            Self::Custom { type_name, value, .. } => write!(f, "{type_name} ({} bytes)", value.len()),
        }
    }
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The deadline passed. The answer, should it still come, is dropped and counted.
    TimedOut,
    /// The callee ended before it answered.
    Down(ExitReason),
    /// The callee does not take what was sent, or its answer is not what the caller takes. Nothing ran.
    Mismatch {
        /// The type that was written.
        writer: String,
        /// The type that was to read it.
        reader: String,
        /// Where they first differ, from the root: `Order.lines[].price`.
        path: String,
        /// What is wrong there.
        message: String,
    },
    /// The message could not be sent at all.
    NotSent(String),
    /// The caller is a copy: the answer belongs to its original.
    Copied,
    /// The callee has answered, and its answer cannot be brought to the caller: why.
    AnswerLost(String),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("no answer within the deadline"),
            Self::Down(reason) => write!(f, "the callee ended: {reason}"),
            Self::Mismatch { writer, reader, path, message } => {
                write!(f, "`{writer}` cannot be read as `{reader}`: at {path}: {message}")
            }
            Self::NotSent(why) => write!(f, "not sent: {why}"),
            Self::Copied => f.write_str("the answer belongs to the original of this copy"),
            Self::AnswerLost(why) => write!(f, "it was answered, and the answer is lost: {why}"),
        }
    }
}

impl core::error::Error for CallError {}

impl Data for ExitReason {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Normal => 0u32.encode(out),
            Self::Killed { by } => {
                1u32.encode(out);
                by.encode(out);
            }
            Self::Panic { message, location } => {
                2u32.encode(out);
                message.encode(out);
                location.encode(out);
            }
            Self::Trap { message } => {
                3u32.encode(out);
                message.encode(out);
            }
            Self::NoProcess => 4u32.encode(out),
            Self::NotStarted { message } => {
                5u32.encode(out);
                message.encode(out);
            }
            Self::Disconnected => 6u32.encode(out),
            Self::Custom { type_name, schema, value } => {
                7u32.encode(out);
                type_name.encode(out);
                schema.encode(out);
                value.encode(out);
            }
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match u32::decode(reader)? {
            0 => Self::Normal,
            1 => Self::Killed { by: Data::decode(reader)? },
            2 => Self::Panic { message: Data::decode(reader)?, location: Data::decode(reader)? },
            3 => Self::Trap { message: Data::decode(reader)? },
            4 => Self::NoProcess,
            5 => Self::NotStarted { message: Data::decode(reader)? },
            6 => Self::Disconnected,
            7 => Self::Custom {
                type_name: Data::decode(reader)?,
                schema: Data::decode(reader)?,
                value: Data::decode(reader)?,
            },
            other => return Err(reader.bad_variant("ExitReason", other)),
        })
    }

    fn schema(builder: &mut SchemaBuilder) -> Type {
        builder.enumeration::<Self>("ExitReason", |variants| {
            variants.unit("Normal");
            variants.structure("Killed", |fields| fields.field::<Option<Pid>>("by"));
            variants.structure("Panic", |fields| {
                fields.field::<String>("message");
                fields.field::<String>("location");
            });
            variants.structure("Trap", |fields| fields.field::<String>("message"));
            variants.unit("NoProcess");
            variants.structure("NotStarted", |fields| fields.field::<String>("message"));
            variants.unit("Disconnected");
            variants.structure("Custom", |fields| {
                fields.field::<String>("type_name");
                fields.field::<Vec<u8>>("schema");
                fields.field::<Vec<u8>>("value");
            });
        })
    }
}

impl Data for CallError {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::TimedOut => 0u32.encode(out),
            Self::Down(reason) => {
                1u32.encode(out);
                reason.encode(out);
            }
            Self::Mismatch { writer, reader, path, message } => {
                2u32.encode(out);
                for text in [writer, reader, path, message] {
                    text.encode(out);
                }
            }
            Self::NotSent(why) => {
                3u32.encode(out);
                why.encode(out);
            }
            Self::Copied => 4u32.encode(out),
            Self::AnswerLost(why) => {
                5u32.encode(out);
                why.encode(out);
            }
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match u32::decode(reader)? {
            0 => Self::TimedOut,
            1 => Self::Down(Data::decode(reader)?),
            2 => Self::Mismatch {
                writer: Data::decode(reader)?,
                reader: Data::decode(reader)?,
                path: Data::decode(reader)?,
                message: Data::decode(reader)?,
            },
            3 => Self::NotSent(Data::decode(reader)?),
            4 => Self::Copied,
            5 => Self::AnswerLost(Data::decode(reader)?),
            other => return Err(reader.bad_variant("CallError", other)),
        })
    }

    fn schema(builder: &mut SchemaBuilder) -> Type {
        builder.enumeration::<Self>("CallError", |variants| {
            variants.unit("TimedOut");
            variants.tuple("Down", |fields| fields.element::<ExitReason>());
            variants.structure("Mismatch", |fields| {
                for name in ["writer", "reader", "path", "message"] {
                    fields.field::<String>(name);
                }
            });
            variants.tuple("NotSent", |fields| fields.element::<String>());
            variants.unit("Copied");
            variants.tuple("AnswerLost", |fields| fields.element::<String>());
        })
    }
}

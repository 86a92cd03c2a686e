//! What the runtime itself says to processes. Notices are received like any other message.

use alloc::string::String;
use alloc::vec::Vec;

use crate::data::{Data, DecodeError, Reader, structure};
use crate::id::{Pid, Ref};
use crate::reason::ExitReason;
use crate::schema::{SchemaBuilder, Type};

/// A monitored process ended, or there was none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Down {
    /// The monitor's ref: it fires once.
    pub monitor: Ref,
    /// The process that was watched.
    pub pid: Pid,
    /// Why it ended.
    pub reason: ExitReason,
}

/// A linked process ended, or someone asked this one to exit, and this one traps exits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Who ended, or asked.
    pub from: Pid,
    /// Why.
    pub reason: ExitReason,
}

/// A send that asked for it, or was given up to break a cycle of full mailboxes, did not arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotDelivered {
    /// Who should have had it.
    pub to: Pid,
    /// The type of the message.
    pub type_name: String,
    /// Why not.
    pub reason: String,
}

/// What `register`, `unregister` and `whereis` answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameAnswer {
    /// Done.
    Done,
    /// The name belongs to this process: the answer to `whereis`, and a refusal of `register`.
    Owner(Pid),
    /// Nobody has the name.
    Unknown,
    /// The process to be named is dead.
    NoProcess,
    /// The node keeps as many names as it may.
    TooMany,
    /// It is no name: see [`check_process_name`](crate::name::check_process_name).
    NoName,
}

structure!(Down { monitor: Ref, pid: Pid, reason: ExitReason });
structure!(Exit { from: Pid, reason: ExitReason });
structure!(NotDelivered { to: Pid, type_name: String, reason: String });

impl Data for NameAnswer {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Done => 0u32.encode(out),
            Self::Owner(pid) => {
                1u32.encode(out);
                pid.encode(out);
            }
            Self::Unknown => 2u32.encode(out),
            Self::NoProcess => 3u32.encode(out),
            Self::TooMany => 4u32.encode(out),
            Self::NoName => 5u32.encode(out),
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match u32::decode(reader)? {
            0 => Self::Done,
            1 => Self::Owner(Data::decode(reader)?),
            2 => Self::Unknown,
            3 => Self::NoProcess,
            4 => Self::TooMany,
            5 => Self::NoName,
            other => return Err(reader.bad_variant("NameAnswer", other)),
        })
    }

    fn schema(builder: &mut SchemaBuilder) -> Type {
        builder.enumeration::<Self>("NameAnswer", |variants| {
            variants.unit("Done");
            variants.tuple("Owner", |fields| fields.element::<Pid>());
            variants.unit("Unknown");
            variants.unit("NoProcess");
            variants.unit("TooMany");
            variants.unit("NoName");
        })
    }
}

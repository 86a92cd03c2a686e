//! The host functions of the module `neurath`: memory is checked here, meaning is [`Host`]'s.
//!
//! Invariant: whatever a guest passes, a function either hands the host values that are what their
//! types say, or ends the guest with a [`Fault`]. Nothing is allocated at a guest's request.

use std::borrow::Cow;

use neurath_proto::abi::{IMPORT_MODULE, MessageHead, Tag, TakeSpec, TakeStatus, poll_bits, spawn_flags, take_flags};
use neurath_proto::abi::{ReceiveId, SendStatus};
use neurath_proto::envelope::Class;
use neurath_proto::{Pid, Ref, data};
use wasmparser::ValType::{self, I32, I64};
use wasmtime::{Caller, Linker};

use crate::fault::Fault;
use crate::host::{Host, Stop, Taken};
use crate::state::{Standing, State};

/// Bytes of a name of an entry or a process.
const NAME_MAX: usize = 1024;
/// Bytes of a line of log or a panic's message that are looked at; the rest is cut off.
const TEXT_MAX: usize = 16 << 10;
/// Bytes of a schema.
const SCHEMA_MAX: usize = 1 << 20;

/// A function that a module may import.
pub(crate) struct Import {
    pub(crate) module: &'static str,
    pub(crate) name: &'static str,
    pub(crate) params: &'static [ValType],
    pub(crate) results: &'static [ValType],
}

const fn import(name: &'static str, params: &'static [ValType], results: &'static [ValType]) -> Import {
    Import { module: IMPORT_MODULE, name, params, results }
}

/// Everything that [`define`] defines.
pub(crate) const IMPORTS: &[Import] = &[
    import("send", &[I32, I32, I64, I32, I32, I32], &[I32]),
    import("send_after", &[I64, I32, I32, I32, I32], &[I64]),
    import("cancel_timer", &[I64], &[I32]),
    import("declare", &[I32, I32, I32], &[]),
    import("take", &[I64, I32, I32, I32], &[I32]),
    import("accept", &[I64, I64], &[I32]),
    import("cancel", &[I64], &[]),
    import("put_back", &[I64], &[]),
    import("reference", &[], &[I64]),
    import("spawn", &[I32, I32, I32, I32, I32, I32], &[I32]),
    import("exit", &[I32, I32, I32], &[]),
    import("exit_process", &[I32, I32, I32, I32], &[I32]),
    import("kill", &[I32], &[]),
    import("link", &[I32], &[]),
    import("unlink", &[I32], &[]),
    import("monitor", &[I32], &[I64]),
    import("demonitor", &[I64], &[]),
    import("trap_exit", &[I32], &[]),
    import("ask", &[I32, I32], &[I64]),
    import("self_pid", &[I32], &[]),
    import("become_latest", &[I32, I32, I32, I32, I32], &[I64]),
    import("log", &[I32, I32, I32], &[]),
    import("panic", &[I32, I32, I32, I32, I32, I32], &[]),
    import("fail", &[I32, I32], &[]),
];

/// Defines [`IMPORTS`].
pub(crate) fn define<H: Host>(linker: &mut Linker<State<H>>) -> wasmtime::Result<()> {
    let m = IMPORT_MODULE;
    linker.func_wrap(
        m,
        "send",
        |mut c: Caller<'_, State<H>>, to: u32, class: u32, reference: u64, tag: u32, ptr: u32, len: u32| {
            call(&mut c, "send", |memory, host| {
                let class = Class::from_raw(class).ok_or_else(|| bad("send", "class", class))?;
                let to = pid(memory, "send", to)?;
                let payload = bytes(memory, "send", ptr, len)?;
                Ok(host.send(to, class, Ref(reference), Tag(tag), payload) as i32)
            })
        },
    )?;
    linker.func_wrap(
        m,
        "send_after",
        |mut c: Caller<'_, State<H>>, nanos: u64, to: u32, tag: u32, ptr: u32, len: u32| {
            call(&mut c, "send_after", |memory, host| {
                let to = pid(memory, "send_after", to)?;
                let payload = bytes(memory, "send_after", ptr, len)?;
                Ok(reference_or_status(host.send_after(nanos, to, Tag(tag), payload)))
            })
        },
    )?;
    linker.func_wrap(m, "cancel_timer", |mut c: Caller<'_, State<H>>, timer: u64| {
        call(&mut c, "cancel_timer", |_, host| Ok(i32::from(host.cancel_timer(Ref(timer)))))
    })?;
    linker.func_wrap(m, "declare", |mut c: Caller<'_, State<H>>, tag: u32, ptr: u32, len: u32| {
        call(&mut c, "declare", |memory, host| {
            let schema = bounded(memory, "declare", ptr, len, SCHEMA_MAX)?;
            host.declare(Tag(tag), schema).map_err(stopped)
        })
    })?;
    linker.func_wrap(m, "take", |mut c: Caller<'_, State<H>>, receive: u64, spec: u32, buf: u32, cap: u32| {
        let (memory, state) = enter(&mut c)?;
        let Some(host) = state.host.as_mut() else {
            return Err(state.interrupt(no_host("take")));
        };
        match take(memory, host, ReceiveId(receive), spec, buf, cap) {
            Ok((status, stands)) => {
                if stands {
                    state.standing = Some(Standing { receive: ReceiveId(receive), buffer: buf, capacity: cap });
                }
                Ok(status as i32)
            }
            Err(fault) => Err(state.interrupt(fault)),
        }
    })?;
    linker.func_wrap(m, "accept", |mut c: Caller<'_, State<H>>, receive: u64, seq: u64| {
        call(&mut c, "accept", |_, host| Ok(i32::from(host.accept(ReceiveId(receive), seq))))
    })?;
    linker.func_wrap(m, "cancel", |mut c: Caller<'_, State<H>>, receive: u64| {
        call(&mut c, "cancel", |_, host| {
            host.cancel(ReceiveId(receive));
            Ok(())
        })
    })?;
    linker.func_wrap(m, "put_back", |mut c: Caller<'_, State<H>>, receive: u64| {
        call(&mut c, "put_back", |_, host| {
            host.put_back(ReceiveId(receive));
            Ok(())
        })
    })?;
    linker.func_wrap(m, "reference", |mut c: Caller<'_, State<H>>| {
        call(&mut c, "reference", |_, host| Ok(host.reference().0))
    })?;
    define_processes(linker)?;
    define_questions(linker)?;
    define_texts(linker)
}

fn define_processes<H: Host>(linker: &mut Linker<State<H>>) -> wasmtime::Result<()> {
    let m = IMPORT_MODULE;
    linker.func_wrap(
        m,
        "spawn",
        |mut c: Caller<'_, State<H>>, name: u32, name_len: u32, args: u32, args_len: u32, flags: u32, out: u32| {
            call(&mut c, "spawn", |memory, host| {
                let known = spawn_flags::LINK | spawn_flags::MONITOR;
                if flags & !known != 0 {
                    return Err(bad("spawn", "flags", flags));
                }
                bytes(memory, "spawn", out, (Pid::SIZE + 8) as u32)?;
                let entry = name_text(memory, "spawn", name, name_len)?;
                let arguments = bytes(memory, "spawn", args, args_len)?;
                let link = flags & spawn_flags::LINK != 0;
                let monitor = flags & spawn_flags::MONITOR != 0;
                let (pid, reference) = host.spawn(entry, arguments, link, monitor).map_err(stopped)?;
                write(memory, "spawn", out, &pid.to_bytes())?;
                write(memory, "spawn", out + Pid::SIZE as u32, &reference.0.to_le_bytes())?;
                Ok(0)
            })
        },
    )?;
    linker.func_wrap(m, "exit", |mut c: Caller<'_, State<H>>, tag: u32, ptr: u32, len: u32| {
        call(&mut c, "exit", |memory, host| -> Result<(), Fault> {
            let reason = bytes(memory, "exit", ptr, len)?;
            match host.exit(Tag(tag), reason) {
                SendStatus::Queued => Err(Fault::Exited),
                refused => Err(refused_exit(tag, refused)),
            }
        })
    })?;
    linker.func_wrap(m, "exit_process", |mut c: Caller<'_, State<H>>, to: u32, tag: u32, ptr: u32, len: u32| {
        call(&mut c, "exit_process", |memory, host| {
            let to = pid(memory, "exit_process", to)?;
            let reason = bytes(memory, "exit_process", ptr, len)?;
            Ok(host.exit_process(to, Tag(tag), reason) as i32)
        })
    })?;
    linker.func_wrap(m, "kill", |mut c: Caller<'_, State<H>>, to: u32| {
        call(&mut c, "kill", |memory, host| pid(memory, "kill", to).map(|to| host.kill(to)))
    })?;
    linker.func_wrap(m, "link", |mut c: Caller<'_, State<H>>, to: u32| {
        call(&mut c, "link", |memory, host| pid(memory, "link", to).map(|to| host.link(to)))
    })?;
    linker.func_wrap(m, "unlink", |mut c: Caller<'_, State<H>>, to: u32| {
        call(&mut c, "unlink", |memory, host| pid(memory, "unlink", to).map(|to| host.unlink(to)))
    })?;
    linker.func_wrap(m, "monitor", |mut c: Caller<'_, State<H>>, to: u32| {
        call(&mut c, "monitor", |memory, host| pid(memory, "monitor", to).map(|to| host.monitor(to).0))
    })?;
    linker.func_wrap(m, "demonitor", |mut c: Caller<'_, State<H>>, monitor: u64| {
        call(&mut c, "demonitor", |_, host| {
            host.demonitor(Ref(monitor));
            Ok(())
        })
    })?;
    linker.func_wrap(m, "trap_exit", |mut c: Caller<'_, State<H>>, on: u32| {
        call(&mut c, "trap_exit", |_, host| match on {
            0 | 1 => {
                host.trap_exit(on == 1);
                Ok(())
            }
            _ => Err(bad("trap_exit", "switch", on)),
        })
    })?;
    linker.func_wrap(m, "self_pid", |mut c: Caller<'_, State<H>>, out: u32| {
        call(&mut c, "self_pid", |memory, host| write(memory, "self_pid", out, &host.self_pid().to_bytes()))
    })?;
    Ok(())
}

fn define_questions<H: Host>(linker: &mut Linker<State<H>>) -> wasmtime::Result<()> {
    let m = IMPORT_MODULE;
    linker.func_wrap(m, "ask", |mut c: Caller<'_, State<H>>, ptr: u32, len: u32| {
        call(&mut c, "ask", |memory, host| {
            let question = data::decode(bytes(memory, "ask", ptr, len)?);
            let question =
                question.map_err(|error| Fault::trap(format!("neurath.ask: these bytes are no question: {error}")))?;
            Ok(host.ask(question).0)
        })
    })?;
    linker.func_wrap(
        m,
        "become_latest",
        |mut c: Caller<'_, State<H>>, name: u32, name_len: u32, tag: u32, ptr: u32, len: u32| {
            call(&mut c, "become_latest", |memory, host| {
                let entry = name_text(memory, "become_latest", name, name_len)?;
                let state = bytes(memory, "become_latest", ptr, len)?;
                Ok(reference_or_status(host.become_latest(entry, Tag(tag), state)))
            })
        },
    )?;
    Ok(())
}

fn define_texts<H: Host>(linker: &mut Linker<State<H>>) -> wasmtime::Result<()> {
    let m = IMPORT_MODULE;
    linker.func_wrap(m, "log", |mut c: Caller<'_, State<H>>, level: u32, ptr: u32, len: u32| {
        call(&mut c, "log", |memory, host| match level {
            1..=5 => {
                host.log(level, &text(memory, "log", ptr, len)?);
                Ok(())
            }
            _ => Err(bad("log", "level", level)),
        })
    })?;
    linker.func_wrap(
        m,
        "panic",
        |mut c: Caller<'_, State<H>>, msg: u32, msg_len: u32, file: u32, file_len: u32, line: u32, column: u32| {
            let (memory, state) = enter(&mut c)?;
            let read = text(memory, "panic", msg, msg_len).and_then(|message| {
                let place = format!("{}:{line}:{column}", text(memory, "panic", file, file_len)?);
                Ok((message, place))
            });
            match (read, state.host.as_mut()) {
                (Ok((message, place)), Some(host)) => {
                    host.panicked(&message, &place);
                    state.panicked = true;
                    Ok(())
                }
                (Ok((message, place)), None) => {
                    let fault = Fault::trap(format!("it panicked at {place}: {message}"));
                    Err(state.interrupt(fault))
                }
                (Err(fault), _) => Err(state.interrupt(fault)),
            }
        },
    )?;
    linker.func_wrap(m, "fail", |mut c: Caller<'_, State<H>>, ptr: u32, len: u32| {
        call(&mut c, "fail", |memory, host| {
            host.failed(&text(memory, "fail", ptr, len)?);
            Ok(())
        })
    })?;
    Ok(())
}

#[inline]
fn take<H: Host>(
    memory: &mut [u8],
    host: &mut H,
    receive: ReceiveId,
    spec: u32,
    buf: u32,
    cap: u32,
) -> Result<(TakeStatus, bool), Fault> {
    let spec = TakeSpec::from_bytes(array(memory, "take", spec)?);
    if spec.tag_count > TakeSpec::TAGS_MAX {
        return Err(bad("take", "number of tags", spec.tag_count));
    }
    let mut tags = [Tag(0); TakeSpec::TAGS_MAX as usize];
    let tags = &mut tags[..spec.tag_count as usize];
    let encoded = bytes(memory, "take", spec.tags, spec.tag_count * 4)?;
    for (tag, bytes) in tags.iter_mut().zip(encoded.as_chunks::<4>().0) {
        *tag = Tag(u32::from_le_bytes(*bytes));
    }
    let buffer = bytes_mut(memory, "take", buf, cap)?;
    let Some((head, room)) = buffer.split_first_chunk_mut::<{ MessageHead::SIZE }>() else {
        return Err(bad("take", "capacity", cap));
    };
    let mut fill = |of: MessageHead, payload: &[u8], status: TakeStatus| match fill(head, room, of, payload) {
        true => status,
        false => TakeStatus::BufferTooSmall,
    };
    let room_bytes = cap as usize - MessageHead::SIZE;
    let status = match host.take(receive, &spec, tags, room_bytes) {
        Taken::Pending => TakeStatus::Pending,
        Taken::TimedOut => TakeStatus::TimedOut,
        Taken::Message(of, payload) => fill(of, payload, TakeStatus::Ready),
        Taken::Failed(payload) => fill(MessageHead::default(), payload, TakeStatus::Failed),
        Taken::NeedSchema(index) => fill(MessageHead { index, ..MessageHead::default() }, &[], TakeStatus::NeedSchema),
        Taken::TooLarge(bytes) => {
            let payload_len = u32::try_from(bytes).unwrap_or(u32::MAX);
            *head = MessageHead { payload_len, ..MessageHead::default() }.to_bytes();
            TakeStatus::BufferTooSmall
        }
    };
    let stands = status == TakeStatus::Pending
        && spec.flags & (take_flags::HAND_OVER | take_flags::LOOK | take_flags::YIELD) == take_flags::HAND_OVER
        && spec.reference == 0
        && spec.timeout_ns == TakeSpec::FOREVER
        && receive.0 & !poll_bits::RECEIVE == 0;
    Ok((status, stands))
}

/// Writes head and payload; false if there is not enough room.
#[inline]
fn fill(head: &mut [u8; MessageHead::SIZE], room: &mut [u8], mut of: MessageHead, payload: &[u8]) -> bool {
    of.payload_len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    *head = of.to_bytes();
    match room.get_mut(..payload.len()) {
        Some(room) => {
            room.copy_from_slice(payload);
            true
        }
        None => false,
    }
}

/// Hands the message over for which a receive is about to be polled, if that can be: the bits for `neurath_poll`.
#[inline]
pub(crate) fn hand_over<H: Host>(memory: &mut [u8], host: &mut H, standing: Standing) -> u64 {
    let Standing { receive, buffer, capacity } = standing;
    let buffer = memory.get_mut(buffer as usize..).and_then(|rest| rest.get_mut(..capacity as usize));
    let Some((head, room)) = buffer.and_then(|b| b.split_first_chunk_mut::<{ MessageHead::SIZE }>()) else { return 0 };
    match host.hand_over(receive, room.len()) {
        Some((of, payload, more)) if fill(head, room, of, payload) => {
            poll_bits::DELIVERED | if more { poll_bits::MORE } else { 0 }
        }
        Some(_) => {
            host.put_back(receive);
            0
        }
        None => 0,
    }
}

/// The guest's memory and the state of its instance.
#[inline(always)]
pub(crate) fn enter<'a, H: Host>(
    caller: &'a mut Caller<'_, State<H>>,
) -> wasmtime::Result<(&'a mut [u8], &'a mut State<H>)> {
    match caller.data().memory {
        Some(memory) => Ok(memory.data_and_store_mut(caller)),
        None => Err(caller.data_mut().interrupt(Fault::trap("a host function was called before the memory existed"))),
    }
}

/// Runs `f` on the guest's memory and its host; a fault ends the guest.
#[inline(always)]
pub(crate) fn call<H: Host, T>(
    caller: &mut Caller<'_, State<H>>,
    name: &'static str,
    f: impl FnOnce(&mut [u8], &mut H) -> Result<T, Fault>,
) -> wasmtime::Result<T> {
    let (memory, state) = enter(caller)?;
    let Some(host) = state.host.as_mut() else {
        return Err(state.interrupt(no_host(name)));
    };
    match f(memory, host) {
        Ok(value) => Ok(value),
        Err(fault) => Err(state.interrupt(fault)),
    }
}

/// `len` bytes at `ptr`.
#[inline(always)]
pub(crate) fn bytes<'m>(memory: &'m [u8], name: &str, ptr: u32, len: u32) -> Result<&'m [u8], Fault> {
    let (start, size) = (ptr as usize, len as usize);
    memory.get(start..start + size).ok_or_else(|| outside(name, ptr, len, memory.len()))
}

/// The same, to be written.
#[inline(always)]
pub(crate) fn bytes_mut<'m>(memory: &'m mut [u8], name: &str, ptr: u32, len: u32) -> Result<&'m mut [u8], Fault> {
    let (start, size, end) = (ptr as usize, len as usize, memory.len());
    memory.get_mut(start..start + size).ok_or_else(|| outside(name, ptr, len, end))
}

/// Writes `content` at `ptr`.
#[inline(always)]
pub(crate) fn write(memory: &mut [u8], name: &str, ptr: u32, content: &[u8]) -> Result<(), Fault> {
    bytes_mut(memory, name, ptr, content.len() as u32)?.copy_from_slice(content);
    Ok(())
}

#[inline(always)]
fn array<'m, const N: usize>(memory: &'m [u8], name: &str, ptr: u32) -> Result<&'m [u8; N], Fault> {
    memory
        .get(ptr as usize..)
        .and_then(|rest| rest.first_chunk())
        .ok_or_else(|| outside(name, ptr, N as u32, memory.len()))
}

#[inline(always)]
fn pid(memory: &[u8], name: &str, ptr: u32) -> Result<Pid, Fault> {
    array(memory, name, ptr).map(Pid::from_bytes)
}

fn bounded<'m>(memory: &'m [u8], name: &str, ptr: u32, len: u32, max: usize) -> Result<&'m [u8], Fault> {
    if len as usize > max {
        return Err(Fault::trap(format!("neurath.{name}: {len} bytes are more than the {max} that are allowed")));
    }
    bytes(memory, name, ptr, len)
}

fn name_text<'m>(memory: &'m [u8], name: &str, ptr: u32, len: u32) -> Result<&'m str, Fault> {
    let bytes = bounded(memory, name, ptr, len, NAME_MAX)?;
    std::str::from_utf8(bytes).map_err(|_| Fault::trap(format!("neurath.{name}: a name is not UTF-8")))
}

fn text<'m>(memory: &'m [u8], name: &str, ptr: u32, len: u32) -> Result<Cow<'m, str>, Fault> {
    let bytes = bytes(memory, name, ptr, len)?;
    Ok(String::from_utf8_lossy(&bytes[..bytes.len().min(TEXT_MAX)]))
}

fn reference_or_status(answer: Result<Ref, SendStatus>) -> i64 {
    match answer {
        Ok(reference) => reference.0 as i64,
        Err(status) => i64::from(status as i32),
    }
}

#[cold]
fn outside(name: &str, ptr: u32, len: u32, memory: usize) -> Fault {
    Fault::trap(format!("neurath.{name}: {len} bytes at {ptr} are not inside the memory of {memory} bytes"))
}

#[cold]
fn bad(name: &str, what: &str, value: u32) -> Fault {
    Fault::trap(format!("neurath.{name}: {value} is no valid {what}"))
}

#[cold]
fn refused_exit(tag: u32, status: SendStatus) -> Fault {
    Fault::trap(format!("neurath.exit: the reason of type {tag} was refused ({status:?}); declare its schema first"))
}

#[cold]
fn no_host(name: &str) -> Fault {
    Fault::trap(format!(
        "{name} was called while the module was being initialized, when there is no process yet; call it from an entry"
    ))
}

#[cold]
fn stopped(stop: Stop) -> Fault {
    Fault::Stopped(stop.0)
}

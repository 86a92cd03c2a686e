//! WASI preview 1 as a guest of ours sees it: clocks, random numbers, two streams, and nothing else.
//!
//! There are no files, arguments, variables or sockets. Every function exists, so that programs of
//! the standard library link. Invariant: all that a guest learns here comes from its [`Host`].

use wasmparser::ValType::{self, I32, I64};
use wasmtime::{Caller, FuncType, Linker, Val};

use crate::fault::Fault;
use crate::host::{Clock, Host};
use crate::imports::{Import, bytes, bytes_mut, call, enter, write};
use crate::state::State;

/// The import module.
pub(crate) const WASI: &str = "wasi_snapshot_preview1";

/// Bytes that one `fd_write` takes; the guest writes the rest with another.
const WRITE_MAX: usize = 64 << 10;
/// Bytes that one `random_get` fills.
const RANDOM_MAX: u32 = 1 << 20;
/// Vectors that one `fd_write` takes, as POSIX has it.
const VECTORS_MAX: u32 = 1024;
/// Subscriptions that are looked at for a clock.
const SUBSCRIPTIONS_MAX: u32 = 1024;
const SUBSCRIPTION_SIZE: u32 = 48;
const CLOCK_RESOLUTION_NS: u64 = 1;

const SUCCESS: i32 = 0;
const BADF: i32 = 8;
const INVAL: i32 = 28;
const NOSYS: i32 = 52;
const NOTCAPABLE: i32 = 76;

/// What a function does.
#[derive(Clone, Copy)]
enum Answer {
    /// Defined in [`define`].
    Real,
    /// Only this error number.
    Errno(i32),
}

struct Function(&'static str, &'static [ValType], Answer);

use Answer::{Errno, Real};

/// All functions of preview 1. All but `proc_exit` return an error number.
const FUNCTIONS: &[Function] = &[
    Function("args_get", &[I32, I32], Errno(SUCCESS)),
    Function("args_sizes_get", &[I32, I32], Real),
    Function("environ_get", &[I32, I32], Errno(SUCCESS)),
    Function("environ_sizes_get", &[I32, I32], Real),
    Function("clock_res_get", &[I32, I32], Real),
    Function("clock_time_get", &[I32, I64, I32], Real),
    Function("fd_advise", &[I32, I64, I64, I32], Errno(BADF)),
    Function("fd_allocate", &[I32, I64, I64], Errno(BADF)),
    Function("fd_close", &[I32], Errno(BADF)),
    Function("fd_datasync", &[I32], Errno(BADF)),
    Function("fd_fdstat_get", &[I32, I32], Real),
    Function("fd_fdstat_set_flags", &[I32, I32], Errno(BADF)),
    Function("fd_fdstat_set_rights", &[I32, I64, I64], Errno(BADF)),
    Function("fd_filestat_get", &[I32, I32], Errno(BADF)),
    Function("fd_filestat_set_size", &[I32, I64], Errno(BADF)),
    Function("fd_filestat_set_times", &[I32, I64, I64, I32], Errno(BADF)),
    Function("fd_pread", &[I32, I32, I32, I64, I32], Errno(BADF)),
    Function("fd_prestat_get", &[I32, I32], Errno(BADF)),
    Function("fd_prestat_dir_name", &[I32, I32, I32], Errno(BADF)),
    Function("fd_pwrite", &[I32, I32, I32, I64, I32], Errno(BADF)),
    Function("fd_read", &[I32, I32, I32, I32], Errno(BADF)),
    Function("fd_readdir", &[I32, I32, I32, I64, I32], Errno(BADF)),
    Function("fd_renumber", &[I32, I32], Errno(BADF)),
    Function("fd_seek", &[I32, I64, I32, I32], Errno(BADF)),
    Function("fd_sync", &[I32], Errno(BADF)),
    Function("fd_tell", &[I32, I32], Errno(BADF)),
    Function("fd_write", &[I32, I32, I32, I32], Real),
    Function("path_create_directory", &[I32, I32, I32], Errno(NOTCAPABLE)),
    Function("path_filestat_get", &[I32, I32, I32, I32, I32], Errno(NOTCAPABLE)),
    Function("path_filestat_set_times", &[I32, I32, I32, I32, I64, I64, I32], Errno(NOTCAPABLE)),
    Function("path_link", &[I32, I32, I32, I32, I32, I32, I32], Errno(NOTCAPABLE)),
    Function("path_open", &[I32, I32, I32, I32, I32, I64, I64, I32, I32], Errno(NOTCAPABLE)),
    Function("path_readlink", &[I32, I32, I32, I32, I32, I32], Errno(NOTCAPABLE)),
    Function("path_remove_directory", &[I32, I32, I32], Errno(NOTCAPABLE)),
    Function("path_rename", &[I32, I32, I32, I32, I32, I32], Errno(NOTCAPABLE)),
    Function("path_symlink", &[I32, I32, I32, I32, I32], Errno(NOTCAPABLE)),
    Function("path_unlink_file", &[I32, I32, I32], Errno(NOTCAPABLE)),
    Function("poll_oneoff", &[I32, I32, I32, I32], Real),
    Function("proc_exit", &[I32], Real),
    Function("proc_raise", &[I32], Errno(NOSYS)),
    Function("sched_yield", &[], Errno(SUCCESS)),
    Function("random_get", &[I32, I32], Real),
    Function("sock_accept", &[I32, I32, I32], Errno(BADF)),
    Function("sock_recv", &[I32, I32, I32, I32, I32, I32], Errno(BADF)),
    Function("sock_send", &[I32, I32, I32, I32, I32], Errno(BADF)),
    Function("sock_shutdown", &[I32, I32], Errno(BADF)),
];

/// Everything that [`define`] defines.
pub(crate) fn imports() -> impl Iterator<Item = Import> {
    FUNCTIONS.iter().map(|Function(name, params, _)| Import {
        module: WASI,
        name,
        params,
        results: if *name == "proc_exit" { &[] } else { &[I32] },
    })
}

/// Defines all functions of preview 1.
pub(crate) fn define<H: Host>(linker: &mut Linker<State<H>>) -> wasmtime::Result<()> {
    for Function(name, params, answer) in FUNCTIONS {
        let Errno(errno) = *answer else { continue };
        let params = params.iter().map(|p| if *p == I64 { wasmtime::ValType::I64 } else { wasmtime::ValType::I32 });
        let ty = FuncType::new(linker.engine(), params, [wasmtime::ValType::I32]);
        linker.func_new(WASI, name, ty, move |_, _, results| {
            results.fill(Val::I32(errno));
            Ok(())
        })?;
    }
    for name in ["args_sizes_get", "environ_sizes_get"] {
        linker.func_wrap(WASI, name, move |mut c: Caller<'_, State<H>>, count: u32, size: u32| {
            check(&mut c, |memory| {
                write(memory, name, count, &[0; 4])?;
                write(memory, name, size, &[0; 4])?;
                Ok(SUCCESS)
            })
        })?;
    }
    linker.func_wrap(WASI, "clock_res_get", |mut c: Caller<'_, State<H>>, id: u32, out: u32| {
        check(&mut c, |memory| match clock(id) {
            Some(_) => write(memory, "clock_res_get", out, &CLOCK_RESOLUTION_NS.to_le_bytes()).map(|()| SUCCESS),
            None => Ok(INVAL),
        })
    })?;
    linker.func_wrap(WASI, "clock_time_get", |mut c: Caller<'_, State<H>>, id: u32, _precision: u64, out: u32| {
        call(&mut c, "clock_time_get", |memory, host| match clock(id) {
            Some(clock) => write(memory, "clock_time_get", out, &host.clock(clock).to_le_bytes()).map(|()| SUCCESS),
            None => Ok(INVAL),
        })
    })?;
    linker.func_wrap(WASI, "random_get", |mut c: Caller<'_, State<H>>, ptr: u32, len: u32| {
        if H::DESCRIBES {
            // The default of a field may be a `HashMap`, and a description is the same each time.
            return check(&mut c, |memory| {
                bytes_mut(memory, "random_get", ptr, len)?.fill(0);
                Ok(SUCCESS)
            });
        }
        call(&mut c, "random_get", |memory, host| {
            let room = bytes_mut(memory, "random_get", ptr, len)?;
            if len > RANDOM_MAX {
                return Ok(INVAL);
            }
            host.random(room);
            Ok(SUCCESS)
        })
    })?;
    linker.func_wrap(WASI, "fd_fdstat_get", |mut c: Caller<'_, State<H>>, fd: u32, out: u32| {
        check(&mut c, |memory| match fd {
            // A character device: it is told apart from a file by nothing but its kind.
            0..=2 => {
                let mut stat = [0; 24];
                stat[0] = 2;
                write(memory, "fd_fdstat_get", out, &stat).map(|()| SUCCESS)
            }
            _ => Ok(BADF),
        })
    })?;
    linker.func_wrap(
        WASI,
        "fd_write",
        |mut c: Caller<'_, State<H>>, fd: u32, vectors: u32, count: u32, out: u32| {
            let (memory, state) = enter(&mut c)?;
            fd_write(memory, state.host.as_mut(), fd, vectors, count, out).map_err(|fault| state.interrupt(fault))
        },
    )?;
    linker.func_wrap(
        WASI,
        "poll_oneoff",
        |mut c: Caller<'_, State<H>>, subscriptions: u32, _events: u32, count: u32, _out: u32| {
            check(&mut c, |memory| poll_oneoff(memory, subscriptions, count))
        },
    )?;
    linker.func_wrap(WASI, "proc_exit", |mut c: Caller<'_, State<H>>, code: u32| -> wasmtime::Result<()> {
        let stop = format!("it called proc_exit({code}); return from the entry, or use neurath::exit");
        Err(c.data_mut().interrupt(Fault::Stopped(stop)))
    })?;
    Ok(())
}

fn clock(id: u32) -> Option<Clock> {
    match id {
        0 => Some(Clock::Real),
        1 => Some(Clock::Monotonic),
        _ => None,
    }
}

/// Runs what needs no host.
fn check<H: Host>(
    caller: &mut Caller<'_, State<H>>,
    f: impl FnOnce(&mut [u8]) -> Result<i32, Fault>,
) -> wasmtime::Result<i32> {
    let (memory, state) = enter(caller)?;
    f(memory).map_err(|fault| state.interrupt(fault))
}

fn fd_write<H: Host>(
    memory: &mut [u8],
    mut host: Option<&mut H>,
    fd: u32,
    vectors: u32,
    count: u32,
    out: u32,
) -> Result<i32, Fault> {
    if !matches!(fd, 1 | 2) {
        return Ok(BADF);
    }
    if count > VECTORS_MAX {
        return Ok(INVAL);
    }
    bytes(memory, "fd_write", out, 4)?;
    let mut written = 0;
    for vector in bytes(memory, "fd_write", vectors, count * 8)?.as_chunks::<8>().0 {
        let [p0, p1, p2, p3, l0, l1, l2, l3] = *vector;
        let content =
            bytes(memory, "fd_write", u32::from_le_bytes([p0, p1, p2, p3]), u32::from_le_bytes([l0, l1, l2, l3]))?;
        let content = &content[..content.len().min(WRITE_MAX - written)];
        if let (Some(host), false) = (&mut host, content.is_empty()) {
            host.output(fd, content);
        }
        written += content.len();
    }
    write(memory, "fd_write", out, &(written as u32).to_le_bytes())?;
    Ok(SUCCESS)
}

fn poll_oneoff(memory: &[u8], subscriptions: u32, count: u32) -> Result<i32, Fault> {
    if count == 0 || count > SUBSCRIPTIONS_MAX {
        return Ok(INVAL);
    }
    let all = bytes(memory, "poll_oneoff", subscriptions, count * SUBSCRIPTION_SIZE)?;
    // The kind is the byte after the eight of user data; 0 is a clock.
    if all.chunks_exact(SUBSCRIPTION_SIZE as usize).any(|s| s[8] == 0) {
        return Err(Fault::Stopped(
            "a blocking sleep would hold the node's thread; use neurath::sleep(..).await".into(),
        ));
    }
    Ok(NOSYS)
}

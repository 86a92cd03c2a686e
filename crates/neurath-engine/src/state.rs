//! [`State`]: what wasmtime keeps for us beside each instance.

use neurath_proto::abi::ReceiveId;
use wasmtime::{Memory, ResourceLimiter, Store, UpdateDeadline};

use crate::fault::Fault;
use crate::host::{Host, Stop};

/// Ticks that a module's `_initialize` or description may take.
const INITIALIZE_TICKS_MAX: u64 = 1000;

/// The host of an instance, and what the engine must remember during a call.
pub(crate) struct State<H> {
    /// None while the module is being initialized and while the instance is idle: then nothing has effects.
    pub(crate) host: Option<H>,
    /// None until the instance is there.
    pub(crate) memory: Option<Memory>,
    /// Why the present call is being ended.
    pub(crate) fault: Option<Fault>,
    /// Whether the guest has said that it panics.
    pub(crate) panicked: bool,
    /// Ticks since the present call began.
    pub(crate) ticks: u64,
    /// Bytes that the memory may have.
    pub(crate) memory_bytes_max: usize,
    /// Whether the guest was refused memory in the present call: what it does then is mostly to abort.
    pub(crate) memory_refused: bool,
    /// Where a message may be handed over.
    pub(crate) standing: Option<Standing>,
    /// Elements that a table may have.
    pub(crate) table_elements_max: usize,
}

/// A receive that waits under `HAND_OVER`, and its buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub(crate) receive: ReceiveId,
    pub(crate) buffer: u32,
    pub(crate) capacity: u32,
}

impl<H: Host> State<H> {
    /// A store for one instance, with its limits in force.
    pub(crate) fn store(engine: &wasmtime::Engine, memory_bytes_max: usize, table_elements_max: usize) -> Store<Self> {
        let state = Self {
            host: None,
            memory: None,
            fault: None,
            panicked: false,
            ticks: 0,
            memory_bytes_max,
            memory_refused: false,
            standing: None,
            table_elements_max,
        };
        let mut store = Store::new(engine, state);
        store.limiter(|state| state);
        store.epoch_deadline_callback(|mut context| {
            let state = context.data_mut();
            state.ticks += 1;
            let verdict = match &mut state.host {
                Some(host) => host.overrun(state.ticks),
                None if state.ticks > INITIALIZE_TICKS_MAX => {
                    Err(Stop("it takes too long to initialize or describe the module; look for an endless loop".into()))
                }
                None => Ok(()),
            };
            match verdict {
                Ok(()) => Ok(UpdateDeadline::Continue(1)),
                Err(stop) => Err(state.interrupt(Fault::Stopped(stop.0))),
            }
        });
        store
    }

    /// Remembers the fault; what is returned unwinds the guest.
    #[cold]
    pub(crate) fn interrupt(&mut self, fault: Fault) -> wasmtime::Error {
        self.fault = Some(fault);
        wasmtime::Error::from(wasmtime::Trap::Interrupt)
    }
}

impl<H: Host> ResourceLimiter for State<H> {
    fn memory_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        self.memory_refused |= desired > self.memory_bytes_max;
        Ok(desired <= self.memory_bytes_max)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= self.table_elements_max)
    }
}

//! The macros of the `neurath` crate, which re-exports and documents them.
//!
//! What they generate names only `::neurath`, so that programs depend on `neurath` alone. Invariant: what a
//! user wrote wrongly is an error at that place which says what to write instead.

use proc_macro::TokenStream;
use syn::parse_macro_input;

mod converter;
mod derive;
mod entry;
mod function;
mod process;
mod receive;
mod server;
mod supervisor;

/// Makes a type one that can be sent: implements its codec and its schema.
///
/// It works for structs and enums, generic ones too, whose fields can be sent themselves.
/// [`macro@State`] does the same: use the name that says what the type is for, never both.
///
/// Versions of a type are matched by name. These attributes help them:
///
/// * `#[neurath(default)]` on a field: where an older version has not written it, it is
///   `Default::default()`.
/// * `#[neurath(default = expr)]`: it is `expr`.
/// * `#[neurath(name = "...")]` on a type, field or variant: its name for other versions, so that it
///   can be renamed in the source.
#[proc_macro_derive(Message, attributes(neurath))]
pub fn derive_message(input: TokenStream) -> TokenStream {
    derive::data(input.into()).into()
}

/// Makes a type one that can be kept across upgrades: implements its codec and its schema.
///
/// Everything said at [`macro@Message`] holds for it too.
#[proc_macro_derive(State, attributes(neurath))]
pub fn derive_state(input: TokenStream) -> TokenStream {
    derive::data(input.into()).into()
}

/// Makes an `async fn` a process.
///
/// Its parameters are what it is started with, and its state when its code changes: a process says
/// itself where that may be, with `become_latest!`. `accepts(Type, …)` declares the messages that it takes;
/// without it anything is let into its mailbox. `name = "…"` names the entry otherwise than the function.
///
/// Beside the function there is then a type of the same name with `spawn`, `spawn_link` and
/// `spawn_monitor`, each with the function's parameters.
///
/// ```
/// use neurath::prelude::*;
///
/// #[derive(Message)]
/// struct Greet(String);
///
/// #[neurath::process(accepts(Greet))]
/// async fn greeter(greeting: String, mut times: u32) {
///     while times > 0 {
///         let Greet(name) = recv().await;
///         println!("{greeting}, {name}");
///         times -= 1;
///     }
/// }
///
/// async fn example() {
///     let pid = greeter::spawn("Hello".into(), 3);
///     send(pid, Greet("Otto".into()));
/// }
/// # fn main() {}
/// ```
///
/// What cannot be a process is refused:
///
/// ```compile_fail
/// #[neurath::process]
/// fn not_async() {}
/// # fn main() {}
/// ```
/// ```compile_fail
/// #[neurath::process]
/// async fn generic<T>(of: T) {}
/// # fn main() {}
/// ```
/// ```compile_fail
/// #[neurath::process]
/// async fn borrows(name: &str) {}
/// # fn main() {}
/// ```
/// ```compile_fail,E0277
/// struct NoMessage;
/// #[neurath::process]
/// async fn takes_what_cannot_be_sent(it: NoMessage) {}
/// # fn main() {}
/// ```
#[proc_macro_attribute]
pub fn process(options: TokenStream, item: TokenStream) -> TokenStream {
    let options = parse_macro_input!(options as entry::Options);
    let item = parse_macro_input!(item as syn::ItemFn);
    process::expand(options, item).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// Makes an `impl Server for …` a process that answers requests. See `neurath::Server`.
///
/// ```compile_fail
/// use neurath::prelude::*;
/// #[derive(State)]
/// struct NoInit;
/// #[neurath::server]
/// impl Server for NoInit {}
/// # fn main() {}
/// ```
/// ```compile_fail
/// use neurath::prelude::*;
/// #[derive(State)]
/// struct Silent;
/// #[neurath::server]
/// impl Server for Silent {
///     type Call = u32; // and no `type Reply`
///     fn init() -> Self { Silent }
///     async fn call(&mut self, call: u32) {}
/// }
/// # fn main() {}
/// ```
/// ```compile_fail
/// use neurath::prelude::*;
/// #[derive(State)]
/// struct Ranked;
/// #[neurath::server(priority(Down))] // which no method takes
/// impl Server for Ranked {
///     fn init() -> Self { Ranked }
/// }
/// # fn main() {}
/// ```
/// ```compile_fail
/// use neurath::prelude::*;
/// #[derive(State)]
/// struct Idle;
/// #[neurath::server]
/// impl Server for Idle {
///     fn init() -> Self { Idle }
///     fn idle(&self) -> std::time::Duration { 1.secs() } // and then?
/// }
/// # fn main() {}
/// ```
#[proc_macro_attribute]
pub fn server(options: TokenStream, item: TokenStream) -> TokenStream {
    let options = parse_macro_input!(options as entry::Options);
    let item = parse_macro_input!(item as syn::ItemImpl);
    server::expand(options, item).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// Makes a function that lists children a supervisor of them. See the module `neurath::supervisor`.
///
/// It is called when the supervisor starts, and again in newer code when it is upgraded: it only says what there is.
///
/// ```compile_fail
/// #[neurath::supervisor]
/// async fn waits() -> neurath::supervisor::Supervisor { todo!() }
/// # fn main() {}
/// ```
#[proc_macro_attribute]
pub fn supervisor(options: TokenStream, item: TokenStream) -> TokenStream {
    let options = parse_macro_input!(options as entry::Options);
    let item = parse_macro_input!(item as syn::ItemFn);
    supervisor::expand(options, item).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// Makes a function one that can run in a process of its own.
///
/// It can still be called. `NAME::run(…)` starts a process for it and is awaited for the result;
/// `NAME::spawn(…)` starts one and forgets it.
///
/// ```
/// use neurath::prelude::*;
///
/// #[neurath::function]
/// fn fib(n: u32) -> u64 {
///     if n < 2 { n.into() } else { fib(n - 1) + fib(n - 2) }
/// }
///
/// async fn example() -> Result<u64, CallError> {
///     let (one, other) = (fib::run(30), fib::run(31));
///     Ok(one.await? + other.await? + fib(10))
/// }
/// # fn main() {}
/// ```
#[proc_macro_attribute]
pub fn function(options: TokenStream, item: TokenStream) -> TokenStream {
    let options = parse_macro_input!(options as entry::Options);
    let item = parse_macro_input!(item as syn::ItemFn);
    function::expand(options, item).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// Makes a function the way from an old state to a new one.
///
/// For a server it takes the old struct, which the program still has in some module, and returns the
/// new one. For a process, whose state is its arguments, it names the entry; its parameters are the old
/// arguments, and it returns the new ones, as a tuple if there are several.
///
/// If the return type is written `Result<…, E>`, an `Err` refuses: the process goes on with its old code
/// and state, and the reason is reported. The same happens when a converter panics.
///
/// ```
/// use neurath::prelude::*;
///
/// mod v1 {
///     use neurath::prelude::*;
///     #[derive(State)]
///     pub struct Account { pub name: String, pub cents: u32 }
/// }
///
/// #[derive(State)]
/// struct Account { owner: String, cents: i64 }
///
/// #[neurath::converter]
/// fn from_v1(old: v1::Account) -> Account {
///     Account { owner: old.name, cents: old.cents.into() }
/// }
///
/// #[neurath::process]
/// async fn counter(mut sum: i64, resets: u32) {
///     # let _ = (&mut sum, resets);
/// }
///
/// #[neurath::converter(entry = counter)]
/// fn counter_from_v1(sum: u32) -> Result<(i64, u32), String> {
///     if sum == 0 { Err("nothing counted yet".into()) } else { Ok((sum.into(), 0)) }
/// }
/// # fn main() {}
/// ```
///
/// A converter makes the state of its entry, or it does not compile:
///
/// ```compile_fail,E0277
/// #[neurath::process]
/// async fn counter(sum: i64) {}
///
/// #[neurath::converter(entry = counter)]
/// fn counter_from_v1(sum: u32) -> String { sum.to_string() }
/// # fn main() {}
/// ```
#[proc_macro_attribute]
pub fn converter(options: TokenStream, item: TokenStream) -> TokenStream {
    let options = parse_macro_input!(options as converter::Options);
    let item = parse_macro_input!(item as syn::ItemFn);
    converter::expand(options, item).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// Receives the first message in the mailbox that an arm wants, and runs that arm.
///
/// | arm | wants |
/// |---|---|
/// | `name: Type => …` | any message of that type |
/// | `pattern: Type if condition => …` | those that fit |
/// | `Done(n) => …`, `Tally::Get(reply) => …` | those that fit; the pattern names the type |
/// | `pattern = request => …` | the outcome of a future that waits already, by name |
/// | `after 5.secs() => …` | nothing: runs when so much time has passed in all |
///
/// Messages that no arm wants stay in the mailbox, in their order. The deadline is for the whole
/// receive, however many messages are passed over; at zero the mailbox is still looked through. Arms of one
/// type are tried from top to bottom.
///
/// ```
/// use neurath::prelude::*;
///
/// #[derive(Message)]
/// struct Ping { from: Pid }
/// #[derive(Message)]
/// struct Pong;
/// #[derive(Message)]
/// struct Done(Ref);
/// #[derive(Message)]
/// enum Tally { Add(i64), Get(ReplyTo<i64>) }
///
/// #[neurath::process(accepts(Ping, Done, Tally))]
/// async fn worker(me: Ref, counter: Pid) {
///     let mut sum = 0;
///     let mut total = ask(counter, Tally::Get);
///     loop {
///         receive! {
///             ping: Ping => { send(ping.from, Pong); }
///             Done(which) if which == me => break,
///             Tally::Add(n) if n > 0 => sum += n,
///             Tally::Get(reply) => reply.send(sum),
///             answer = total => sum += answer.unwrap_or(0),
///             after 5.secs() => exit("nobody needs me".to_string()),
///         }
///     }
/// }
/// # fn main() {}
/// ```
///
/// ```compile_fail
/// # async fn example() {
/// neurath::receive! { message => {} } // of which type?
/// # }
/// # fn main() {}
/// ```
#[proc_macro]
pub fn receive(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as receive::Receive);
    receive::expand(&input).into()
}

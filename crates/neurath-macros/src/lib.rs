//! The macros of the `neurath` crate, which re-exports and explains them.
//!
//! What they generate names only `::neurath::__private`, so that programs depend on `neurath` alone.

mod derive;

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
pub fn derive_message(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    derive::data(input.into()).into()
}

/// Makes a type one that can be kept across upgrades: implements its codec and its schema.
///
/// Everything said at [`macro@Message`] holds for it too.
#[proc_macro_derive(State, attributes(neurath))]
pub fn derive_state(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    derive::data(input.into()).into()
}

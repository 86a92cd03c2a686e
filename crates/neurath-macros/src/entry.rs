//! What processes, servers and functions have in common: parameters, the typed `spawn` functions, exports.
//!
//! Invariant: nothing here looks at types; what a type must be is said by the traits of `neurath`, so that
//! the compiler's errors point at what the user wrote.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Error, FnArg, ItemFn, LitStr, Pat, Result, Signature, Token, Type};

/// What stands in the parentheses of `#[process(…)]`, `#[server(…)]` and `#[function(…)]`.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) name: Option<LitStr>,
    pub(crate) accepts: Vec<Type>,
    /// Of a server: the types that go first.
    pub(crate) priority: Vec<Type>,
    /// Of a server: what becomes of notices that it has no handler for.
    pub(crate) unhandled: Option<Ident>,
}

impl Options {
    /// The entry's name: the one that was given, or its item's.
    pub(crate) fn name_of(&self, item: &Ident) -> String {
        self.name.as_ref().map_or_else(|| item.to_string(), LitStr::value)
    }

    /// Refuses what only servers have.
    pub(crate) fn check_no_server(&self) -> Result<()> {
        let why = "only a server has it: its loop is not yours";
        match (self.priority.first(), &self.unhandled) {
            (Some(first), _) => Err(Error::new(first.span(), why)),
            (None, Some(policy)) => Err(Error::new(policy.span(), why)),
            (None, None) => Ok(()),
        }
    }
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut options = Self::default();
        while !input.is_empty() {
            let key: Ident = input.parse()?;
            if key == "name" {
                input.parse::<Token![=]>()?;
                let name: LitStr = input.parse()?;
                let value = name.value();
                if value.is_empty() || !value.chars().all(|c| c.is_alphanumeric() || "_-.".contains(c)) {
                    return Err(Error::new(name.span(), "a name has letters, digits, `_`, `-` and `.`"));
                }
                options.name = Some(name);
            } else if key == "accepts" || key == "priority" {
                let types;
                syn::parenthesized!(types in input);
                let types = Punctuated::<Type, Token![,]>::parse_terminated(&types)?.into_iter().collect();
                *(if key == "accepts" { &mut options.accepts } else { &mut options.priority }) = types;
            } else if key == "unhandled" {
                input.parse::<Token![=]>()?;
                let policy: Ident = input.parse()?;
                if !["drop", "log", "exit"].iter().any(|known| policy == known) {
                    return Err(Error::new(policy.span(), "expected `drop`, `log` or `exit`"));
                }
                options.unhandled = Some(policy);
            } else {
                return Err(Error::new(
                    key.span(),
                    "expected `accepts(Type, …)` or `name = \"…\"`; for servers also `priority(Type, …)` or `unhandled = …`",
                ));
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(options)
    }
}

/// The parameters of an entry or converter.
pub(crate) struct Parameters {
    pub(crate) names: Vec<Ident>,
    pub(crate) types: Vec<Type>,
}

impl Parameters {
    /// The parameters of `signature`, if a host can give them.
    pub(crate) fn of(signature: &Signature) -> Result<Self> {
        let mut parameters = Self { names: Vec::new(), types: Vec::new() };
        for input in &signature.inputs {
            let typed = match input {
                FnArg::Typed(typed) => typed,
                FnArg::Receiver(this) => {
                    return Err(Error::new(this.span(), "it starts by itself and has no `self`; pass what it needs"));
                }
            };
            let Pat::Ident(pattern) = &*typed.pat else {
                return Err(Error::new(typed.pat.span(), "a parameter needs a name here; take it apart in the body"));
            };
            if let Some(reference) = find_reference(&typed.ty) {
                return Err(Error::new(
                    reference,
                    "parameters are sent from process to process and cannot borrow; use an owned type, `String` for `&str`",
                ));
            }
            parameters.names.push(pattern.ident.clone());
            parameters.types.push((*typed.ty).clone());
        }
        if parameters.names.len() > 8 {
            return Err(Error::new(signature.inputs.span(), "at most 8 parameters; put them into a struct"));
        }
        Ok(parameters)
    }

    /// `name: Type, …`
    pub(crate) fn declared(&self) -> TokenStream {
        let Self { names, types } = self;
        quote!(#(#names: #types),*)
    }

    /// `(Type, …,)`
    pub(crate) fn tuple_type(&self) -> TokenStream {
        let types = &self.types;
        quote!((#(#types,)*))
    }

    /// `(name, …,)`
    pub(crate) fn tuple(&self) -> TokenStream {
        let names = &self.names;
        quote!((#(#names,)*))
    }

    /// The same without the tuple around a single one.
    pub(crate) fn plain_type(&self) -> TokenStream {
        match self.types.as_slice() {
            [only] => quote!(#only),
            _ => self.tuple_type(),
        }
    }

    /// The same without the tuple around a single one.
    pub(crate) fn plain(&self) -> TokenStream {
        match self.names.as_slice() {
            [only] => quote!(#only),
            _ => self.tuple(),
        }
    }
}

fn find_reference(ty: &Type) -> Option<Span> {
    match ty {
        Type::Reference(reference) => Some(reference.span()),
        Type::Ptr(pointer) => Some(pointer.span()),
        Type::ImplTrait(it) => Some(it.span()),
        Type::Paren(inner) => find_reference(&inner.elem),
        Type::Group(inner) => find_reference(&inner.elem),
        _ => None,
    }
}

/// Refuses what no function that a host calls can be.
pub(crate) fn check_signature(signature: &Signature, what: &str) -> Result<()> {
    if let Some(generic) = signature.generics.params.first() {
        return Err(Error::new(
            generic.span(),
            format!("a {what} cannot be generic: the host starts it by name, with types that are known"),
        ));
    }
    if let Some(unsafety) = &signature.unsafety {
        return Err(Error::new(unsafety.span(), format!("a {what} cannot be `unsafe`")));
    }
    if let Some(abi) = &signature.abi {
        return Err(Error::new(abi.span(), format!("a {what} cannot be `extern`")));
    }
    if let Some(variadic) = &signature.variadic {
        return Err(Error::new(variadic.span(), format!("a {what} cannot be variadic")));
    }
    Ok(())
}

/// `spawn`, `spawn_link`, `spawn_monitor` and `spawn_on` of `Self`.
pub(crate) fn spawn_functions(parameters: &Parameters, name: &str, visibility: &TokenStream) -> TokenStream {
    let declared = parameters.declared();
    let tuple = parameters.tuple();
    let spawn = format!("Starts a process `{name}`: its pid.");
    let link = format!("Starts a process `{name}` that is linked to this one before it runs.");
    let monitor = format!(
        "Starts a process `{name}` that is watched before it runs; the ref is that of the `Down` that will come."
    );
    let on = format!("Starts a process `{name}` on another node, which gets the module first if it lacks it.");
    // An argument may be called so too.
    let node = Ident::new("node", Span::mixed_site());
    let on_declared = quote!(#node: ::neurath::NodeId, #declared);
    quote! {
        #[doc = #spawn]
        #[allow(clippy::too_many_arguments)]
        #visibility fn spawn(#declared) -> ::neurath::Pid {
            ::neurath::__private::spawn::<Self>(&#tuple, ::neurath::__private::PLAIN).0
        }

        #[doc = #link]
        #[allow(clippy::too_many_arguments)]
        #visibility fn spawn_link(#declared) -> ::neurath::Pid {
            ::neurath::__private::spawn::<Self>(&#tuple, ::neurath::__private::LINK).0
        }

        #[doc = #monitor]
        #[allow(clippy::too_many_arguments)]
        #visibility fn spawn_monitor(#declared) -> (::neurath::Pid, ::neurath::Ref) {
            ::neurath::__private::spawn::<Self>(&#tuple, ::neurath::__private::MONITOR)
        }

        #[doc = #on]
        #[allow(clippy::too_many_arguments)]
        #visibility fn spawn_on(#on_declared) -> ::neurath::SpawnOn<Self> {
            ::neurath::spawn_on::<Self>(#node, #tuple)
        }
    }
}

/// What the manifest says about an entry.
pub(crate) struct About<'a> {
    pub(crate) name: &'a str,
    /// The last segment of its path.
    pub(crate) item: &'a Ident,
    /// A variant of `EntryKind`.
    pub(crate) kind: &'a str,
    pub(crate) parameters: &'a Parameters,
    pub(crate) accepts: &'a [Type],
    pub(crate) call: Option<TokenStream>,
    pub(crate) reply: Option<TokenStream>,
    pub(crate) cast: Option<TokenStream>,
}

/// `fn describe` of the `Entry`.
pub(crate) fn describe_function(about: &About<'_>) -> TokenStream {
    let About { name, item, kind, parameters, accepts, call, reply, cast } = about;
    let kind = format_ident!("{kind}");
    let argument_names = parameters.names.iter().map(|name| name.to_string().trim_start_matches("r#").to_owned());
    let optional = |ty: &Option<TokenStream>| match ty {
        Some(ty) => quote!(::core::option::Option::Some(::neurath::__private::Schema::of::<#ty>())),
        None => quote!(::core::option::Option::None),
    };
    let (call, reply, cast) = (optional(call), optional(reply), optional(cast));
    let accepts = accepts.iter().map(|ty| quote_spanned!(ty.span()=> ::neurath::__private::Schema::of::<#ty>()));
    let item = item.to_string();
    quote! {
        fn describe() -> ::neurath::__private::manifest::Entry {
            ::neurath::__private::describe::<Self>(
                &::neurath::__private::About {
                    name: #name,
                    path: ::core::concat!(
                        ::core::env!("CARGO_PKG_NAME"), "@", ::core::env!("CARGO_PKG_VERSION"), "#",
                        ::core::module_path!(), "::", #item,
                    ),
                    kind: ::neurath::__private::EntryKind::#kind,
                    argument_names: &[#(#argument_names),*],
                },
                <[_]>::into_vec(::neurath::__private::Box::new([#(#accepts),*])),
                #call,
                #reply,
                #cast,
            )
        }
    }
}

/// The exports that start and describe the entry `ty`.
pub(crate) fn entry_exports(name: &str, ty: &TokenStream) -> TokenStream {
    let start = format!("neurath:start:{name}");
    let describe = format!("neurath:describe:entry:{name}");
    quote! {
        #[cfg(target_family = "wasm")]
        const _: () = {
            #[unsafe(export_name = #start)]
            extern "C" fn start(ptr: usize, len: usize, mode: u32) -> u32 {
                ::neurath::__private::exports::start::<#ty>(ptr, len, mode)
            }

            #[unsafe(export_name = #describe)]
            extern "C" fn describe() -> u64 {
                ::neurath::__private::exports::describe(<#ty as ::neurath::Entry>::describe().to_bytes())
            }
        };
    }
}

/// What a function becomes beside itself: a struct of its name, which is the entry.
pub(crate) struct FunctionEntry<'a> {
    pub(crate) function: &'a ItemFn,
    pub(crate) about: About<'a>,
    /// What it is good for, behind its name.
    pub(crate) doc: &'a str,
    /// Methods beside those that spawn.
    pub(crate) methods: Option<TokenStream>,
    pub(crate) state: TokenStream,
    /// One of the shapes of `neurath::__private`.
    pub(crate) shape: &'a str,
    /// `fn boot` of the `Entry`.
    pub(crate) boot: TokenStream,
}

impl FunctionEntry<'_> {
    pub(crate) fn expand(&self) -> TokenStream {
        let Self { function, about, doc, methods, state, shape, boot } = self;
        let (item, visibility, name) = (about.item, &function.vis, about.name);
        let doc = format!("The entry `{name}`: {doc}");
        let shape = format_ident!("{shape}");
        let tuple_type = about.parameters.tuple_type();
        let spawns = spawn_functions(about.parameters, name, &quote!(pub));
        let describe = describe_function(about);
        let exports = entry_exports(name, &quote!(#item));
        quote! {
            #function

            #[doc = #doc]
            #[allow(non_camel_case_types)]
            #visibility struct #item {}

            #[allow(dead_code)]
            impl #item {
                #spawns

                #methods
            }

            impl ::neurath::Entry for #item {
                const NAME: &'static str = #name;
                type Arguments = #tuple_type;
                type State = #state;
                type Shape = ::neurath::__private::#shape;

                #boot

                #describe
            }

            #exports
        }
    }
}

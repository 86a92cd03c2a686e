//! `#[neurath::converter]`

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{Error, GenericArgument, ItemFn, Path, PathArguments, Result, ReturnType, Token, Type};

use crate::entry::{Parameters, check_signature};

/// What stands in the parentheses of `#[converter(…)]`.
#[derive(Default)]
pub(crate) struct Options {
    entry: Option<Path>,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        if input.is_empty() {
            return Ok(Self::default());
        }
        let key: syn::Ident = input.parse()?;
        if key != "entry" {
            return Err(Error::new(key.span(), "expected `entry = NAME`"));
        }
        input.parse::<Token![=]>()?;
        Ok(Self { entry: Some(input.parse()?) })
    }
}

pub(crate) fn expand(options: Options, function: ItemFn) -> Result<TokenStream> {
    let signature = &function.sig;
    check_signature(signature, "converter")?;
    if let Some(asyncness) = &signature.asyncness {
        return Err(Error::new(asyncness.span(), "a converter cannot wait: the process is between two versions"));
    }
    let parameters = Parameters::of(signature)?;
    if parameters.names.is_empty() {
        return Err(Error::new(signature.ident.span(), "a converter takes the old state"));
    }
    let ReturnType::Type(_, returned) = &signature.output else {
        return Err(Error::new(signature.ident.span(), "a converter returns the new state"));
    };
    let (made, may_fail) = match result_of(returned) {
        Some(made) => (made.clone(), true),
        None => ((**returned).clone(), false),
    };
    if options.entry.is_none() && parameters.names.len() != 1 {
        return Err(Error::new(
            signature.inputs.span(),
            "a converter of a server takes one parameter, the old state; for a process write `#[converter(entry = NAME)]`",
        ));
    }
    let item = &signature.ident;
    let name = item.to_string();
    let (tuple_type, tuple, names) = (parameters.tuple_type(), parameters.tuple(), &parameters.names);
    let (shape, state, entry_name) = match &options.entry {
        Some(entry) => (
            quote!(<#entry as ::neurath::Entry>::Shape),
            quote!(<#entry as ::neurath::Entry>::State),
            quote!(::core::option::Option::Some(<#entry as ::neurath::Entry>::NAME)),
        ),
        None => (quote!(::neurath::__private::ServerShape), quote!(#made), quote!(::core::option::Option::None)),
    };
    let call = if may_fail {
        quote!(#item(#(#names),*).map_err(|error| ::neurath::__private::ToString::to_string(&error))?)
    } else {
        quote!(#item(#(#names),*))
    };
    let convert = format!("neurath:convert:{name}");
    let describe = format!("neurath:describe:converter:{name}");
    let new_state = quote_spanned! {returned.span()=>
        ::neurath::__private::NewState::<#state>::state(new)
    };
    Ok(quote! {
        #[allow(dead_code)]
        #function

        const _: () = {
            type Conversion = ::neurath::__private::Conversion<#shape, #tuple_type, #state>;

            #[allow(dead_code)]
            fn run(
                old: &[u8],
            ) -> ::core::result::Result<::neurath::__private::Vec<u8>, ::neurath::__private::String> {
                Conversion::run(old, |#tuple| {
                    let new: #made = #call;
                    ::core::result::Result::Ok(#new_state)
                })
            }

            #[cfg(target_family = "wasm")]
            #[unsafe(export_name = #convert)]
            extern "C" fn convert(ptr: usize, len: usize) -> u64 {
                ::neurath::__private::exports::convert(ptr, len, run)
            }

            #[cfg(target_family = "wasm")]
            #[unsafe(export_name = #describe)]
            extern "C" fn describe() -> u64 {
                ::neurath::__private::exports::describe(Conversion::describe(#name, #entry_name).to_bytes())
            }
        };
    })
}

/// The `T` of a type that is written `Result<T, …>`.
fn result_of(ty: &Type) -> Option<&Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last()?;
    if last.ident != "Result" {
        return None;
    }
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

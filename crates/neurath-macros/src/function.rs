//! `#[neurath::function]`

use proc_macro2::TokenStream;
use quote::quote;
use syn::{ItemFn, Result, ReturnType};

use crate::entry::{About, Options, Parameters, check_signature, describe_function, entry_exports, spawn_functions};

pub(crate) fn expand(options: Options, function: ItemFn) -> Result<TokenStream> {
    options.check_no_server()?;
    let signature = &function.sig;
    check_signature(signature, "function that runs elsewhere")?;
    let parameters = Parameters::of(signature)?;
    let item = &signature.ident;
    let name = options.name.as_ref().map_or_else(|| item.to_string(), |name| name.value());
    let visibility = &function.vis;
    let (declared, tuple_type, tuple) = (parameters.declared(), parameters.tuple_type(), parameters.tuple());
    let names = &parameters.names;
    let result_type = match &signature.output {
        ReturnType::Default => quote!(()),
        ReturnType::Type(_, ty) => quote!(#ty),
    };
    let wait = signature.asyncness.is_some().then(|| quote!(.await));
    let spawns = spawn_functions(&parameters, &name, &quote!(pub));
    let describe = describe_function(&About {
        name: &name,
        item,
        kind: "Function",
        parameters: &parameters,
        accepts: &options.accepts,
        call: Some(quote!(::neurath::__private::Run)),
        reply: Some(result_type.clone()),
        cast: None,
    });
    let exports = entry_exports(&name, &quote!(#item));
    let doc = format!("The entry `{name}`: runs the function of this name in a process of its own.");
    Ok(quote! {
        #function

        #[doc = #doc]
        #[allow(non_camel_case_types)]
        #visibility struct #item {}

        #[allow(dead_code)]
        impl #item {
            #spawns

            /// Runs the function in a process of its own; await it for the result.
            #[allow(clippy::too_many_arguments)]
            pub fn run(#declared) -> ::neurath::Request<#result_type> {
                ::neurath::__private::run::<Self, #result_type>(&#tuple)
            }
        }

        impl ::neurath::Entry for #item {
            const NAME: &'static str = #name;
            type Arguments = #tuple_type;
            type State = #tuple_type;
            type Shape = ::neurath::__private::ProcessShape;

            fn boot(
                bytes: &[u8],
                _: ::neurath::__private::StartMode,
            ) -> ::core::result::Result<::neurath::__private::Root, ::neurath::__private::DecodeError> {
                let (arguments, starter) = ::neurath::__private::decode_start::<#tuple_type>(bytes)?;
                ::core::result::Result::Ok(::neurath::__private::Box::pin(async move {
                    ::neurath::__private::set_starter(starter);
                    let #tuple = arguments;
                    let result: #result_type = #item(#(#names),*)#wait;
                    ::neurath::__private::finish(result).await;
                }))
            }

            #describe
        }

        #exports
    })
}

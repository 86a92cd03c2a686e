//! `#[neurath::function]`

use proc_macro2::TokenStream;
use quote::quote;
use syn::{ItemFn, Result, ReturnType};

use crate::entry::{About, FunctionEntry, Options, Parameters, check_signature};

pub(crate) fn expand(options: Options, function: ItemFn) -> Result<TokenStream> {
    options.check_no_server()?;
    let signature = &function.sig;
    check_signature(signature, "function that runs elsewhere")?;
    let parameters = Parameters::of(signature)?;
    let item = &signature.ident;
    let name = options.name_of(item);
    let (declared, tuple_type, tuple) = (parameters.declared(), parameters.tuple_type(), parameters.tuple());
    let names = &parameters.names;
    let result_type = match &signature.output {
        ReturnType::Default => quote!(()),
        ReturnType::Type(_, ty) => quote!(#ty),
    };
    let wait = signature.asyncness.is_some().then(|| quote!(.await));
    let boot = quote! {
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
    };
    let run = quote! {
        /// Runs the function in a process of its own; await it for the result.
        #[allow(clippy::too_many_arguments)]
        pub fn run(#declared) -> ::neurath::Request<#result_type> {
            ::neurath::__private::run::<Self, #result_type>(&#tuple)
        }
    };
    let about = About {
        name: &name,
        item,
        kind: "Function",
        parameters: &parameters,
        accepts: &options.accepts,
        call: Some(quote!(::neurath::__private::Run)),
        reply: Some(result_type.clone()),
        cast: None,
    };
    let entry = FunctionEntry {
        function: &function,
        about,
        doc: "runs the function of this name in a process of its own.",
        methods: Some(run),
        state: tuple_type,
        shape: "ProcessShape",
        boot,
    };
    Ok(entry.expand())
}

//! `#[neurath::supervisor]`

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, ItemFn, Result, ReturnType};

use crate::entry::{About, FunctionEntry, Options, Parameters, check_signature};

pub(crate) fn expand(options: Options, function: ItemFn) -> Result<TokenStream> {
    options.check_no_server()?;
    let signature = &function.sig;
    if let Some(asyncness) = signature.asyncness {
        return Err(Error::new(
            asyncness.span(),
            "the function only says which children there are, also after an upgrade: it cannot wait",
        ));
    }
    if let Some(accepts) = options.accepts.first() {
        return Err(Error::new(accepts.span(), "what a supervisor accepts is fixed: `neurath::supervisor::Request`"));
    }
    check_signature(signature, "supervisor")?;
    let ReturnType::Type(_, returned) = &signature.output else {
        return Err(Error::new(signature.ident.span(), "say what there is to supervise: `-> Supervisor`"));
    };
    let parameters = Parameters::of(signature)?;
    let item = &signature.ident;
    let name = options.name_of(item);
    let (tuple_type, tuple, names) = (parameters.tuple_type(), parameters.tuple(), &parameters.names);
    let plan = quote_spanned! {returned.span()=>
        |#tuple: #tuple_type| -> ::neurath::supervisor::Supervisor { #item(#(#names),*) }
    };
    let boot = quote! {
        fn boot(
            bytes: &[u8],
            mode: ::neurath::__private::StartMode,
        ) -> ::core::result::Result<::neurath::__private::Root, ::neurath::__private::DecodeError> {
            ::neurath::__private::supervise::<#tuple_type>(bytes, mode, #plan)
        }
    };
    let about = About {
        name: &name,
        item,
        kind: "Server",
        parameters: &parameters,
        accepts: &[
            syn::parse_quote!(::neurath::Exit),
            syn::parse_quote!(::neurath::supervisor::Started),
            syn::parse_quote!(::neurath::supervisor::Retry),
        ],
        call: Some(quote!(::neurath::supervisor::Request)),
        reply: Some(quote!(::neurath::supervisor::Answer)),
        cast: None,
    };
    let entry = FunctionEntry {
        function: &function,
        about,
        doc: "starts supervisors that look after what the function of this name lists.",
        methods: None,
        state: quote!(::neurath::supervisor::Supervision<#tuple_type>),
        shape: "SupervisorShape",
        boot,
    };
    Ok(entry.expand())
}

//! `#[neurath::process]`

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, ItemFn, Result, ReturnType};

use crate::entry::{About, FunctionEntry, Options, Parameters, check_signature};

pub(crate) fn expand(options: Options, function: ItemFn) -> Result<TokenStream> {
    options.check_no_server()?;
    let signature = &function.sig;
    if signature.asyncness.is_none() {
        return Err(Error::new(
            signature.fn_token.span(),
            "a process waits for messages, so it is an `async fn`; for one that only computes there is `#[neurath::function]`",
        ));
    }
    check_signature(signature, "process")?;
    if let ReturnType::Type(_, ty) = &signature.output
        && !is_unit_or_never(ty)
    {
        return Err(Error::new(
            ty.span(),
            "a process returns nothing: nobody would get it; end with `exit(reason)`, or use `#[neurath::function]`",
        ));
    }
    let parameters = Parameters::of(signature)?;
    let item = &signature.ident;
    let name = options.name_of(item);
    let (declared, tuple_type, tuple) = (parameters.declared(), parameters.tuple_type(), parameters.tuple());
    let returned = (!parameters.names.is_empty()).then(|| {
        let plain_type = parameters.plain_type();
        quote!(-> #plain_type)
    });
    let plain = (!parameters.names.is_empty()).then(|| parameters.plain());
    let names = &parameters.names;
    let boot = quote_spanned! {signature.span()=>
        #[allow(unreachable_code)]
        fn boot(
            bytes: &[u8],
            _: ::neurath::__private::StartMode,
        ) -> ::core::result::Result<::neurath::__private::Root, ::neurath::__private::DecodeError> {
            // A process's state is its arguments, so both modes start alike.
            let (arguments, starter) = ::neurath::__private::decode_start::<#tuple_type>(bytes)?;
            ::core::result::Result::Ok(::neurath::__private::Box::pin(async move {
                ::neurath::__private::set_starter(starter);
                let #tuple = arguments;
                #item(#(#names),*).await;
            }))
        }
    };
    let become_latest = quote! {
        /// Offers this state to the newest code; see `become_latest!`.
        #[allow(clippy::too_many_arguments)]
        pub async fn become_latest(#declared) #returned {
            let #tuple = ::neurath::__private::become_latest::<Self>(#tuple).await;
            #plain
        }
    };
    let about = About {
        name: &name,
        item,
        kind: "Process",
        parameters: &parameters,
        accepts: &options.accepts,
        call: None,
        reply: None,
        cast: None,
    };
    let entry = FunctionEntry {
        function: &function,
        about,
        doc: "starts processes that run the function of this name.",
        methods: Some(become_latest),
        state: tuple_type,
        shape: "ProcessShape",
        boot,
    };
    Ok(entry.expand())
}

fn is_unit_or_never(ty: &syn::Type) -> bool {
    match ty {
        syn::Type::Never(_) => true,
        syn::Type::Tuple(tuple) => tuple.elems.is_empty(),
        _ => false,
    }
}

//! `#[neurath::server]`

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, FnArg, Ident, ImplItem, ImplItemFn, ImplItemType, ItemImpl, Pat, Result, Type};

use crate::entry::{About, Options, Parameters, check_signature, describe_function, entry_exports, spawn_functions};

/// What the block says, sorted.
#[derive(Default)]
struct Parts {
    call: Option<ImplItemType>,
    reply: Option<ImplItemType>,
    cast: Option<ImplItemType>,
    init: Option<ImplItemFn>,
    call_fn: Option<ImplItemFn>,
    cast_fn: Option<ImplItemFn>,
    idle: Option<ImplItemFn>,
    timeout: Option<ImplItemFn>,
    unhandled: Option<ImplItemFn>,
    handlers: Vec<(ImplItemFn, Type)>,
}

/// The notices that come whether they are accepted or not.
const NOTICES: [&str; 2] = ["Down", "Exit"];

pub(crate) fn expand(options: Options, block: ItemImpl) -> Result<TokenStream> {
    let server = server_type(&block)?;
    let name = match &options.name {
        Some(name) => name.value(),
        None => snake_case(&server.to_string()),
    };
    if let Some(accepts) = options.accepts.first() {
        return Err(Error::new(accepts.span(), "a server's methods say what it accepts"));
    }
    let trait_path = block.trait_.as_ref().map(|(_, path, _)| path);
    let attributes = &block.attrs;
    let parts = sort(&block)?;
    let Some(init) = &parts.init else {
        return Err(Error::new(server.span(), "a server needs `fn init(…) -> Self`, which makes its first state"));
    };
    if let Some(FnArg::Receiver(this)) = init.sig.inputs.first() {
        return Err(Error::new(this.span(), "`init` makes the server, so it has no `self`"));
    }
    check_signature(&init.sig, "server's `init`")?;
    let parameters = Parameters::of(&init.sig)?;

    let (call_type, reply_type, cast_type) = message_types(&parts, &server)?;
    let (call_fn, answer_fn) = call_functions(&parts, &call_type, &reply_type)?;
    let cast_fn = item_or(
        &parts.cast_fn,
        quote! {
            async fn cast(&mut self, cast: ::neurath::Never) {
                match cast {}
            }
        },
    );

    let mut tags = Vec::new();
    let mut arms = Vec::new();
    if parts.call.is_some() {
        let at = tags.len() as u32;
        tags.push(quote_spanned!(call_type.span()=> ::neurath::__private::TypeTag::of::<#call_type>()));
        arms.push(quote! {
            #at => {
                let reply = ::neurath::__private::reply_to::<#reply_type>();
                let call: #call_type = ::neurath::__private::decode(&arrived);
                ::neurath::Server::call(self, call, reply).await;
            }
        });
    }
    if parts.cast.is_some() {
        let at = tags.len() as u32;
        tags.push(quote_spanned!(cast_type.span()=> ::neurath::__private::TypeTag::of::<#cast_type>()));
        arms.push(quote! {
            #at => {
                let cast: #cast_type = ::neurath::__private::decode(&arrived);
                ::neurath::Server::cast(self, cast).await;
            }
        });
    }
    for (handler, message) in &parts.handlers {
        let at = tags.len() as u32;
        let method = &handler.sig.ident;
        tags.push(quote_spanned!(message.span()=> ::neurath::__private::TypeTag::of::<#message>()));
        arms.push(quote! {
            #at => {
                let message: #message = ::neurath::__private::decode(&arrived);
                self.#method(message).await;
            }
        });
    }
    let priority = priority_of(&options, &parts)?;
    let first_tags = options.priority.iter().map(|ty| quote!(::neurath::__private::TypeTag::of::<#ty>()));
    let unhandled = match (&options.unhandled, &parts.unhandled) {
        (Some(policy), Some(_)) => {
            return Err(Error::new(policy.span(), "the method `unhandled` says already what becomes of them"));
        }
        (None, Some(_)) => quote!(self.unhandled(message).await),
        (Some(policy), None) if policy == "drop" => quote!(::core::mem::drop(message)),
        (Some(policy), None) if policy == "exit" => quote!(::neurath::exit(message)),
        (_, None) => quote!(::neurath::__private::log_unhandled(message)),
    };
    for notice in NOTICES.into_iter().filter(|notice| !parts.handles(notice)) {
        let (at, ty) = (tags.len() as u32, Ident::new(notice, server.span()));
        tags.push(quote!(::neurath::__private::TypeTag::of::<::neurath::#ty>()));
        arms.push(quote! {
            #at => {
                let message = ::neurath::__private::unhandled(#notice);
                #unhandled;
            }
        });
    }
    let idle = match (&parts.idle, &parts.timeout) {
        (Some(_), Some(_)) => Some(quote! {
            fn idle_time(&self) -> ::core::option::Option<::core::time::Duration> {
                ::core::option::Option::Some(self.idle())
            }

            async fn idle_over(&mut self) {
                self.timeout().await;
            }
        }),
        (Some(idle), None) => {
            return Err(Error::new(idle.sig.ident.span(), "what happens then? Write `async fn timeout(&mut self)`"));
        }
        (None, Some(timeout)) => {
            let why = "after which time? Write `fn idle(&self) -> Duration`";
            return Err(Error::new(timeout.sig.ident.span(), why));
        }
        (None, None) => None,
    };
    let own = [&parts.idle, &parts.timeout, &parts.unhandled].into_iter().flatten();
    let accepts: Vec<Type> = parts.handlers.iter().map(|(_, message)| message.clone()).collect();
    let describe = describe_function(&About {
        name: &name,
        item: &server,
        kind: "Server",
        parameters: &parameters,
        accepts: &accepts,
        call: parts.call.is_some().then(|| quote!(#call_type)),
        reply: parts.call.is_some().then(|| quote!(#reply_type)),
        cast: parts.cast.is_some().then(|| quote!(#cast_type)),
    });
    let (tuple_type, tuple, names) = (parameters.tuple_type(), parameters.tuple(), &parameters.names);
    let spawns = spawn_functions(&parameters, &name, &quote!(pub));
    let exports = entry_exports(&name, &quote!(#server));
    let handlers = parts.handlers.iter().map(|(handler, _)| handler);
    let wait = init.sig.asyncness.is_some().then(|| quote!(.await));
    let init_span = init.sig.output.span();
    let outcome = quote_spanned!(init_span=> ::neurath::__private::InitOutcome::<Self>::server(made));
    Ok(quote! {
        #(#attributes)*
        impl #trait_path for #server {
            type Call = #call_type;
            type Reply = #reply_type;
            type Cast = #cast_type;

            #call_fn

            #cast_fn
        }

        #[allow(dead_code)]
        impl #server {
            #init

            #answer_fn

            #(#own)*

            #(#handlers)*

            #spawns
        }

        impl ::neurath::Entry for #server {
            const NAME: &'static str = #name;
            type Arguments = #tuple_type;
            type State = #server;
            type Shape = ::neurath::__private::ServerShape;

            fn boot(
                bytes: &[u8],
                mode: ::neurath::__private::StartMode,
            ) -> ::core::result::Result<::neurath::__private::Root, ::neurath::__private::DecodeError> {
                if let ::neurath::__private::StartMode::Resume = mode {
                    let server: #server = ::neurath::__private::decode_all(bytes)?;
                    return ::core::result::Result::Ok(::neurath::__private::Box::pin(
                        ::neurath::__private::serve(server),
                    ));
                }
                let (arguments, starter) = ::neurath::__private::decode_start::<#tuple_type>(bytes)?;
                ::core::result::Result::Ok(::neurath::__private::Box::pin(async move {
                    ::neurath::__private::set_starter(starter);
                    let #tuple = arguments;
                    let made = #server::init(#(#names),*)#wait;
                    let server: #server = #outcome;
                    ::neurath::supervisor::started();
                    ::neurath::__private::serve(server).await
                }))
            }

            #describe
        }

        impl ::neurath::__private::Dispatch for #server {
            const TAGS: &'static [::neurath::__private::TypeTag] = &[#(#tags),*];
            const FIRST_TAGS: &'static [::neurath::__private::TypeTag] = &[#(#first_tags),*];
            const FIRST: &'static [u32] = &[#(#priority),*];

            #idle

            async fn dispatch(&mut self, arrived: ::neurath::__private::Arrived) {
                match arrived.index {
                    #(#arms)*
                    _ => {}
                }
            }
        }

        #exports
    })
}

/// The name of the type, if it is one that can be a server.
fn server_type(block: &ItemImpl) -> Result<Ident> {
    if let Some(generic) = block.generics.params.first() {
        return Err(Error::new(
            generic.span(),
            "a server cannot be generic: the host starts it by name, with types that are known",
        ));
    }
    let Some((_, path, _)) = &block.trait_ else {
        return Err(Error::new(block.impl_token.span(), "expected `impl Server for …`"));
    };
    if path.segments.last().is_none_or(|last| last.ident != "Server") {
        return Err(Error::new(path.span(), "expected `impl Server for …`"));
    }
    match &*block.self_ty {
        Type::Path(path) => match path.path.get_ident() {
            Some(name) => Ok(name.clone()),
            None => Err(Error::new(path.span(), "write the block where the type is declared, with its plain name")),
        },
        other => Err(Error::new(other.span(), "a server is a struct or an enum of your own")),
    }
}

fn sort(block: &ItemImpl) -> Result<Parts> {
    let mut parts = Parts::default();
    for item in &block.items {
        match item {
            ImplItem::Type(ty) if ty.ident == "Call" => parts.call = Some(ty.clone()),
            ImplItem::Type(ty) if ty.ident == "Reply" => parts.reply = Some(ty.clone()),
            ImplItem::Type(ty) if ty.ident == "Cast" => parts.cast = Some(ty.clone()),
            ImplItem::Fn(function) if function.sig.ident == "init" => parts.init = Some(function.clone()),
            ImplItem::Fn(function) if function.sig.ident == "call" => parts.call_fn = Some(function.clone()),
            ImplItem::Fn(function) if function.sig.ident == "cast" => parts.cast_fn = Some(function.clone()),
            ImplItem::Fn(function) if function.sig.ident == "idle" && function.sig.inputs.len() == 1 => {
                parts.idle = Some(function.clone());
            }
            ImplItem::Fn(function) if function.sig.ident == "timeout" && function.sig.inputs.len() == 1 => {
                parts.timeout = Some(function.clone());
            }
            ImplItem::Fn(function) if function.sig.ident == "unhandled" => parts.unhandled = Some(function.clone()),
            ImplItem::Fn(function) => {
                let message = handled(function)?;
                parts.handlers.push((function.clone(), message));
            }
            other => {
                return Err(Error::new(
                    other.span(),
                    "expected `type Call`, `type Reply`, `type Cast`, `fn init`, `fn idle` or a handler; put the rest into an `impl` of its own",
                ));
            }
        }
    }
    Ok(parts)
}

/// The message that `async fn NAME(&mut self, message: T)` handles.
fn handled(function: &ImplItemFn) -> Result<Type> {
    let signature = &function.sig;
    check_signature(signature, "handler")?;
    let mut inputs = signature.inputs.iter();
    let message = match (inputs.next(), inputs.next(), inputs.next()) {
        (Some(FnArg::Receiver(_)), Some(FnArg::Typed(message)), None) if signature.asyncness.is_some() => message,
        _ => {
            return Err(Error::new(
                signature.ident.span(),
                "a further method of a server handles one more type of message: `async fn NAME(&mut self, message: T)`; \
                 put anything else into an `impl` of its own",
            ));
        }
    };
    if let Pat::Ident(pattern) = &*message.pat
        && let Some(by_ref) = pattern.by_ref
    {
        return Err(Error::new(by_ref.span(), "a handler owns its message"));
    }
    Ok((*message.ty).clone())
}

/// The three message types; what is left out is `Never`, and only together with its method.
fn message_types(parts: &Parts, server: &Ident) -> Result<(TokenStream, TokenStream, TokenStream)> {
    let pair = |ty: &Option<ImplItemType>, function: &Option<ImplItemFn>, type_name: &str, method: &str| match (
        ty, function,
    ) {
        (Some(ty), None) => Err(Error::new(ty.span(), format!("`{server}` needs `async fn {method}` for this type"))),
        (None, Some(function)) => {
            Err(Error::new(function.sig.ident.span(), format!("say what it takes: `type {type_name} = …;`")))
        }
        (Some(ty), Some(_)) => {
            let ty = &ty.ty;
            Ok(quote!(#ty))
        }
        (None, None) => Ok(quote!(::neurath::Never)),
    };
    let call = pair(&parts.call, &parts.call_fn, "Call", "call")?;
    let cast = pair(&parts.cast, &parts.cast_fn, "Cast", "cast")?;
    let reply = match (&parts.reply, &parts.call) {
        (Some(reply), Some(_)) => {
            let ty = &reply.ty;
            quote!(#ty)
        }
        (Some(reply), None) => {
            return Err(Error::new(reply.span(), "there is nothing to reply to without `type Call`"));
        }
        (None, Some(call)) => return Err(Error::new(call.span(), "say what `call` answers: `type Reply = …;`")),
        (None, None) => quote!(::neurath::Never),
    };
    Ok((call, reply, cast))
}

impl Parts {
    /// Whether a method takes messages of the type of this name.
    fn handles(&self, name: &str) -> bool {
        self.handlers.iter().any(|(_, ty)| match ty {
            Type::Path(path) => path.path.segments.last().is_some_and(|last| last.ident == name),
            _ => false,
        })
    }
}

/// `call` of the trait, and what it calls if the block's own `call` returns its answer.
fn call_functions(
    parts: &Parts,
    call_type: &TokenStream,
    reply_type: &TokenStream,
) -> Result<(TokenStream, Option<TokenStream>)> {
    let declared = quote!(async fn call(&mut self, call: #call_type, reply: ::neurath::ReplyTo<#reply_type>));
    let Some(function) = &parts.call_fn else {
        return Ok((quote!(#declared { let _ = reply; match call {} }), None));
    };
    let span = function.sig.ident.span();
    match function.sig.inputs.len() {
        3 => Ok((quote!(#function), None)),
        2 if function.sig.asyncness.is_some() => {
            let mut answer = function.clone();
            answer.sig.ident = Ident::new("__answer", span);
            let send = quote_spanned!(function.sig.output.span()=> reply.send(self.__answer(call).await));
            Ok((quote!(#declared { #send; }), Some(quote!(#[doc(hidden)] #answer))))
        }
        _ => Err(Error::new(
            span,
            "expected `async fn call(&mut self, call: Call) -> Reply`, or, to answer later, \
             `async fn call(&mut self, call: Call, reply: ReplyTo<Reply>)`",
        )),
    }
}

/// The places among the tags of the types that go first.
fn priority_of(options: &Options, parts: &Parts) -> Result<Vec<u32>> {
    let taken = [&parts.call, &parts.cast].into_iter().flatten().map(|item| &item.ty);
    let taken: Vec<&Type> = taken.chain(parts.handlers.iter().map(|(_, ty)| ty)).collect();
    let place = |ty: &Type| match taken.iter().position(|taken| *taken == ty) {
        Some(at) => Ok(at as u32),
        None => Err(Error::new(ty.span(), "no method of this server takes this type: write it as it is written there")),
    };
    options.priority.iter().map(place).collect()
}

fn item_or(item: &Option<ImplItemFn>, otherwise: TokenStream) -> TokenStream {
    item.as_ref().map_or(otherwise, |item| quote!(#item))
}

fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    let mut last_was_lower = false;
    let mut letters = name.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter.is_uppercase() {
            let next_is_lower = letters.peek().is_some_and(|next| next.is_lowercase());
            if last_was_lower || (next_is_lower && !snake.is_empty() && !snake.ends_with('_')) {
                snake.push('_');
            }
            snake.extend(letter.to_lowercase());
            last_was_lower = false;
        } else {
            snake.push(letter);
            last_was_lower = letter != '_';
        }
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::snake_case;

    #[test]
    fn a_server_is_named_after_its_type() {
        for (name, snake) in [
            ("Account", "account"),
            ("BenchServer", "bench_server"),
            ("HTTPServer", "http_server"),
            ("V2Peer", "v2_peer"),
        ] {
            assert_eq!(snake_case(name), snake);
        }
    }
}

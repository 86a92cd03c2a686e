//! `receive!`
//!
//! One receive for all the types of the arms. Conditions are looked at without taking: what no arm
//! wants stays where it is in the mailbox. The bodies run after the message has been taken, outside
//! everything the macro adds, so that `break`, `continue`, `return`, `?` and `.await` mean what they say.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{Error, Expr, Pat, Path, Result, Token, Type, token};

pub(crate) struct Receive {
    messages: Vec<MessageArm>,
    futures: Vec<FutureArm>,
    after: Option<(Expr, Expr)>,
}

/// `pattern: Type if guard => body`
struct MessageArm {
    pattern: Pat,
    ty: Type,
    guard: Option<Expr>,
    body: Expr,
    bindings: Vec<Binding>,
}

/// `pattern = future => body`
struct FutureArm {
    pattern: Pat,
    future: Expr,
    body: Expr,
}

struct Binding {
    name: Ident,
    mutability: Option<Token![mut]>,
}

impl Parse for Receive {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut receive = Self { messages: Vec::new(), futures: Vec::new(), after: None };
        while !input.is_empty() {
            if let Some((deadline, _)) = &receive.after {
                return Err(Error::new(deadline.span(), "`after` comes last"));
            }
            if is_after(input) {
                input.parse::<Ident>()?;
                let deadline: Expr = input.parse()?;
                receive.after = Some((deadline, body(input)?));
                continue;
            }
            let pattern = Pat::parse_multi_with_leading_vert(input)?;
            if input.peek(Token![=]) && !input.peek(Token![=>]) {
                input.parse::<Token![=]>()?;
                let future = input.parse()?;
                receive.futures.push(FutureArm { pattern, future, body: body(input)? });
                continue;
            }
            let ty = if input.peek(Token![:]) {
                input.parse::<Token![:]>()?;
                input.parse()?
            } else {
                type_of(&pattern)?
            };
            let guard = if input.peek(Token![if]) {
                input.parse::<Token![if]>()?;
                Some(input.parse()?)
            } else {
                None
            };
            let mut bindings = Vec::new();
            bind(&pattern, &mut bindings)?;
            receive.messages.push(MessageArm { pattern, ty, guard, body: body(input)?, bindings });
        }
        if receive.messages.is_empty() && receive.futures.is_empty() && receive.after.is_none() {
            return Err(input.error("a `receive!` needs an arm: `message: Type => …`"));
        }
        Ok(receive)
    }
}

fn is_after(input: ParseStream<'_>) -> bool {
    let ahead = input.fork();
    let Ok(word) = ahead.parse::<Ident>() else { return false };
    let is_pattern = [
        ahead.peek(Token![:]),
        ahead.peek(Token![=]),
        ahead.peek(Token![=>]),
        ahead.peek(Token![if]),
        ahead.peek(Token![@]),
        ahead.peek(Token![|]),
    ];
    word == "after" && !is_pattern.contains(&true)
}

fn body(input: ParseStream<'_>) -> Result<Expr> {
    input.parse::<Token![=>]>()?;
    let is_block = input.peek(token::Brace);
    let body = if is_block { Expr::Block(input.parse()?) } else { input.parse()? };
    if input.peek(Token![,]) {
        input.parse::<Token![,]>()?;
    } else if !is_block && !input.is_empty() {
        return Err(input.error("expected `,` behind the arm"));
    }
    Ok(body)
}

fn is_capital(name: &Ident) -> bool {
    name.to_string().trim_start_matches("r#").starts_with(char::is_uppercase)
}

/// The type that a pattern names by itself: `Done(…)` is a `Done`, `Tally::Get(…)` a `Tally`.
fn type_of(pattern: &Pat) -> Result<Type> {
    let of_path = |path: &Path| {
        let mut path = path.clone();
        let segments: Vec<_> = path.segments.iter().collect();
        if let [.., owner, _] = segments.as_slice()
            && is_capital(&owner.ident)
        {
            path.segments.pop();
            path.segments.pop_punct();
        }
        Type::Path(syn::TypePath { qself: None, path })
    };
    match pattern {
        Pat::TupleStruct(pattern) => Ok(of_path(&pattern.path)),
        Pat::Struct(pattern) => Ok(of_path(&pattern.path)),
        Pat::Path(pattern) => Ok(of_path(&pattern.path)),
        Pat::Ident(pattern) if is_capital(&pattern.ident) => Ok(of_path(&pattern.ident.clone().into())),
        Pat::Ident(pattern) if pattern.subpat.is_some() => match &pattern.subpat {
            Some((_, inner)) => type_of(inner),
            None => Err(no_type(&pattern.ident)),
        },
        Pat::Paren(pattern) => type_of(&pattern.pat),
        Pat::Or(pattern) => match pattern.cases.first() {
            Some(first) => type_of(first),
            None => Err(no_type(pattern)),
        },
        other => Err(no_type(other)),
    }
}

fn no_type(pattern: &impl ToTokens) -> Error {
    Error::new_spanned(pattern, "say which type of message this is: `pattern: Type => …`")
}

/// Collects the names that a pattern binds.
fn bind(pattern: &Pat, bindings: &mut Vec<Binding>) -> Result<()> {
    match pattern {
        Pat::Ident(pattern) => {
            if let Some(by_ref) = pattern.by_ref {
                return Err(Error::new(by_ref.span(), "the message is yours: leave out `ref`"));
            }
            if !is_capital(&pattern.ident) || pattern.mutability.is_some() || pattern.subpat.is_some() {
                bindings.push(Binding { name: pattern.ident.clone(), mutability: pattern.mutability });
            }
            pattern.subpat.iter().try_for_each(|(_, inner)| bind(inner, bindings))
        }
        Pat::Or(pattern) => pattern.cases.first().map_or(Ok(()), |first| bind(first, bindings)),
        Pat::Paren(pattern) => bind(&pattern.pat, bindings),
        Pat::Reference(pattern) => bind(&pattern.pat, bindings),
        Pat::Slice(pattern) => pattern.elems.iter().try_for_each(|inner| bind(inner, bindings)),
        Pat::Struct(pattern) => pattern.fields.iter().try_for_each(|field| bind(&field.pat, bindings)),
        Pat::Tuple(pattern) => pattern.elems.iter().try_for_each(|inner| bind(inner, bindings)),
        Pat::TupleStruct(pattern) => pattern.elems.iter().try_for_each(|inner| bind(inner, bindings)),
        Pat::Type(pattern) => bind(&pattern.pat, bindings),
        _ => Ok(()),
    }
}

/// Whether a pattern surely fits every value of `ty`; when in doubt it does not.
fn fits_all(pattern: &Pat, ty: &Type) -> bool {
    let is_type = |path: &Path| path.to_token_stream().to_string() == ty.to_token_stream().to_string();
    let fits_any = |pattern: &Pat| match pattern {
        Pat::Wild(_) | Pat::Rest(_) => true,
        Pat::Ident(pattern) => !is_capital(&pattern.ident) && pattern.subpat.is_none(),
        _ => false,
    };
    match pattern {
        Pat::TupleStruct(pattern) => is_type(&pattern.path) && pattern.elems.iter().all(fits_any),
        Pat::Struct(pattern) => is_type(&pattern.path) && pattern.fields.iter().all(|field| fits_any(&field.pat)),
        Pat::Tuple(pattern) => matches!(ty, Type::Tuple(_)) && pattern.elems.iter().all(fits_any),
        Pat::Ident(pattern) if is_capital(&pattern.ident) => is_type(&pattern.ident.clone().into()),
        other => fits_any(other),
    }
}

pub(crate) fn expand(input: &Receive) -> TokenStream {
    let local = |name: &str| Ident::new(name, Span::mixed_site());
    let (receive, context, arrived, found, taken, tags, arm) = (
        local("receive"),
        local("context"),
        local("arrived"),
        local("found"),
        local("taken"),
        local("tags"),
        local("arm"),
    );
    let groups = group(&input.messages);
    let looks = groups.iter().any(|(ty, arms)| {
        !arms.iter().any(|at| {
            let arm = &input.messages[*at];
            arm.guard.is_none() && fits_all(&arm.pattern, ty)
        })
    });

    let parameters: Vec<_> = (0..input.messages.len() + input.futures.len()).map(|at| format_ident!("A{at}")).collect();
    let future_parameters = &parameters[input.messages.len()..];
    let tag_list = groups.iter().map(|(ty, _)| quote_spanned!(ty.span()=> ::neurath::__private::TypeTag::of::<#ty>()));
    let matches = groups.iter().enumerate().map(|(index, (ty, arms))| {
        let index = index as u32;
        let arms = arms.iter().map(|at| {
            let MessageArm { pattern, guard, bindings, .. } = &input.messages[*at];
            let names = bindings.iter().map(|binding| &binding.name);
            let parameter = &parameters[*at];
            let guard = guard.as_ref().map(|guard| quote!(if #guard));
            quote!(#pattern #guard => ::core::option::Option::Some(__Arm::#parameter((#(#names,)*))),)
        });
        quote! {
            #index => match ::neurath::__private::decode::<#ty>(&#arrived) {
                #(#arms)*
                _ => ::core::option::Option::None,
            },
        }
    });
    let looking = looks.then(|| quote!(.looking()));
    let within = input.after.as_ref().map(|(deadline, _)| quote!(.within(#deadline)));
    let after_variant = input.after.as_ref().map(|_| quote!(After,));
    let timed_out = match &input.after {
        Some(_) => quote!(return ::core::task::Poll::Ready(__Arm::After)),
        None => quote!(break),
    };
    let accept = if looks {
        quote!(if #receive.accept(&#arrived) { return ::core::task::Poll::Ready(#arm); })
    } else {
        quote!(return ::core::task::Poll::Ready(#arm);)
    };
    let polls = input.futures.iter().zip(future_parameters).map(|(FutureArm { future, .. }, parameter)| {
        quote! {
            if let ::core::task::Poll::Ready(#arm) =
                ::core::future::Future::poll(::core::pin::Pin::new(&mut #future), #context)
            {
                return ::core::task::Poll::Ready(__Arm::#parameter(#arm));
            }
        }
    });
    // Without messages and a deadline there is nothing to ask the host for.
    let receiving = (!groups.is_empty() || input.after.is_some()).then(|| {
        quote! {
            let mut #taken = #receive.poll(#context, #tags);
            loop {
                match #taken {
                    ::core::task::Poll::Ready(::neurath::__private::Taken::Message(#arrived)) => {
                        #[allow(unused_mut, unreachable_patterns, clippy::match_single_binding)]
                        let #found = match #arrived.index {
                            #(#matches)*
                            _ => ::core::option::Option::None,
                        };
                        match #found {
                            ::core::option::Option::Some(#arm) => { #accept }
                            ::core::option::Option::None => #receive.refuse(&#arrived),
                        }
                        #taken = #receive.poll_on(#context, #tags);
                    }
                    ::core::task::Poll::Ready(_) => #timed_out,
                    ::core::task::Poll::Pending => break,
                }
            }
        }
    });
    let message_bodies =
        input.messages.iter().zip(&parameters).map(|(MessageArm { bindings, body, .. }, parameter)| {
            let names = bindings.iter().map(|Binding { name, mutability }| quote!(#mutability #name));
            quote!(__Arm::#parameter((#(#names,)*)) => #body,)
        });
    let future_bodies = input
        .futures
        .iter()
        .zip(future_parameters)
        .map(|(FutureArm { pattern, body, .. }, parameter)| quote!(__Arm::#parameter(#pattern) => #body,));
    let after_body = input.after.as_ref().map(|(_, body)| quote!(__Arm::After => #body,));
    quote! {
        {
            enum __Arm<#(#parameters),*> {
                #(#parameters(#parameters),)*
                #after_variant
            }
            let #arm = {
                #[allow(unused_mut)]
                let mut #receive = ::neurath::__private::Receive::new()#looking #within;
                let #tags: &[::neurath::__private::TypeTag] = &[#(#tag_list),*];
                ::core::future::poll_fn(
                    #[allow(unused_variables)]
                    |#context: &mut ::core::task::Context<'_>| {
                        #receiving
                        #(#polls)*
                        ::core::task::Poll::Pending
                    },
                )
                .await
            };
            match #arm {
                #(#message_bodies)*
                #(#future_bodies)*
                #after_body
            }
        }
    }
}

/// The arms of each type, by index, in the order in which the types come first.
fn group(arms: &[MessageArm]) -> Vec<(&Type, Vec<usize>)> {
    let mut groups: Vec<(&Type, Vec<usize>)> = Vec::new();
    for (at, arm) in arms.iter().enumerate() {
        match groups.iter_mut().find(|(ty, _)| **ty == arm.ty) {
            Some((_, members)) => members.push(at),
            None => groups.push((&arm.ty, vec![at])),
        }
    }
    groups
}

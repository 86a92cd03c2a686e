//! `#[derive(Message)]` and `#[derive(State)]`: codec and schema of a type.
//!
//! Both implement `neurath_proto::Data`, in the same way, so one of them suffices. The names say what a
//! type is for.
//!
//! Invariant: the order of fields and variants in the source is that of the bytes and of the schema.

use std::collections::HashMap;

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Error, Expr, Fields, Ident, LitStr, Result, Type, parse_quote};

/// The implementation of `Data`, or a `compile_error!` for each thing that is wrong.
pub(crate) fn data(input: TokenStream) -> TokenStream {
    syn::parse2(input).and_then(expand).unwrap_or_else(Error::into_compile_error)
}

fn expand(input: DeriveInput) -> Result<TokenStream> {
    let Options { name, default } = Options::parse(&input.attrs)?;
    if let Some((span, _)) = default {
        return Err(Error::new(span, "a default belongs to a field, not to a type"));
    }
    if let Some(lifetime) = input.generics.lifetimes().next() {
        return Err(Error::new(
            lifetime.span(),
            "a message or state cannot borrow: it outlives its sender. Own the data instead: `String` for `&str`, `Vec<T>` for `&[T]`",
        ));
    }
    let name = name.unwrap_or_else(|| text_of(&input.ident));
    let Body { encode, decode, schema } = match &input.data {
        Data::Struct(data) => structure(&name, &data.fields)?,
        Data::Enum(data) => enumeration(&name, data)?,
        Data::Union(data) => {
            return Err(Error::new(
                data.union_token.span,
                "a union does not say which of its fields it holds, so it cannot be sent or kept. Use an enum",
            ));
        }
    };

    let mut generics = input.generics;
    for parameter in generics.type_params_mut() {
        parameter.bounds.push(parse_quote!(::neurath::__private::proto::Data));
    }
    let ident = &input.ident;
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        #[allow(clippy::all, unused_variables)]
        impl #impl_generics ::neurath::__private::proto::Data for #ident #type_generics #where_clause {
            fn encode(&self, out: &mut ::neurath::__private::Vec<u8>) {
                #encode
            }

            fn decode(
                reader: &mut ::neurath::__private::proto::Reader<'_>,
            ) -> ::core::result::Result<Self, ::neurath::__private::proto::DecodeError> {
                #decode
            }

            fn schema(
                builder: &mut ::neurath::__private::proto::SchemaBuilder,
            ) -> ::neurath::__private::proto::Type {
                #schema
            }
        }
    })
}

/// The bodies of the three functions.
struct Body {
    encode: TokenStream,
    decode: TokenStream,
    schema: TokenStream,
}

fn structure(name: &str, fields: &Fields) -> Result<Body> {
    let Part { pattern, encode, decode, describe } = part(fields)?;
    let schema = match fields {
        Fields::Named(_) => quote!(builder.structure::<Self>(#name, |fields| { #describe })),
        Fields::Unnamed(_) => quote!(builder.tuple_structure::<Self>(#name, |fields| { #describe })),
        Fields::Unit => quote!(builder.unit_structure::<Self>(#name)),
    };
    Ok(Body {
        encode: quote! { let Self #pattern = self; #encode },
        decode: quote!(::core::result::Result::Ok(Self #decode)),
        schema,
    })
}

fn enumeration(name: &str, data: &syn::DataEnum) -> Result<Body> {
    let mut errors = Errors::default();
    let mut names = Names::default();
    let (mut encodes, mut decodes, mut describes) = (Vec::new(), Vec::new(), Vec::new());
    for (index, variant) in data.variants.iter().enumerate() {
        let ident = &variant.ident;
        let parsed = Options::parse(&variant.attrs).and_then(|options| {
            if let Some((span, _)) = options.default {
                return Err(Error::new(span, "a default belongs to a field, not to a variant"));
            }
            let name = options.name.unwrap_or_else(|| text_of(ident));
            names.add(&name, ident.span())?;
            Ok((name, part(&variant.fields)?))
        });
        let Some((name, Part { pattern, encode, decode, describe })) = errors.collect(parsed) else { continue };
        let number = u32::try_from(index).expect("source code has fewer than 2^32 variants");
        let put_number = match u8::try_from(number) {
            Ok(byte @ ..0x80) => quote!(out.push(#byte);),
            _ => quote!(<::core::primitive::u32 as ::neurath::__private::proto::Data>::encode(&#number, out);),
        };
        encodes.push(quote!(Self::#ident #pattern => { #put_number #encode }));
        decodes.push(quote!(#number => ::core::result::Result::Ok(Self::#ident #decode),));
        describes.push(match variant.fields {
            Fields::Named(_) => quote!(variants.structure(#name, |fields| { #describe });),
            Fields::Unnamed(_) => quote!(variants.tuple(#name, |fields| { #describe });),
            Fields::Unit => quote!(variants.unit(#name);),
        });
    }
    errors.finish()?;
    // A reference to an enum without variants still wants an arm: what it points to does not.
    let matched = if encodes.is_empty() { quote!(*self) } else { quote!(self) };
    Ok(Body {
        encode: quote!(match #matched { #(#encodes)* }),
        decode: quote! {
            match <::core::primitive::u32 as ::neurath::__private::proto::Data>::decode(reader)? {
                #(#decodes)*
                other => ::core::result::Result::Err(reader.bad_variant(#name, other)),
            }
        },
        schema: quote!(builder.enumeration::<Self>(#name, |variants| { #(#describes)* })),
    })
}

/// What the fields of a struct or a variant contribute.
struct Part {
    /// Binds each field: `{ x: field_0 }`, `(field_0)` or nothing.
    pattern: TokenStream,
    encode: TokenStream,
    /// Builds the fields, in the form of a literal: `{ x: .. }`, `(..)` or nothing.
    decode: TokenStream,
    describe: TokenStream,
}

fn part(fields: &Fields) -> Result<Part> {
    let mut errors = Errors::default();
    let mut names = Names::default();
    let (mut members, mut bindings, mut types, mut describes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (index, field) in fields.iter().enumerate() {
        let ty = &field.ty;
        let Some(options) = errors.collect(Options::parse(&field.attrs)) else { continue };
        let described = match &field.ident {
            Some(ident) => describe_named(ident, ty, options, &mut names),
            None => describe_element(ty, options, field.span()),
        };
        let Some(described) = errors.collect(described) else { continue };
        members.push(field.ident.clone());
        bindings.push(format_ident!("field_{index}"));
        types.push(ty);
        describes.push(described);
    }
    errors.finish()?;

    let decodes = types.iter().map(|ty| {
        // The field's own span: an error that its type is no `Data` shows where it stands.
        quote_spanned!(ty.span()=> <#ty as ::neurath::__private::proto::Data>::decode(reader)?)
    });
    let (pattern, decode) = match fields {
        Fields::Named(_) => (quote!({ #(#members: #bindings),* }), quote!({ #(#members: #decodes),* })),
        Fields::Unnamed(_) => (quote!(( #(#bindings),* )), quote!(( #(#decodes),* ))),
        Fields::Unit => (quote!(), quote!()),
    };
    Ok(Part {
        pattern,
        encode: quote!(#(::neurath::__private::proto::Data::encode(#bindings, out);)*),
        decode,
        describe: quote!(#(#describes)*),
    })
}

fn describe_named(ident: &Ident, ty: &Type, options: Options, names: &mut Names) -> Result<TokenStream> {
    let name = options.name.unwrap_or_else(|| text_of(ident));
    names.add(&name, ident.span())?;
    let value = match options.default {
        None => return Ok(quote!(fields.field::<#ty>(#name);)),
        Some((span, None)) => quote_spanned!(span=> <#ty as ::core::default::Default>::default()),
        Some((_, Some(value))) => quote!(#value),
    };
    Ok(quote! {
        fields.field_with_default::<#ty>(#name, {
            let value: #ty = #value;
            let mut encoded = ::neurath::__private::Vec::new();
            ::neurath::__private::proto::Data::encode(&value, &mut encoded);
            encoded
        });
    })
}

fn describe_element(ty: &Type, options: Options, span: Span) -> Result<TokenStream> {
    if let Some((span, _)) = options.default {
        return Err(Error::new(
            span,
            "versions match fields by name, so only a field with a name can have a default. Write `{ field: Type }` instead of `(Type)`",
        ));
    }
    if options.name.is_some() {
        return Err(Error::new(span, "this field has no name that could be changed"));
    }
    Ok(quote!(fields.element::<#ty>();))
}

/// What `#[neurath(...)]` says.
#[derive(Default)]
struct Options {
    name: Option<String>,
    default: Option<(Span, Option<Expr>)>,
}

impl Options {
    fn parse(attributes: &[Attribute]) -> Result<Self> {
        let mut options = Self::default();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("neurath")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("name") {
                    let text: LitStr = meta.value()?.parse()?;
                    let name = text.value();
                    if name.is_empty() || name.len() > 256 || name.chars().any(char::is_control) {
                        return Err(Error::new(text.span(), "a name has 1 to 256 bytes and no control characters"));
                    }
                    if options.name.replace(name).is_some() {
                        return Err(meta.error("the name is given twice"));
                    }
                } else if meta.path.is_ident("default") {
                    let value = if meta.input.peek(syn::Token![=]) { Some(meta.value()?.parse()?) } else { None };
                    if options.default.replace((meta.path.span(), value)).is_some() {
                        return Err(meta.error("the default is given twice"));
                    }
                } else {
                    return Err(meta.error(
                        "not known here: `#[neurath(name = \"...\")]` renames a type, field or variant for other versions, \
                         `#[neurath(default)]` and `#[neurath(default = value)]` fill a field that older versions did not have",
                    ));
                }
                Ok(())
            })?;
        }
        Ok(options)
    }
}

/// The identifier as other versions see it: without `r#`.
fn text_of(ident: &Ident) -> String {
    let text = ident.to_string();
    text.strip_prefix("r#").map(str::to_owned).unwrap_or(text)
}

/// Names that must differ from each other.
#[derive(Default)]
struct Names(HashMap<String, Span>);

impl Names {
    fn add(&mut self, name: &str, span: Span) -> Result<()> {
        match self.0.insert(name.to_owned(), span) {
            None => Ok(()),
            Some(first) => {
                let mut error = Error::new(span, format!("`{name}` is taken: versions are matched by name"));
                error.combine(Error::new(first, format!("`{name}` is first used here")));
                Err(error)
            }
        }
    }
}

/// Gathers errors, so that all are shown at once.
#[derive(Default)]
struct Errors(Option<Error>);

impl Errors {
    fn collect<T>(&mut self, result: Result<T>) -> Option<T> {
        match (result, &mut self.0) {
            (Ok(value), _) => return Some(value),
            (Err(error), Some(all)) => all.combine(error),
            (Err(error), none) => *none = Some(error),
        }
        None
    }

    fn finish(self) -> Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_refused(input: TokenStream, expected: &str) {
        let output = data(input).to_string();
        assert!(output.contains("compile_error"), "{output}");
        assert!(output.contains(expected), "{output}");
    }

    #[test]
    fn what_cannot_be_data_is_refused_with_advice() {
        check_refused(
            quote!(
                struct A<'a> {
                    x: &'a str,
                }
            ),
            "Own the data instead",
        );
        check_refused(quote!(union A { x: u32, y: f32 }), "Use an enum");
        check_refused(
            quote!(
                struct A(#[neurath(default)] u32);
            ),
            "only a field with a name",
        );
        check_refused(
            quote!(
                struct A(#[neurath(name = "x")] u32);
            ),
            "no name that could be changed",
        );
        check_refused(
            quote!(
                struct A {
                    #[neurath(skip)]
                    x: u32,
                }
            ),
            "not known here",
        );
        check_refused(
            quote!(
                struct A {
                    #[neurath(default, default = 1)]
                    x: u32,
                }
            ),
            "given twice",
        );
        check_refused(
            quote!(
                struct A {
                    #[neurath(name = "y")]
                    x: u32,
                    y: u32,
                }
            ),
            "`y` is taken",
        );
        check_refused(
            quote!(
                enum A {
                    #[neurath(name = "Y")]
                    X,
                    Y,
                }
            ),
            "`Y` is taken",
        );
        check_refused(
            quote!(
                enum A {
                    #[neurath(default)]
                    X,
                }
            ),
            "belongs to a field",
        );
        check_refused(
            quote!(
                #[neurath(name = "")]
                struct A;
            ),
            "1 to 256 bytes",
        );
    }

    #[test]
    fn all_errors_are_shown_at_once() {
        let output = data(quote!(
            enum A {
                X(#[neurath(default)] u32),
                #[neurath(huh)]
                Y,
            }
        ))
        .to_string();
        assert!(output.contains("only a field with a name") && output.contains("not known here"), "{output}");
    }
}

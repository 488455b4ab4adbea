//! Arguments and results: how one travels, as tokens of the generated functions.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote_spanned};
use syn::punctuated::Punctuated;
use syn::visit_mut::{self, VisitMut};
use syn::{Ident, Lifetime, Token, Type, TypeReference};

use crate::types;

/// A value that travels: an argument, or the result.
pub(crate) struct Value {
    /// The type as it is written.
    pub(crate) ty: Type,
    /// The type behind a reference, if the worker decodes that type and lends it to the function.
    pub(crate) lent: Option<Type>,
}

impl Value {
    /// The type with the lifetime of `Args<'a>` wherever it leaves one out.
    pub(crate) fn with_lifetime(&self) -> Type {
        let mut ty = self.ty.clone();
        Elided.visit_type_mut(&mut ty);
        ty
    }

    /// The bytes of every such value if they are always as many, from the check of `__private` that refuses types without a
    /// codec.
    pub(crate) fn size(&self, private: &TokenStream, is_output: bool) -> TokenStream {
        let subject = self.subject();
        let position = if is_output { "output" } else { "argument" };
        let check = format!("{position}_size{}", types::advice(subject, is_output));
        let held = self.held(private);
        // This argument begins and ends where the user's type does, so that rustc points at just that.
        let (start, end) = ends(subject);
        let check = Ident::new(&check, start);
        let no_arguments = quote_spanned!(end=> ());
        let codec = quote_spanned!(start=> &(&&&#private::Probe::<#held>::new()).__pick #no_arguments);
        quote_spanned!(start=> #private::#check::<#subject>(#codec))
    }

    /// Appends the value that `reference` refers to to `out`, and gives the `Result`.
    pub(crate) fn encode(&self, private: &TokenStream, reference: &Ident) -> TokenStream {
        let subject = self.subject();
        let codec = self.codec(private);
        let subject_reference = if self.lent.is_some() { glue!(*#reference) } else { glue!(#reference) };
        glue!(#private::Encode::<#subject>::encode(&#codec, #subject_reference, out))
    }

    /// Takes the value off `input`, into a variable.
    pub(crate) fn decode(&self, private: &TokenStream, variable: &Ident) -> TokenStream {
        let held = self.held(private);
        let codec = self.codec(private);
        // If the type cannot be decoded from bytes that live no longer than the call, rustc says so at the type.
        let (start, end) = ends(self.subject());
        // In parentheses, since the place of a call is that of its first and last token.
        let decode = quote_spanned!(start=> (#private::Decode::decode));
        let arguments = quote_spanned!(end=> (&#codec, &mut input));
        glue!(let #variable: #held = #decode #arguments?;)
    }

    /// The memory of the value in `variable`, if that is all there is to it.
    pub(crate) fn give_away(&self, private: &TokenStream, variable: &impl ToTokens) -> TokenStream {
        let (subject, codec) = (self.subject(), self.codec(private));
        glue!(#private::Encode::<#subject>::give_away(&#codec, #variable))
    }

    /// The value with `bytes` as its memory.
    pub(crate) fn adopt(&self, private: &TokenStream) -> TokenStream {
        let codec = self.codec(private);
        glue!(#private::Decode::adopt(&#codec, bytes))
    }

    /// Whether the value, which is behind a reference, is an `Err`.
    pub(crate) fn is_err(&self, private: &TokenStream, variable: &Ident) -> TokenStream {
        let ty = &self.ty;
        glue!(#private::Probe::<#ty>::new().__is_err(#variable))
    }

    /// A place for about `items` values, if they need not be looked at.
    pub(crate) fn result_buffer(&self, private: &TokenStream) -> TokenStream {
        let (held, codec) = (self.held(private), self.codec(private));
        glue!(#private::Decode::<'_, #held>::result_buffer(&#codec, items))
    }

    /// Appends all the values in `bytes` to `values`, if that can be done at once; whether it was.
    pub(crate) fn decode_all(&self, private: &TokenStream) -> TokenStream {
        let codec = self.codec(private);
        glue!(#private::Decode::decode_all(&#codec, bytes, values))
    }

    /// The decoded value as an argument of the function.
    pub(crate) fn pass(&self, variable: &Ident) -> TokenStream {
        match &self.lent {
            Some(lent) => glue!(::core::borrow::Borrow::<#lent>::borrow(&#variable)),
            None => variable.to_token_stream(),
        }
    }

    /// The type that travels.
    fn subject(&self) -> &Type {
        self.lent.as_ref().unwrap_or(&self.ty)
    }

    /// The type that is decoded.
    pub(crate) fn held(&self, private: &TokenStream) -> TokenStream {
        match &self.lent {
            Some(lent) => glue!(<#lent as #private::Lent>::Held<'_>),
            None => self.ty.to_token_stream(),
        }
    }

    /// The codec, which method look-up finds by the type.
    fn codec(&self, private: &TokenStream) -> TokenStream {
        let held = self.held(private);
        glue!((&&&#private::Probe::<#held>::new()).__pick())
    }
}

/// The variables of the arguments.
pub(crate) fn variables(arguments: &[(String, Value)]) -> Vec<Ident> {
    (0..arguments.len()).map(|i| format_ident!("arg{i}", span = Span::mixed_site())).collect()
}

/// One argument is itself, several are a tuple.
pub(crate) fn one_or_tuple<T: ToTokens>(items: Punctuated<T, Token![,]>) -> TokenStream {
    if items.len() == 1 { items.into_token_stream() } else { glue!((#items)) }
}

/// The first and the last place of the user's tokens, for tokens of ours: rustc shows its errors about ours there.
pub(crate) fn ends(tokens: impl ToTokens) -> (Span, Span) {
    let mut places = tokens.to_token_stream().into_iter().map(|token| Span::mixed_site().located_at(token.span()));
    let start = places.next().unwrap_or_else(Span::mixed_site);
    (start, places.last().unwrap_or(start))
}

/// Gives elided lifetimes a name.
struct Elided;

impl VisitMut for Elided {
    fn visit_type_reference_mut(&mut self, ty: &mut TypeReference) {
        ty.lifetime.get_or_insert_with(|| Lifetime::new("'_", ty.and_token.span));
        visit_mut::visit_type_reference_mut(self, ty);
    }

    fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
        if lifetime.ident == "_" {
            *lifetime = Lifetime::new("'a", Span::mixed_site().located_at(lifetime.span()));
        }
    }
}

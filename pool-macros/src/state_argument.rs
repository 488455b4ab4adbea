//! Arguments with `#[state]`: values that a task finds in its worker.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident};
use syn::visit::Visit;
use syn::{Attribute, Error, FnArg, Ident, ItemFn, Lifetime, PatType, Type, TypeReference};

use crate::sizes;
use crate::text;

/// An argument that a task finds in its worker.
pub(crate) struct StateArgument {
    /// Its place among all arguments.
    pub(crate) position: usize,
    /// The type of the state.
    ty: Type,
    is_mut: bool,
}

/// Whether this is `#[state]`.
pub(crate) fn is_state(attribute: &Attribute) -> bool {
    attribute.path().is_ident("state")
}

impl StateArgument {
    /// Reads an argument with `#[state]`.
    ///
    /// # Errors
    ///
    /// The way to write it.
    pub(crate) fn parse(argument: &PatType, position: usize) -> Result<Self, Error> {
        let with_options = |attribute: &&Attribute| is_state(attribute) && attribute.meta.require_path_only().is_err();
        if let Some(attribute) = argument.attrs.iter().find(with_options) {
            return Err(Error::new_spanned(&attribute.meta, "write `#[state]`: it has no options"));
        }
        let ty = &argument.ty;
        let Type::Reference(TypeReference { elem, mutability, lifetime, .. }) = &**ty else {
            let text = if sizes::is_unsized(ty) { sizes::owned_twin(ty) } else { text::of(ty) };
            let message = format!("a state stays in its worker: write `&{text}`, or `&mut {text}` to change it");
            return Err(Error::new_spanned(ty, message));
        };
        if sizes::is_unsized(elem) {
            let (owned, name) = (sizes::owned_twin(elem), text::of(elem));
            let message = format!(
                "write `&{owned}` or `&mut {owned}`: a state is a value, and the size of a `{name}` is not known"
            );
            return Err(Error::new_spanned(elem, message));
        }
        let mut named = Named(lifetime.clone().filter(|lifetime| lifetime.ident != "_"));
        named.visit_type(elem);
        if let Some(lifetime) = named.0 {
            let message =
                "a state owns all that it holds, and is lent for the call only: write a type without lifetimes";
            return Err(Error::new_spanned(lifetime, message));
        }
        Ok(StateArgument { position, ty: (**elem).clone(), is_mut: mutability.is_some() })
    }

    /// The type's line in the dispatch table.
    pub(crate) fn entry(&self, private: &TokenStream) -> TokenStream {
        let (ty, name) = (&self.ty, text::of(&self.ty));
        glue!(#private::StateType::of::<#ty>(#name))
    }
}

/// The first lifetime in a type that is not `'static`.
struct Named(Option<Lifetime>);

impl<'ast> Visit<'ast> for Named {
    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        if lifetime.ident != "static" {
            self.0.get_or_insert_with(|| lifetime.clone());
        }
    }

    fn visit_type_reference(&mut self, ty: &'ast TypeReference) {
        let elided = || Lifetime::new("'_", ty.and_token.span);
        self.visit_lifetime(&ty.lifetime.clone().unwrap_or_else(elided));
        self.visit_type(&ty.elem);
    }
}

/// The function without `#[state]` on its arguments, which the compiler does not know; `None` if it has none.
pub(crate) fn without_attributes(item: &TokenStream) -> Option<TokenStream> {
    let mut function: ItemFn = syn::parse2(item.clone()).ok()?;
    let mut has_some = false;
    for input in &mut function.sig.inputs {
        if let FnArg::Typed(argument) = input {
            let before = argument.attrs.len();
            argument.attrs.retain(|attribute| !is_state(attribute));
            has_some |= argument.attrs.len() < before;
        }
    }
    // A state is lent as it is: a `&Vec<T>` cannot be a slice, though clippy would like that better.
    function.attrs.push(syn::parse_quote!(#[allow(clippy::ptr_arg)]));
    has_some.then(|| function.into_token_stream())
}

/// The call of a task's function with its ordinary arguments and its states.
pub(crate) fn call(
    name: &Ident,
    passed: impl Iterator<Item = TokenStream>,
    states: &[StateArgument],
    private: &TokenStream,
) -> TokenStream {
    let variable = |i: usize| format_ident!("state{i}", span = Span::mixed_site());
    let mut all: Vec<_> = passed.collect();
    for (i, state) in states.iter().enumerate() {
        all.insert(state.position, variable(i).into_token_stream());
    }
    let call = glue!(#name(#(#all),*));
    // One closure within the other, so that each state is taken out of the worker for just this call.
    states.iter().enumerate().rev().fold(call, |call, (i, state)| {
        let (variable, ty) = (variable(i), &state.ty);
        let with = Ident::new(if state.is_mut { "with_state_mut" } else { "with_state" }, Span::mixed_site());
        glue!(#private::#with::<#ty, _>(|#variable| #call))
    })
}

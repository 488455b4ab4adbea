//! Where a function stands, as far as that can be known.
//!
//! A macro gets the function without its surroundings, so the source file is looked at. This serves a better error message
//! and nothing else: if the place cannot be found out, the function counts as a free one.

use std::fs;

use proc_macro2::Span;
use quote::ToTokens;
use syn::visit::{self, Visit};
use syn::{Block, ImplItemFn, ItemFn, Signature, TraitItemFn};

/// Whether the function stands in an `impl` block or a trait.
pub(crate) fn is_in_impl_or_trait(function: &ItemFn) -> bool {
    // At the start of its line nothing is around it.
    let attribute = Span::call_site().unwrap();
    if attribute.column() == 1 {
        return false;
    }
    let source = attribute.local_file().and_then(|path| fs::read_to_string(path).ok());
    let Some(file) = source.and_then(|source| syn::parse_file(&source).ok()) else { return false };
    let mut places = Places { wanted: text(&function.sig, &function.block), is_associated: false, is_free: false };
    places.visit_file(&file);
    places.is_associated && !places.is_free
}

/// A function without spaces, which depend on where its tokens come from.
fn text(signature: &Signature, body: &Block) -> String {
    let tokens = [signature.to_token_stream(), body.to_token_stream()].map(|tokens| tokens.to_string());
    tokens.concat().split_whitespace().collect()
}

/// Where functions of the same text stand.
struct Places {
    wanted: String,
    is_associated: bool,
    is_free: bool,
}

impl<'ast> Visit<'ast> for Places {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.is_free |= text(&function.sig, &function.block) == self.wanted;
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.is_associated |= text(&function.sig, &function.block) == self.wanted;
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        let body = function.default.as_ref();
        self.is_associated |= body.is_some_and(|body| text(&function.sig, body) == self.wanted);
        visit::visit_trait_item_fn(self, function);
    }
}

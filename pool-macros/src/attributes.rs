//! The attributes of the function: those that its task must have, too, and those that no task can have.

use proc_macro2::TokenStream;
use quote::quote;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Attribute, Expr, ExprLit, Ident, Lit, Meta, Token};

use crate::errors::Errors;

/// The attributes of the function that go where the function goes.
pub(crate) struct Attributes {
    /// `#[cfg]`.
    conditions: Vec<TokenStream>,
    /// `#[allow]`, `#[warn]`, `#[deny]` and `#[forbid]`, in their order, since the last one of a lint counts.
    lints: Vec<TokenStream>,
    /// `#[deprecated]` and `#[doc(hidden)]`.
    marks: Vec<TokenStream>,
    is_deprecated: bool,
    /// The first paragraph of the documentation.
    pub(crate) summary: Option<String>,
}

impl Attributes {
    /// Sorts the attributes.
    pub(crate) fn new(attributes: &[Attribute]) -> Self {
        let summary = summary(attributes);
        let mut sorted =
            Attributes { conditions: Vec::new(), lints: Vec::new(), marks: Vec::new(), is_deprecated: false, summary };
        for attribute in attributes {
            match &attribute.meta {
                // Behind `#[pool_task]` the compiler has not expanded it yet.
                Meta::List(list) if list.path.is_ident("cfg_attr") => {
                    let Ok(parts) = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated) else {
                        continue;
                    };
                    let mut parts = parts.iter();
                    let Some(condition) = parts.next() else { continue };
                    parts.for_each(|meta| sorted.add(meta, Some(condition)));
                }
                meta => sorted.add(meta, None),
            }
        }
        sorted
    }

    fn add(&mut self, meta: &Meta, condition: Option<&Meta>) {
        let Some(name) = meta.path().get_ident().map(Ident::to_string) else { return };
        let mut meta = meta.clone();
        let kind = match name.as_str() {
            "cfg" => &mut self.conditions,
            "allow" | "warn" | "deny" | "forbid" => &mut self.lints,
            "expect" => {
                // The function itself fulfils the expectation; in a copy it might stay unfulfilled.
                if let Meta::List(list) = &mut meta {
                    list.path = Ident::new("allow", list.path.span()).into();
                }
                &mut self.lints
            }
            "deprecated" => {
                self.is_deprecated = true;
                &mut self.marks
            }
            "doc" if matches!(&meta, Meta::List(list) if list.tokens.to_string() == "hidden") => &mut self.marks,
            _ => return,
        };
        kind.push(match condition {
            Some(condition) => quote!(#[cfg_attr(#condition, #meta)]),
            None => quote!(#[#meta]),
        });
    }

    /// For the module beside the function.
    pub(crate) fn of_module(&self) -> TokenStream {
        let Attributes { conditions, lints, marks, .. } = self;
        quote!(#(#conditions)* #(#lints)* #(#marks)*)
    }

    /// For the implementation, which calls the function.
    pub(crate) fn of_implementation(&self) -> TokenStream {
        let Attributes { conditions, lints, .. } = self;
        // The task itself is deprecated, so its users are warned, and not its own call of the function.
        let allow = self.is_deprecated.then(|| quote!(#[allow(deprecated)]));
        quote!(#(#conditions)* #allow #(#lints)*)
    }
}

/// Refuses attributes that no task can have.
pub(crate) fn check(attributes: &[Attribute], errors: &mut Errors) {
    let (this, noun) = (errors.kind.attribute(), errors.kind.noun());
    for attribute in attributes {
        let Some(name) = attribute.path().segments.last() else { continue };
        let message = match name.ident.to_string().as_str() {
            name if name == this => format!("`#[{this}]` is given twice"),
            "pool_task" | "pool_state" => "a function is a task or opens a state: write one for each".to_owned(),
            "test" | "bench" => {
                format!("a test cannot be a {noun}: write a function of its own and call it from the test")
            }
            "target_feature" => format!(
                "a function with `#[target_feature]` cannot be a {noun}, since a CPU without the feature must not run it: \
                 write a {noun} that asks `is_x86_feature_detected!` and then calls it"
            ),
            _ => continue,
        };
        errors.push(attribute, message);
    }
}

/// The first paragraph of the documentation, for another place; without links, which might not resolve there.
fn summary(attributes: &[Attribute]) -> Option<String> {
    let mut text = String::new();
    for attribute in attributes {
        let Meta::NameValue(meta) = &attribute.meta else { continue };
        if let (true, Expr::Lit(ExprLit { lit: Lit::Str(line), .. })) = (meta.path.is_ident("doc"), &meta.value) {
            text.push_str(&line.value());
            text.push('\n');
        }
    }
    let lines = text.trim().lines().map(str::trim).take_while(|line| !line.is_empty());
    let summary = lines.collect::<Vec<_>>().join("\n");
    let plain = !summary.is_empty() && !summary.contains(['[', '#']) && !summary.contains("```");
    plain.then_some(summary)
}

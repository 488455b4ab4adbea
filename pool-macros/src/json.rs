//! The functions by which a task is called with JSON, if pool-core has the feature `json`.

use proc_macro2::TokenStream;
use quote::quote_spanned;
use syn::punctuated::Punctuated;
use syn::{Ident, Token};

use crate::item::Function;
use crate::value::{Value, ends, one_or_tuple, variables};

/// The constructor of the task's entry, and its arguments behind the description; `run` is the loop over items.
pub(crate) fn entry(name: &Ident, run: TokenStream, private: &TokenStream) -> (TokenStream, TokenStream) {
    if cfg!(feature = "json") {
        (glue!(with_json), glue!(#run, #private::JsonForm::of::<#name::Task>()))
    } else {
        (glue!(new), run)
    }
}

/// The implementation of the functions.
pub(crate) fn implementation(function: &Function, krate: &TokenStream, private: &TokenStream) -> Option<TokenStream> {
    if !cfg!(feature = "json") {
        return None;
    }
    let Function { name, arguments, output, .. } = function;
    let variables = variables(arguments);
    let each = || arguments.iter().zip(&variables);
    let read = each().map(|((name, value), variable)| read(value, variable, name, private));
    let passed: Punctuated<_, Token![,]> = each().map(|((_, value), variable)| value.pass(variable)).collect();
    let (args, output) = (one_or_tuple(passed), &output.ty);
    Some(glue! {
        use #private::{AnswerNone as _, AnswerResult as _, AnswerText as _, AnswerValue as _, PickJson as _, PickNoJson as _};

        #[automatically_derived]
        impl #private::JsonTask for #name::Task {
            fn encode_json(
                json: &#private::Json,
                out: &mut #private::Encoder<'_>,
            ) -> ::core::result::Result<(), #private::CodecError> {
                let [#(#variables),*] = #private::arguments(json)?;
                #(#read)*
                <#name::Task as #krate::Task>::encode_args(&#args, out)
            }

            fn answer(output: &#output) -> #private::Answer {
                (&&&#private::Probe::<#output>::new()).__answer(output)
            }
        }
    })
}

/// Reads an argument of the JSON in the variable of its name, in place of that.
fn read(value: &Value, variable: &Ident, name: &str, private: &TokenStream) -> TokenStream {
    let held = value.held(private);
    // As for `Value::decode`: errors about the lifetime are at the type.
    let (start, end) = ends(&value.ty);
    let read = quote_spanned!(start=> (#private::FromJson::read));
    let passed = quote_spanned!(end=> (&reader, #variable, #name));
    glue! {
        let reader = (&#private::Probe::<#held>::new()).__pick_json();
        let #variable: #held = #read #passed?;
    }
}

//! What stands beside a function that opens a state.

use proc_macro2::{Span, TokenStream};
use syn::{GenericArgument, Ident, PathArguments, Type};

use crate::args::Args;
use crate::expand::{self, Arguments};
use crate::item::Function;

/// The items beside a function that opens a state.
pub(crate) fn expand(function: &Function, args: &Args) -> TokenStream {
    let Function { name, arguments, output, .. } = function;
    let krate = &args.krate;
    let private = glue!(#krate::__private);
    let picker = args.codec.picker();
    let args_type = expand::args_type(arguments, &private);
    let entry =
        expand::entry(function, args, &private, &glue!(of_state), &glue!(#private::open_state::<#name::State>), None);
    let Arguments { decoded, passed, functions, .. } = Arguments::new(arguments, &private);
    let (value, is_result) = opened(&output.ty);
    let value = expand::returned(value, &private);
    let opened = glue!(#name(#(#passed),*));
    let opened = if is_result {
        glue!(#opened.map_err(|error| #private::with_sources(&error)))
    } else {
        glue!(::core::result::Result::Ok(#opened))
    };
    let implementation = glue! {
        use #private::{PickBlob as _, PickNone as _, PickPlain as _, #picker as _};

        #[automatically_derived]
        impl #krate::State for #name::State {
            #args_type
            type Value = #value;

            #[inline]
            fn entry() -> &'static #private::Entry {
                #entry
                &ENTRY
            }

            #functions

            fn open<'bytes_of_one_call>(
                mut input: #private::Decoder<'bytes_of_one_call>,
            ) -> ::core::result::Result<
                ::core::result::Result<Self::Value, ::std::string::String>,
                #private::CodecError,
            > {
                #(#decoded)*
                #private::Decoder::finish(input)?;
                ::core::result::Result::Ok(#opened)
            }
        }
    };
    expand::beside(function, &implementation, &Ident::new("State", Span::call_site()))
}

/// The type of the state that a function opens, and whether it gives a `Result` of it: its type is named so, whatever alias
/// it is.
fn opened(output: &Type) -> (&Type, bool) {
    let Type::Path(path) = output else { return (output, false) };
    let Some(last) = path.path.segments.last().filter(|last| last.ident == "Result") else { return (output, false) };
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return (output, false) };
    let mut types = arguments.args.iter().filter_map(|arg| match arg {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    });
    types.next().map_or((output, false), |value| (value, true))
}

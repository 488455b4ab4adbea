//! The code beside the function: the module with its `Task`, and the implementation that the pool runs.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::punctuated::Punctuated;
use syn::{Ident, Token, Type, Visibility};

use crate::args::Args;
use crate::item::{Function, Part};
use crate::json;
use crate::state_argument;
use crate::text;
use crate::types;
use crate::value::{self, Value, one_or_tuple, variables};

/// The items beside the function.
pub(crate) fn expand(function: &Function, args: &Args) -> TokenStream {
    let implementation = match &function.part {
        None => implementation(function, args),
        Some(part) => chunk_implementation(function, part, args),
    };
    beside(function, &implementation, &Ident::new("Task", Span::call_site()))
}

/// The module with the type of this name in it, and the implementation of its trait.
pub(crate) fn beside(function: &Function, implementation: &TokenStream, type_name: &Ident) -> TokenStream {
    let module = module(function, type_name);
    let attributes = function.attributes.of_implementation();
    quote! {
        #module

        #attributes
        const _: () = {
            #implementation
        };
    }
}

/// The module. It holds nothing but the task, since types of arguments may be private to where the function is.
fn module(function: &Function, type_name: &Ident) -> TokenStream {
    let Function { vis, name, attributes, .. } = function;
    let plain_name = name.unraw();
    let opens_state = type_name == "State";
    let noun = if opens_state { "state" } else { "task" };
    let module_doc = format!("The {noun} of [`{plain_name}`](fn@{plain_name}).");
    let signature = format!("{plain_name}({}) -> {}", function.arguments_text(), text::of(&function.output.ty));
    let task_doc = match opens_state {
        true => format!("`{signature}`, by which each worker of a pool opens a state."),
        false => format!("`{signature}`, to be run by the workers of a pool."),
    };
    let task_vis = one_module_deeper(vis);
    let items = function.part.as_ref().map(|_| {
        quote! {
            #[doc(hidden)]
            #[derive(::core::clone::Clone, ::core::marker::Copy, ::core::fmt::Debug)]
            #task_vis struct Items;
        }
    });
    let summary = attributes.summary.as_ref().map(|summary| quote!(#[doc = ""] #[doc = #summary]));
    // If there is another module of this name, the error is at the name.
    let (place, _) = value::ends(name);
    let keyword = Token![mod](place);
    let attributes = attributes.of_module();
    quote! {
        #[doc = #module_doc]
        #attributes
        #vis #keyword #name {
            #[doc = #task_doc]
            #summary
            #[derive(::core::clone::Clone, ::core::marker::Copy, ::core::fmt::Debug)]
            #task_vis struct #type_name;
            #items
        }
    }
}

/// The function's visibility, as it reads inside of a module beside the function.
fn one_module_deeper(vis: &Visibility) -> TokenStream {
    let Visibility::Restricted(restricted) = vis else {
        return if matches!(vis, Visibility::Public(_)) { quote!(pub) } else { quote!(pub(super)) };
    };
    let path = &restricted.path;
    match path.segments.first() {
        Some(first) if first.ident == "self" => quote!(pub(super)),
        Some(first) if first.ident == "super" => quote!(pub(in super::#path)),
        _ => quote!(pub(in #path)),
    }
}

fn implementation(function: &Function, args: &Args) -> TokenStream {
    let Function { name, arguments, output, .. } = function;
    let krate = &args.krate;
    let private = glue!(#krate::__private);
    let pickers = args.codec.pickers(&output.ty);
    let args_type = args_type(arguments, &private);
    let (constructor, run) = json::entry(name, glue!(#private::run_chunk::<#name::Task>), &private);
    let (codec, names) = (args.codec.name(), function.parameters());
    let form = cfg!(feature = "remote").then(|| glue!(.with_form(#private::Form::of::<#name::Task>(#codec, #names))));
    let entry = entry(function, args, &private, &constructor, &run, form.as_ref());
    let args_functions = args_functions(function, &private);
    let output_functions = output_functions(output, &private);
    let json = json::implementation(function, &glue!(#krate), &private);
    let output = returned(&output.ty, &private);
    glue! {
        use #private::{NeverErr as _, PickBlob as _, PickNone as _, PickPlain as _, #(#pickers as _),*};

        #json

        #[automatically_derived]
        impl #krate::Task for #name::Task {
            #args_type
            type Output = #output;

            #[inline]
            fn entry() -> &'static #private::Entry {
                #entry
                &ENTRY
            }

            #args_functions
            #output_functions
        }
    }
}

/// Two tasks: the one that the user has, which is written for parts of arrays, and one whose items are these parts.
fn chunk_implementation(function: &Function, part: &Part, args: &Args) -> TokenStream {
    let Function { name, arguments, output, .. } = function;
    let krate = &args.krate;
    let private = glue!(#krate::__private);
    let element = element(&part.element, &private);
    let pickers = args.codec.pickers(&output.ty);
    let args_type = args_type(arguments, &private);
    let entry = entry(function, args, &private, &glue!(new), &glue!(#private::run_chunk::<#name::Items>), None);
    let encode_args = encode_args(arguments, &private);
    let output_functions = output_functions(output, &private);
    let variables = variables(arguments);
    let each = || arguments.iter().map(|(_, value)| value).zip(&variables);
    let sizes = each().map(|(value, _)| value.size(&private, false));
    let decoded = each().map(|(value, variable)| value.decode(&private, variable));
    let part = [glue!(#private::Part::elements(&mut part)), glue!(offset)].into_iter();
    let passed = part.chain(each().map(|(value, variable)| value.pass(variable)));
    let call = state_argument::call(name, passed, &function.states, &private);
    let output = returned(&output.ty, &private);
    glue! {
        use #private::{NeverErr as _, PickBlob as _, PickNone as _, PickPlain as _, #(#pickers as _),*};

        #[automatically_derived]
        impl #krate::ChunkTask for #name::Task {
            type Elem = #element;
            #args_type
            type Output = #output;
            type Items = #name::Items;

            #encode_args
        }

        #[automatically_derived]
        impl #krate::Task for #name::Items {
            type Args<'a> = #private::ChunkItem<'a, #element>;
            type Output = #output;

            #[inline]
            fn entry() -> &'static #private::Entry {
                #entry
                &ENTRY
            }

            fn args_size() -> ::core::option::Option<::core::primitive::usize> {
                let _ = #private::total([#(#sizes),*]);
                ::core::option::Option::None
            }

            fn encode_args(
                args: &Self::Args<'_>,
                out: &mut #private::Encoder<'_>,
            ) -> ::core::result::Result<(), #private::CodecError> {
                #private::ChunkItem::encode(args, out)
            }

            fn args_into_bytes(
                args: Self::Args<'_>,
            ) -> ::core::result::Result<#private::Vec<::core::primitive::u8>, Self::Args<'_>> {
                ::core::result::Result::Err(args)
            }

            fn invoke_raw(
                bytes: #private::Vec<::core::primitive::u8>,
            ) -> ::core::result::Result<Self::Output, #private::CodecError> {
                #private::not_raw(bytes)
            }

            fn invoke<'bytes_of_one_call>(mut input: #private::Decoder<'bytes_of_one_call>) -> ::core::result::Result<Self::Output, #private::CodecError> {
                let mut part = #private::Part::<#name::Task>::decode(&mut input)?;
                #(#decoded)*
                #private::Decoder::finish(input)?;
                let offset = #private::Part::offset(&part);
                ::core::result::Result::Ok(#call)
            }

            #output_functions
        }
    }
}

pub(crate) fn args_type(arguments: &[(String, Value)], private: &TokenStream) -> TokenStream {
    // The compiler knows the elided lifetimes of a function's type, also those that the tokens do not show.
    let hides = arguments.iter().any(|(_, value)| types::may_hide_lifetime(&value.ty));
    let ty = |value: &Value| if hides { value.ty.clone() } else { value.with_lifetime() };
    let types: Punctuated<_, Token![,]> = arguments.iter().map(|(_, value)| ty(value)).collect();
    // Where rustc says that a type is less public than the task.
    let (start, end) = value::ends(&types);
    let semicolon = quote_spanned!(end=> ;);
    let types = one_or_tuple(types);
    if hides {
        // The type begins and ends where the user's do, so that rustc points at just these.
        let args = quote_spanned!(end=> Args);
        let elided = quote_spanned!(start=> <fn(&()) -> #types as #private::Elide<'a>>::#args);
        return quote_spanned!(start=> type Args<'a> = #elided #semicolon);
    }
    quote_spanned!(start=> type Args<'a> = #types #semicolon)
}

/// A result as an associated type. rustc reports a hidden lifetime in it with the words that it has for the function, and prints
/// the same error once.
pub(crate) fn returned(ty: &Type, private: &TokenStream) -> TokenStream {
    if types::may_leave_out_lifetime(ty) { glue!(#private::Returned<fn() -> #ty>) } else { ty.to_token_stream() }
}

/// The elements of an array as an associated type. One that hides a lifetime cannot be plain memory; here it gets one, so that
/// rustc says just that.
fn element(ty: &Type, private: &TokenStream) -> TokenStream {
    if !types::may_hide_lifetime(ty) {
        return ty.to_token_stream();
    }
    let (start, end) = value::ends(ty); // as in `args_type`
    let args = quote_spanned!(end=> Args);
    quote_spanned!(start=> <fn(&()) -> #ty as #private::Elide<'static>>::#args)
}

/// `args_size`, `encode_args`, `invoke`, and the ways of an argument that travels as its memory.
fn args_functions(function: &Function, private: &TokenStream) -> TokenStream {
    let Function { name, arguments, states, .. } = function;
    let Arguments { decoded, passed, functions } = Arguments::new(arguments, private);
    // A lent argument stays the caller's, so only an owned one can give its memory away.
    let whole = match &arguments[..] {
        [(_, value)] if value.lent.is_none() => Some((value.give_away(private, &glue!(args)), value.adopt(private))),
        _ => None,
    };
    let (args_into_bytes, invoke_raw) = match whole {
        Some((into_bytes, from_bytes)) => {
            let call = state_argument::call(name, [glue!(argument)].into_iter(), states, private);
            (into_bytes, glue!(#from_bytes.map(|argument| #call)))
        }
        None => (glue!(::core::result::Result::Err(args)), glue!(#private::not_raw(bytes))),
    };
    let call = state_argument::call(name, passed.into_iter(), states, private);
    glue! {
        #functions

        #[inline]
        fn args_into_bytes(
            args: Self::Args<'_>,
        ) -> ::core::result::Result<#private::Vec<::core::primitive::u8>, Self::Args<'_>> {
            #args_into_bytes
        }

        fn invoke_raw(
            bytes: #private::Vec<::core::primitive::u8>,
        ) -> ::core::result::Result<Self::Output, #private::CodecError> {
            #invoke_raw
        }

        #[inline]
        fn invoke<'bytes_of_one_call>(mut input: #private::Decoder<'bytes_of_one_call>) -> ::core::result::Result<Self::Output, #private::CodecError> {
            #(#decoded)*
            #private::Decoder::finish(input)?;
            ::core::result::Result::Ok(#call)
        }
    }
}

/// The parts of generated functions that concern the arguments.
pub(crate) struct Arguments {
    /// Statements that take them off `input`.
    pub(crate) decoded: Vec<TokenStream>,
    /// As the function takes them.
    pub(crate) passed: Vec<TokenStream>,
    /// `args_size` and `encode_args`.
    pub(crate) functions: TokenStream,
}

impl Arguments {
    pub(crate) fn new(arguments: &[(String, Value)], private: &TokenStream) -> Self {
        let variables = variables(arguments);
        let each = || arguments.iter().map(|(_, value)| value).zip(&variables);
        let sizes = each().map(|(value, _)| value.size(private, false));
        let encode_args = encode_args(arguments, private);
        let functions = glue! {
            #[inline]
            fn args_size() -> ::core::option::Option<::core::primitive::usize> {
                #private::total([#(#sizes),*])
            }

            #encode_args
        };
        Arguments {
            decoded: each().map(|(value, variable)| value.decode(private, variable)).collect(),
            passed: each().map(|(value, variable)| value.pass(variable)).collect(),
            functions,
        }
    }
}

fn encode_args(arguments: &[(String, Value)], private: &TokenStream) -> TokenStream {
    let variables = variables(arguments);
    let references = one_or_tuple(variables.iter().collect());
    let encoded = arguments.iter().zip(&variables).map(|((_, value), variable)| value.encode(private, variable));
    glue! {
        #[inline]
        fn encode_args(
            args: &Self::Args<'_>,
            out: &mut #private::Encoder<'_>,
        ) -> ::core::result::Result<(), #private::CodecError> {
            let #references = args;
            #(#encoded?;)*
            ::core::result::Result::Ok(())
        }
    }
}

/// `output_size`, `encode_output`, `decode_output`, the same for many at once, and for a result that is its memory.
fn output_functions(output: &Value, private: &TokenStream) -> TokenStream {
    let variable = Ident::new("output", Span::mixed_site());
    let size = output.size(private, true);
    let is_err = output.is_err(private, &variable);
    let encoded = output.encode(private, &variable);
    let decoded = output.decode(private, &variable);
    let decoded_all = output.decode_all(private);
    let result_buffer = output.result_buffer(private);
    let into_bytes = output.give_away(private, &variable);
    let from_bytes = output.adopt(private);
    glue! {
        #[inline]
        fn output_is_err(#variable: &Self::Output) -> ::core::primitive::bool {
            #is_err
        }

        #[inline]
        fn output_size() -> ::core::option::Option<::core::primitive::usize> {
            #size
        }

        #[inline]
        fn encode_output(
            #variable: &Self::Output,
            out: &mut #private::Encoder<'_>,
        ) -> ::core::result::Result<(), #private::CodecError> {
            #encoded
        }

        #[inline]
        fn decode_output<'bytes_of_one_call>(
            mut input: #private::Decoder<'bytes_of_one_call>,
        ) -> ::core::result::Result<Self::Output, #private::CodecError> {
            #decoded
            #private::Decoder::finish(input)?;
            ::core::result::Result::Ok(#variable)
        }

        #[inline]
        fn output_into_bytes(
            #variable: Self::Output,
        ) -> ::core::result::Result<#private::Vec<::core::primitive::u8>, Self::Output> {
            #into_bytes
        }

        fn decode_raw(
            bytes: #private::Vec<::core::primitive::u8>,
        ) -> ::core::result::Result<Self::Output, #private::CodecError> {
            #from_bytes
        }

        #[inline]
        fn decode_outputs(
            bytes: &[::core::primitive::u8],
            values: &mut #private::Vec<Self::Output>,
        ) -> ::core::primitive::bool {
            #decoded_all
        }

        fn result_buffer(
            items: ::core::primitive::usize,
        ) -> ::core::option::Option<#private::Box<dyn #private::ResultBuffer>> {
            #result_buffer
        }
    }
}

/// The line in the dispatch table.
pub(crate) fn entry(
    function: &Function,
    args: &Args,
    private: &TokenStream,
    constructor: &TokenStream,
    run: &TokenStream,
    form: Option<&TokenStream>,
) -> TokenStream {
    let name = &function.name;
    let plain_name = name.unraw().to_string();
    let line = line(name.span());
    let arguments = function.arguments_text();
    let output = text::of(&function.output.ty);
    let timeout = args.timeout.map(|nanoseconds| glue!(.with_timeout(#nanoseconds)));
    let grace = args.grace.map(|nanoseconds| glue!(.with_grace(#nanoseconds)));
    let retries = args.retries.map(|retries| glue!(.with_retries(#retries)));
    let priority = args.priority.map(|priority| {
        let variant = Ident::new(priority, Span::mixed_site());
        glue!(.with_priority(#private::Priority::#variant))
    });
    let retry_panics = args.retry_panics.then(|| glue!(.with_retry_panics()));
    let reports = args.reports.then(|| glue!(.with_reports()));
    let prefetch = args.prefetch.map(|items| glue!(.with_prefetch(#items)));
    let states = function.states.iter().map(|state| state.entry(private));
    glue! {
        #[#private::linkme::distributed_slice(#private::TASKS)]
        #[linkme(crate = #private::linkme)]
        static ENTRY: #private::Entry = #private::Entry::#constructor(#private::Info {
            name: #plain_name,
            module: ::core::module_path!(),
            file: ::core::file!(),
            line: #line,
            args: #arguments,
            output: #output,
            options: #private::TaskOptions::NONE #timeout #grace #retries #retry_panics #reports #prefetch #priority,
            states: &[#(#states),*],
        }, #run) #form;
    }
}

/// The line of the function's name, which `line!()` does not know: it gives the attribute's.
fn line(name: Span) -> TokenStream {
    // A name from within another macro may stand in another file than the one that `file!()` gives.
    let in_this_file = name.unwrap().file() == Span::call_site().unwrap().file();
    match u32::try_from(name.unwrap().line()) {
        Ok(line @ 1..) if in_this_file => line.to_token_stream(),
        _ => glue!(::core::line!()),
    }
}

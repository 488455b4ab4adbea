//! The function under the attribute: the parts that the expansion needs, and the reasons why some cannot be tasks.

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::visit::{self, Visit};
use syn::{Error, FnArg, Ident, ItemFn, Lifetime, LifetimeParam, Pat, PatType};
use syn::{GenericParam, Item, Result, ReturnType, Safety, Signature, Type, TypeParamBound, TypeReference, Visibility};

use crate::attributes::{self, Attributes};
use crate::enclosing;
use crate::errors::{Errors, Kind};
use crate::sizes;
use crate::state_argument::{StateArgument, is_state};
use crate::text;
use crate::types;
use crate::value::Value;

/// More are hard to tell apart where the task is called, with a tuple.
const ARGUMENTS_MAX: usize = 8;

/// A function that can be a task, or open a state.
pub(crate) struct Function {
    pub(crate) vis: Visibility,
    pub(crate) name: Ident,
    /// Names, `_` where there is none, and values; without states.
    pub(crate) arguments: Vec<(String, Value)>,
    /// The arguments that the worker has.
    pub(crate) states: Vec<StateArgument>,
    /// The part of an array that the function writes, before the other arguments.
    pub(crate) part: Option<Part>,
    pub(crate) output: Value,
    pub(crate) attributes: Attributes,
}

impl Function {
    /// The names of the arguments, as a part of the task's signature.
    pub(crate) fn parameters(&self) -> String {
        self.arguments.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

/// The arguments `part: &mut [T], offset: usize`.
pub(crate) struct Part {
    pub(crate) element: Type,
    names: [String; 2],
}

impl Function {
    /// Reads the item, or says all that is wrong with it.
    pub(crate) fn parse(item: &TokenStream, kind: Kind) -> Result<Function> {
        let function: ItemFn = syn::parse2(item.clone()).map_err(|error| not_a_function(item, error, kind))?;
        let mut errors = Errors::of(kind);
        attributes::check(&function.attrs, &mut errors);
        check_signature(&function.sig, &mut errors);
        check_enclosing(&function, &mut errors);
        let part = if kind == Kind::Task { check_part(&function.sig, &mut errors) } else { None };
        let (arguments, states) = check_arguments(&function.sig, part.is_some(), &mut errors);
        let output = check_output(&function.sig.output, &mut errors);
        errors.finish()?;

        Ok(Function {
            arguments,
            states,
            part,
            output,
            attributes: Attributes::new(&function.attrs),
            vis: function.vis,
            name: function.sig.ident,
        })
    }

    /// The arguments as a person writes them.
    pub(crate) fn arguments_text(&self) -> String {
        let part = self.part.iter().flat_map(|Part { element, names: [part, offset] }| {
            [format!("{part}: &mut [{}]", text::of(element)), format!("{offset}: usize")]
        });
        let each = self.arguments.iter().map(|(name, value)| format!("{name}: {}", text::of(&value.ty)));
        part.chain(each).collect::<Vec<_>>().join(", ")
    }
}

fn not_a_function(item: &TokenStream, error: Error, kind: Kind) -> Error {
    let (keyword, what): (Span, &str) = match syn::parse2(item.clone()) {
        Ok(Item::Struct(item)) => (item.struct_token.span, "a struct"),
        Ok(Item::Enum(item)) => (item.enum_token.span, "an enum"),
        Ok(Item::Union(item)) => (item.union_token.span, "a union"),
        Ok(Item::Trait(item)) => (item.trait_token.span, "a trait"),
        Ok(Item::Impl(item)) => (item.impl_token.span, "an impl block"),
        Ok(Item::Mod(item)) => (item.mod_token.span, "a module"),
        Ok(Item::Const(item)) => (item.const_token.span, "a constant"),
        Ok(Item::Static(item)) => (item.static_token.span, "a static"),
        Ok(Item::Type(item)) => (item.type_token.span, "a type alias"),
        Ok(Item::Use(item)) => (item.use_token.span, "an import"),
        Ok(Item::Verbatim(_)) | Err(_) => match syn::parse2::<syn::TraitItemFn>(item.clone()) {
            // A method of a trait, or a function of an `extern` block.
            Ok(method) => {
                return Error::new_spanned(method.sig, format!("a {} is a function with a body", kind.noun()));
            }
            Err(_) => return error,
        },
        Ok(_) => (Span::call_site(), "this"),
    };
    Error::new(keyword, format!("`#[{}]` goes on a function, and {what} is none", kind.attribute()))
}

fn check_signature(signature: &Signature, errors: &mut Errors) {
    let noun = errors.kind.noun();
    if signature.ident == "main" {
        errors.push(&signature.ident, format!("`main` cannot be a {noun}"));
    }
    if let Some(asyncness) = &signature.asyncness {
        errors.push(asyncness, "a worker runs plain functions: block on the future inside of a plain `fn`");
    }
    if let Safety::Unsafe(unsafety) = &signature.safety {
        errors.push(unsafety, format!("an `unsafe` function cannot be a {noun}: wrap it in a safe function"));
    }
    if let Some(abi) = &signature.abi {
        errors.push(abi, format!("an `extern` function cannot be a {noun}: wrap it in a safe function"));
    }
    if let Some(variadic) = &signature.variadic {
        errors.push(variadic, format!("a {noun} takes a fixed number of arguments"));
    }
    check_generics(signature, errors);
}

fn check_generics(Signature { generics, output, .. }: &Signature, errors: &mut Errors) {
    let generic = format!(
        "a {} has one entry in the dispatch table: write a function with concrete types that calls this one",
        errors.kind.noun()
    );
    let only_lifetimes = generics.params.iter().all(|param| matches!(param, GenericParam::Lifetime(_)));
    if let (true, Some(GenericParam::Lifetime(param))) = (only_lifetimes, generics.params.first()) {
        let name = &param.lifetime;
        let output = text::of(output);
        let is_of_output = |param: &LifetimeParam| output.contains(&param.lifetime.to_string());
        if errors.kind == Kind::Task && generics.lifetimes().any(is_of_output) {
            return; // the error about the result says this, too
        }
        errors.push(generics, format!("elide the lifetime: write `&str` for `&{name} str` and `'_` for `{name}`"));
    } else if !generics.params.is_empty() {
        errors.push(generics, generic);
    } else if let Some(clause) = &generics.where_clause {
        errors.push(clause, generic);
    }
}

/// Refuses associated functions: the module beside a task cannot stand in an `impl` block or a trait. A method is told by
/// its receiver.
fn check_enclosing(function: &ItemFn, errors: &mut Errors) {
    let has_receiver = function.sig.inputs.iter().any(|input| matches!(input, FnArg::Receiver(_)));
    if !has_receiver && enclosing::is_in_impl_or_trait(function) {
        let noun = errors.kind.noun();
        let message = format!(
            "an associated function cannot be a {noun}: write a free function beside the `impl` block or trait"
        );
        errors.push(&function.sig.ident, message);
    }
}

/// Arguments of a function that writes a part of an array: the part and its offset.
const PART_ARGUMENTS: usize = 2;

/// The part of an array, if that is the first argument.
fn check_part(signature: &Signature, errors: &mut Errors) -> Option<Part> {
    let mut inputs = signature.inputs.iter();
    let Some(FnArg::Typed(first)) = inputs.next() else { return None };
    let element = element_of_part(&first.ty)?.clone();
    check_element(&element, errors);
    if !cfg!(feature = "arrays") {
        errors.push(&first.ty, "a function that writes a part of an array needs the feature `arrays` of pool-core");
    }
    let offset = inputs.next();
    let name = match offset {
        Some(FnArg::Typed(offset)) if matches!(&*offset.ty, Type::Path(ty) if ty.path.is_ident("usize")) => {
            argument_name(offset, errors)
        }
        _ => {
            let message = "a function that writes a part of an array takes the index of its first element next: write \
                           `offset: usize` behind this";
            errors.push(offset.unwrap_or(&signature.inputs[0]), message);
            String::new()
        }
    };
    Some(Part { element, names: [argument_name(first, errors), name] })
}

/// Refuses elements of which rustc would say more than once that they are no plain memory.
fn check_element(element: &Type, errors: &mut Errors) {
    let mut refused = Errors::of(errors.kind);
    Refused { errors: &mut refused, place: Place::Argument }.visit_type(element);
    if !sizes::unsized_parts(element).is_empty() || refused.finish().is_err() {
        let message =
            "an element is plain memory: a number, an array of numbers, or a struct that derives `bytemuck::Pod`";
        errors.push(element, message);
    }
}

fn element_of_part(ty: &Type) -> Option<&Type> {
    match types::bare(ty) {
        Type::Reference(TypeReference { mutability: Some(_), elem, .. }) => match &**elem {
            Type::Slice(slice) => Some(&slice.elem),
            _ => None,
        },
        _ => None,
    }
}

fn check_arguments(
    signature: &Signature,
    has_part: bool,
    errors: &mut Errors,
) -> (Vec<(String, Value)>, Vec<StateArgument>) {
    let (mut arguments, mut states) = (Vec::new(), Vec::new());
    let noun = errors.kind.noun();
    let skipped = if has_part { PART_ARGUMENTS } else { 0 };
    for (position, input) in signature.inputs.iter().enumerate().skip(skipped) {
        match input {
            FnArg::Receiver(receiver) => {
                let message = format!(
                    "a method cannot be a {noun}: write a free function that takes the value as its first argument"
                );
                errors.push(receiver, message);
            }
            FnArg::Typed(argument) if argument.attrs.iter().any(is_state) => {
                match StateArgument::parse(argument, position) {
                    _ if errors.kind == Kind::State => {
                        errors.push(argument, "a state is opened without the others: take ordinary arguments");
                    }
                    Ok(state) => states.push(state),
                    Err(error) => errors.add(error),
                }
            }
            FnArg::Typed(argument) => {
                if arguments.len() == ARGUMENTS_MAX {
                    let message = format!(
                        "a {noun} takes at most {ARGUMENTS_MAX} arguments: put several into a struct or a tuple"
                    );
                    errors.push(argument, message);
                }
                arguments.push(check_argument(argument, errors));
            }
        }
    }
    (arguments, states)
}

fn check_argument(argument: &PatType, errors: &mut Errors) -> (String, Value) {
    for attribute in &argument.attrs {
        if attribute.path().is_ident("cfg") || attribute.path().is_ident("cfg_attr") {
            let noun = errors.kind.noun();
            errors.push(attribute, format!("a {noun}'s arguments cannot depend on a `cfg`: put it on the function"));
        }
    }
    let name = argument_name(argument, errors);
    check_sizes(&argument.ty, Place::Argument, errors);
    Refused { errors, place: Place::Argument }.visit_type(&argument.ty);
    (name, Value { ty: (*argument.ty).clone(), lent: lent(&argument.ty) })
}

fn argument_name(argument: &PatType, errors: &mut Errors) -> String {
    match &*argument.pat {
        Pat::Ident(name) if name.by_ref.is_none() && name.subpat.is_none() => name.ident.unraw().to_string(),
        Pat::Wild(_) => "_".to_owned(),
        pattern => {
            errors.push(pattern, "give the argument a name and take it apart in the body");
            String::new()
        }
    }
}

fn check_output(output: &ReturnType, errors: &mut Errors) -> Value {
    let ReturnType::Type(_, ty) = output else { return Value { ty: syn::parse_quote!(()), lent: None } };
    if errors.kind == Kind::State {
        // It stays in its worker, so it may be of any type that owns what it holds.
        check_sizes(ty, Place::State, errors);
        Refused { errors, place: Place::State }.visit_type(ty);
        return Value { ty: (**ty).clone(), lent: None };
    }
    if let Type::Never(never) = &**ty {
        errors.push(never, "a task comes back to its caller: return `()`");
    }
    check_sizes(ty, Place::Output, errors);
    Refused { errors, place: Place::Output }.visit_type(ty);
    Value { ty: (**ty).clone(), lent: None }
}

/// Refuses types without a known size, as far as tokens tell.
fn check_sizes(ty: &Type, place: Place, errors: &mut Errors) {
    let is_whole = sizes::is_unsized(ty);
    for part in sizes::unsized_parts(ty) {
        if matches!(part, Type::TraitObject(_)) && place != Place::State {
            continue; // `Refused` has words of its own for it.
        }
        let (owned, name) = (sizes::owned_twin(&part), text::of(&part));
        let message = match place {
            Place::Argument if is_whole => {
                format!("write `&{name}`: the size of a `{name}` is not known, so it is lent")
            }
            Place::Output | Place::State if is_whole => {
                format!("return a `{owned}`: the size of a `{name}` is not known")
            }
            _ => format!("write `{owned}`: the size of a `{name}` is not known"),
        };
        errors.push(part, message);
    }
}

/// The function without the types that were refused, where rustc would add to our errors about them.
pub(crate) fn without_refused(item: TokenStream, kind: Kind) -> TokenStream {
    let Ok(mut function) = syn::parse2::<ItemFn>(item.clone()) else { return item };
    for input in &mut function.sig.inputs {
        if let FnArg::Typed(argument) = input {
            sizes::lend_unsized(&mut argument.ty);
        }
    }
    let mut errors = Errors::of(kind);
    check_output(&function.sig.output, &mut errors);
    if errors.finish().is_err() {
        // This type fits every use of the result, so that the callers get no errors of their own.
        function.sig.output = syn::parse_quote!(-> !);
        *function.block = syn::parse_quote!({ loop {} });
    }
    function.into_token_stream()
}

/// The referent of an argument that is decoded and then lent. `&[u8]` is not: bytes are lent where they lie.
fn lent(ty: &Type) -> Option<Type> {
    match types::bare(ty) {
        Type::Reference(reference) if !is_bytes(&reference.elem) => Some((*reference.elem).clone()),
        _ => None,
    }
}

fn is_bytes(ty: &Type) -> bool {
    match types::bare(ty) {
        Type::Slice(slice) => matches!(&*slice.elem, Type::Path(elem) if elem.path.is_ident("u8")),
        _ => false,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Argument,
    Output,
    /// The result of a function that opens a state.
    State,
}

/// Looks through a type for parts that cannot travel.
struct Refused<'e> {
    errors: &'e mut Errors,
    place: Place,
}

impl<'ast> Visit<'ast> for Refused<'_> {
    fn visit_type_impl_trait(&mut self, ty: &'ast syn::TypeImplTrait) {
        let (tokens, ty) = (ty, text::of(ty));
        self.errors.push(tokens, format!("write a concrete type, such as `Vec<u64>`, in place of `{ty}`"));
    }

    fn visit_type_trait_object(&mut self, ty: &'ast syn::TypeTraitObject) {
        let has = |name: &str| {
            ty.bounds.iter().any(|bound| {
                matches!(bound, TypeParamBound::Trait(bound) if bound.path.segments.last().is_some_and(|last| last.ident.to_string().ends_with(name)))
            })
        };
        if self.place == Place::State {
            return;
        }
        if self.place == Place::Output && has("Error") {
            if !has("Send") || !has("Sync") {
                let message = "write `dyn Error + Send + Sync`, as the error may be taken by any thread, or return its text: \
                               `.map_err(|error| error.to_string())`";
                self.errors.push(ty, message);
            }
            return;
        }
        let (tokens, ty) = (ty, text::of(ty));
        let message = format!("write a concrete type, such as an enum or a `String`, in place of `{ty}`");
        self.errors.push(tokens, message);
    }

    fn visit_type_ptr(&mut self, ty: &'ast syn::TypePtr) {
        if self.place == Place::State {
            return;
        }
        self.errors.push(ty, "a pointer means nothing in another process: pass the value behind it");
    }

    fn visit_type_fn_ptr(&mut self, ty: &'ast syn::TypeFnPtr) {
        if self.place == Place::State {
            return;
        }
        self.errors.push(ty, "a function pointer means nothing in another process: pass an enum and match on it");
    }

    fn visit_type_reference(&mut self, ty: &'ast TypeReference) {
        if self.place == Place::State {
            let is_static = ty.lifetime.as_ref().is_some_and(|lifetime| lifetime.ident == "static");
            return if is_static { self.visit_type(&ty.elem) } else { self.errors.push(ty, STATE_OWNS) };
        }
        if self.place == Place::Output {
            let message = "return an owned value (`String` for `&str`): the result comes from another process";
            let elided = ty.lifetime.as_ref().map(elided).unwrap_or_default();
            return self.errors.push(ty, format!("{message}{elided}"));
        }
        if ty.mutability.is_some() {
            let message = "take the argument by value and return it: a worker's copy cannot be changed from here (to \
                           write an array in place, take `part: &mut [T], offset: usize` first; a state of the worker \
                           is taken as `#[state] name: &mut T`)";
            return self.errors.push(ty, message);
        }
        if ty.lifetime.as_ref().is_some_and(|lifetime| lifetime.ident == "static") {
            let elided = TypeReference { lifetime: None, ..ty.clone() };
            let message = format!("write `{}`: an argument is lent for the call only", text::of(elided));
            return self.errors.push(ty, message);
        }
        visit::visit_type_reference(self, ty);
    }

    fn visit_type_path(&mut self, ty: &'ast syn::TypePath) {
        let refused = ty.path.segments.last().and_then(types::refused_result);
        match refused.filter(|_| self.place == Place::Output) {
            Some(message) => self.errors.push(ty, message),
            None => visit::visit_type_path(self, ty),
        }
    }

    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        if self.place == Place::State && lifetime.ident == "_" {
            self.errors.push(lifetime, STATE_OWNS);
        }
        // `Cow<'static, str>` owns its text once it has been decoded.
        if self.place == Place::Output && lifetime.ident != "static" {
            let message = "return a value that borrows nothing: the result comes from another process";
            self.errors.push(lifetime, format!("{message}{}", elided(lifetime)));
        }
    }
}

const STATE_OWNS: &str = "a state owns all that it holds, such as a `String` for a `&str`: its worker keeps it";

/// The rest of an error about a result with this lifetime.
fn elided(lifetime: &Lifetime) -> String {
    if lifetime.ident == "_" || lifetime.ident == "static" {
        return String::new();
    }
    format!("; with it `{lifetime}` goes: write `&str` for `&{lifetime} str`")
}

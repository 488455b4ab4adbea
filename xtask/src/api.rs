//! The public names of pool-core as a text, docs/api.txt: a change of them has to touch that file, and a reader of the change
//! sees it there.
//!
//! It is read off the sources, since the compiler gives such a list only to its nightly version. Methods that a macro makes are
//! listed under the macro's name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use quote::ToTokens;
use syn::{Attribute, ImplItem, Item, Meta, TraitItem, Type, UseTree, Visibility};

const FILE: &str = "docs/api.txt";

pub(crate) fn run(root: &Path, is_check: bool) -> Result<(), String> {
    let list = list(&root.join("pool-core/src"))?;
    let path = root.join(FILE);
    if is_check {
        let known = fs::read_to_string(&path).unwrap_or_default();
        let changed = |from: &str, to: &str| {
            let lines: BTreeSet<&str> = to.lines().collect();
            from.lines().filter(|line| !lines.contains(line)).map(str::to_owned).collect::<Vec<_>>()
        };
        let (new, gone) = (changed(&list, &known), changed(&known, &list));
        if new.is_empty() && gone.is_empty() {
            return Ok(());
        }
        let sign =
            |sign: &str, lines: &[String]| lines.iter().map(|line| format!("\n{sign} {line}")).collect::<String>();
        return Err(format!(
            "{FILE} is not as the sources are: `cargo xtask api`{}{}",
            sign("-", &gone),
            sign("+", &new)
        ));
    }
    fs::write(&path, list).map_err(|error| format!("{FILE}: {error}"))
}

/// The list of the crate with these sources.
fn list(sources: &Path) -> Result<String, String> {
    let mut files = BTreeMap::new();
    read(sources, sources, &mut files)?;
    let mut api = Api::default();
    let lib = files.get("").ok_or("pool-core has no lib.rs")?;
    api.export(lib);
    for item in &lib.items {
        if let Item::Mod(module) = item
            && is_public(&module.vis)
            && !is_hidden(&module.attrs)
            && let Some(file) = files.get(&module.ident.to_string())
        {
            api.export(file);
            let functions =
                file.items.iter().filter_map(|item| if let Item::Fn(item) = item { Some(item) } else { None });
            let name = |function: &syn::ItemFn| format!("{}::{}", module.ident, function.sig.ident);
            api.functions.extend(functions.map(name));
        }
    }
    for (module, file) in &files {
        file.items.iter().for_each(|item| api.add(module, item));
    }
    Ok(api.lines.into_iter().map(|line| line + "\n").collect())
}

/// Reads the sources by the names of their modules, tests left out.
fn read(top: &Path, folder: &Path, files: &mut BTreeMap<String, syn::File>) -> Result<(), String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "tests" && name != "hostile" {
                read(top, &path, files)?;
            }
        } else if name.ends_with(".rs") && name != "tests.rs" && name != "private.rs" {
            let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            let file = syn::parse_file(&text).map_err(|error| format!("{}: {error}", path.display()))?;
            files.insert(module_of(path.strip_prefix(top).unwrap_or(&path)), file);
        }
    }
    Ok(())
}

fn module_of(path: &Path) -> String {
    let path: PathBuf = path.with_extension("");
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    if parts == ["lib"] { String::new() } else { parts.join("::") }
}

#[derive(Default)]
struct Api {
    /// Names of types and traits.
    types: BTreeSet<String>,
    /// Paths of functions.
    functions: BTreeSet<String>,
    lines: BTreeSet<String>,
}

impl Api {
    /// Notes the names that the file passes on.
    fn export(&mut self, file: &syn::File) {
        for item in &file.items {
            if let Item::Use(item) = item
                && is_public(&item.vis)
            {
                self.export_tree(&item.tree, &[]);
            }
        }
    }

    fn export_tree(&mut self, tree: &UseTree, path: &[String]) {
        let leaf = |name: &syn::Ident| [path, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(tree) => self.export_tree(&tree.tree, &leaf(&tree.ident)),
            UseTree::Group(tree) => tree.items.iter().for_each(|tree| self.export_tree(tree, path)),
            UseTree::Name(tree) => {
                let path = leaf(&tree.ident);
                let path = if path[0] == "crate" { &path[1..] } else { &path[..] };
                self.functions.insert(path.join("::"));
                self.types.insert(tree.ident.to_string());
            }
            UseTree::Rename(_) | UseTree::Glob(_) => {}
        }
    }

    fn add(&mut self, module: &str, item: &Item) {
        match item {
            Item::Struct(item) if self.has(&item.ident, &item.vis) => {
                let name = &item.ident;
                self.put(format!("struct {name}{}", text(&item.generics)));
                let fields = item.fields.iter().filter(|field| is_public(&field.vis));
                for field in fields {
                    let field_name = field.ident.as_ref().map_or_else(String::new, ToString::to_string);
                    self.put(format!("struct {name}: pub {field_name}: {}", text(&field.ty)));
                }
            }
            Item::Enum(item) if self.has(&item.ident, &item.vis) => {
                for variant in &item.variants {
                    self.put(format!("enum {}: {}{}", item.ident, variant.ident, text(&variant.fields)));
                }
            }
            Item::Trait(item) if self.has(&item.ident, &item.vis) => {
                self.put(format!("trait {}{}: {}", item.ident, text(&item.generics), text(&item.supertraits)));
                for member in &item.items {
                    match member {
                        TraitItem::Fn(member) if !is_hidden(&member.attrs) => {
                            self.put(format!("trait {}: {}", item.ident, text(&member.sig)));
                        }
                        TraitItem::Type(member) if !is_hidden(&member.attrs) => {
                            self.put(format!("trait {}: type {}{}", item.ident, member.ident, text(&member.generics)));
                        }
                        _ => {}
                    }
                }
            }
            Item::Type(item) if self.has(&item.ident, &item.vis) => {
                self.put(format!("type {}{} = {}", item.ident, text(&item.generics), text(&item.ty)));
            }
            Item::Fn(item)
                if is_public(&item.vis)
                    && !is_hidden(&item.attrs)
                    && self.functions.contains(&format!("{module}::{}", item.sig.ident)) =>
            {
                self.put(text(&item.sig));
            }
            Item::Impl(item) => self.add_impl(item),
            Item::Macro(item) => self.add_macro(item),
            _ => {}
        }
    }

    fn add_impl(&mut self, item: &syn::ItemImpl) {
        let Type::Path(ty) = &*item.self_ty else { return };
        let Some(name) = ty.path.segments.last().map(|segment| segment.ident.to_string()) else { return };
        if !self.types.contains(&name) || is_test(&item.attrs) {
            return;
        }
        let of = text(&item.self_ty);
        if let Some((of_trait, _)) = &item.trait_ {
            self.put(format!("impl {} for {of}", text(of_trait)));
            return;
        }
        for member in &item.items {
            if let ImplItem::Fn(member) = member
                && is_public(&member.vis)
                && !is_hidden(&member.attrs)
            {
                self.put(format!("{of}: {}", text(&member.sig)));
            }
        }
    }

    /// Methods in the macros by which several types of the top level get them.
    fn add_macro(&mut self, item: &syn::ItemMacro) {
        let Some(name) = &item.ident else { return };
        let body = tidy(&item.mac.tokens.to_string());
        for method in body.split("pub fn ").skip(1) {
            let signature = method.split(" {").next().unwrap_or(method);
            // Macros of the rooms below make methods for those alone.
            if matches!(name.to_string().as_str(), "iterators" | "detailed" | "streams") {
                self.put(format!("macro {name}: fn {signature}"));
            }
        }
    }

    fn has(&self, name: &syn::Ident, vis: &Visibility) -> bool {
        is_public(vis) && self.types.contains(&name.to_string())
    }

    fn put(&mut self, line: String) {
        self.lines.insert(line);
    }
}

fn is_public(vis: &Visibility) -> bool {
    matches!(vis, Visibility::Public(_))
}

fn is_hidden(attributes: &[Attribute]) -> bool {
    is_test(attributes) || attributes.iter().any(|attribute| has(attribute, "doc", "hidden"))
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| has(attribute, "cfg", "test"))
}

fn has(attribute: &Attribute, name: &str, argument: &str) -> bool {
    matches!(&attribute.meta, Meta::List(list) if list.path.is_ident(name) && list.tokens.to_string() == argument)
}

/// The tokens with about the blanks that a person would write.
fn text(tokens: &impl ToTokens) -> String {
    tidy(&tokens.to_token_stream().to_string())
}

fn tidy(text: &str) -> String {
    let pairs = [
        (" < ", "<"),
        (" > ", "> "),
        (" >", ">"),
        ("< ", "<"),
        (" ,", ","),
        (" :: ", "::"),
        (" (", "("),
        ("( ", "("),
        (" )", ")"),
        ("& ", "&"),
        (" : ", ": "),
        ("[ ", "["),
        (" ]", "]"),
        (" ;", ";"),
        ("> (", ">("),
        ("' ", "'"),
        (",)", ")"),
        ("> ,", ">,"),
        ("(mut self", "(self"),
        ("$ ", "$"),
    ];
    pairs.iter().fold(text.replace('\n', " "), |text, (from, to)| text.replace(from, to)).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_names_are_listed_and_others_are_not() {
        let top = std::env::temp_dir().join(format!("xtask-api-{}", std::process::id()));
        fs::create_dir_all(top.join("room")).unwrap();
        let lib = "mod pool; mod room; pub mod open; pub use crate::pool::Pool; pub use crate::room::door::knock;";
        fs::write(top.join("lib.rs"), lib).unwrap();
        let pool = "pub struct Pool { pub size: usize, inner: u8 } pub struct Hidden; \
                    impl Pool { pub fn get<T: Copy>(&self, x: T) -> Option<T> { None } fn no(&self) {} } \
                    impl Clone for Pool { fn clone(&self) -> Self { todo() } }";
        fs::write(top.join("pool.rs"), pool).unwrap();
        fs::write(top.join("room/door.rs"), "pub fn knock(times: u8) {} pub fn other() {}").unwrap();
        fs::write(top.join("room.rs"), "pub fn knock() {}").unwrap();
        fs::write(top.join("open.rs"), "pub fn run() {} #[doc(hidden)] pub fn glue() {}").unwrap();
        let expected = "Pool: fn get<T: Copy>(&self, x: T) -> Option<T>\nfn knock(times: u8)\nfn run()\nimpl Clone for Pool\n\
                        struct Pool\nstruct Pool: pub size: usize\n";
        assert_eq!(list(&top).unwrap(), expected);
        fs::remove_dir_all(top).unwrap();
    }
}

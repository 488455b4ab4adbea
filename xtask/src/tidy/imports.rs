//! Which file of a crate imports which, read off its `use` lines and paths: no circles, and rooms that know only the
//! rooms below them.
//!
//! `mod child;` is no import: a parent holds its children's names either way. A child may import its parent's items (a
//! type whose methods stand in several files needs that), and then the parent must import none of the child's; or the
//! other way round. Tests are left out: they may import everything.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

/// A module of a crate, as the names on the way to it: `["engine", "calls"]`; the root is empty.
type Module = Vec<String>;

/// For each file, by its module, the files that it imports from.
pub(super) type Graph = BTreeMap<Module, BTreeSet<Module>>;

/// The permitted imports: each room, and the rooms that it may import from beside itself.
pub(super) type Doors = [(&'static str, &'static [&'static str])];

/// The room of the files that stand in no folder.
pub(super) const TOP: &str = "the top level";

/// Reads the crate in this folder.
///
/// # Errors
///
/// A file that cannot be read or is not Rust.
pub(super) fn read(folder: &Path) -> Result<Graph, String> {
    let mut texts = Vec::new();
    let mut folders = vec![(folder.to_owned(), Module::new())];
    while let Some((folder, parent)) = folders.pop() {
        let at = |path: &Path, error: &dyn Display| format!("{}: {error}", path.display());
        for entry in fs::read_dir(&folder).map_err(|error| at(&folder, &error))?.flatten() {
            let path = entry.path();
            let Some(module) = module(&path, &parent) else { continue };
            if path.is_dir() {
                folders.push((path, module));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).map_err(|error| at(&path, &error))?;
                texts.push((path, module, text));
            }
        }
    }
    graph(texts)
}

/// The module of a file or folder; `None` for tests.
fn module(path: &Path, parent: &Module) -> Option<Module> {
    let stem = path.file_stem()?.to_string_lossy().into_owned();
    match stem.as_str() {
        "tests" | "simulation" | "hostile" => None,
        "lib" | "main" if parent.is_empty() => Some(Module::new()),
        "mod" => Some(parent.clone()),
        _ => Some(parent.iter().cloned().chain([stem]).collect()),
    }
}

fn graph(texts: Vec<(PathBuf, Module, String)>) -> Result<Graph, String> {
    let modules: BTreeSet<Module> = texts.iter().map(|(_, module, _)| module.clone()).collect();
    let mut graph = Graph::new();
    for (path, module, text) in texts {
        let file = syn::parse_file(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut paths = Paths { here: &module, modules: &modules, found: BTreeSet::new() };
        paths.visit_file(&file);
        let mut found = paths.found;
        found.remove(&module);
        graph.insert(module, found);
    }
    Ok(graph)
}

/// Gathers the files that the paths of a file lead to.
struct Paths<'m> {
    here: &'m Module,
    modules: &'m BTreeSet<Module>,
    found: BTreeSet<Module>,
}

impl Paths<'_> {
    fn note(&mut self, path: &[String]) {
        let up = path.iter().take_while(|name| *name == "super").count();
        let child = || path.first().map(|first| [self.here.as_slice(), std::slice::from_ref(first)].concat());
        let (start, skip) = match path.first().map(String::as_str) {
            Some("crate") => (Module::new(), 1),
            Some("self") => (self.here.clone(), 1),
            Some("super") if up <= self.here.len() => (self.here[..self.here.len() - up].to_vec(), up),
            Some(_) if child().is_some_and(|child| self.modules.contains(&child)) => (self.here.clone(), 0),
            _ => return,
        };
        let whole: Module = start.into_iter().chain(path.iter().skip(skip).cloned()).collect();
        let lengths = (0..=whole.len()).rev();
        let file = lengths.map(|length| &whole[..length]).find(|prefix| self.modules.contains(*prefix));
        self.found.extend(file.map(<[String]>::to_vec));
    }

    fn note_tree(&mut self, tree: &syn::UseTree, before: &[String]) {
        let with = |name: &syn::Ident| before.iter().cloned().chain([name.to_string()]).collect::<Vec<_>>();
        match tree {
            syn::UseTree::Path(path) => self.note_tree(&path.tree, &with(&path.ident)),
            // `use a::b::{self}` is the module `b`, and names of items lead to the file that they stand in.
            syn::UseTree::Name(name) if name.ident == "self" => self.note(before),
            syn::UseTree::Name(name) => self.note(&with(&name.ident)),
            syn::UseTree::Rename(rename) => self.note(&with(&rename.ident)),
            syn::UseTree::Glob(_) => self.note(before),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.note_tree(tree, before)),
        }
    }
}

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !is_for_tests(&item.attrs) {
            self.note_tree(&item.tree, &[]);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        // A single name is a variable or an item, since a module is no value.
        if names.len() > 1 {
            self.note(&names);
        }
        visit::visit_path(self, path);
    }

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {
        // The path of `pub(crate)` is no use of anything.
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_macro(&mut self, invoked: &'ast syn::Macro) {
        // A macro's tokens need not be Rust, so they are not parsed. Paths that begin with `crate` are found all the same.
        // Text in quotes, which documentation is to a macro, imports nothing.
        let text = invoked.tokens.to_string().replace("\\\"", "");
        let code: Vec<_> = text.split('"').step_by(2).collect();
        let text = code.join("\"\"").replace(' ', "");
        for (at, _) in text.match_indices("crate::") {
            let rest = &text[at..];
            let end = rest.find(|c: char| !(c.is_alphanumeric() || "_:".contains(c))).unwrap_or(rest.len());
            let path: Vec<_> = rest[..end].split("::").map(str::to_owned).collect();
            self.note(&path);
        }
    }
}

/// Whether this is compiled for tests alone.
fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else { return false };
        let condition = list.tokens.to_string();
        list.path.is_ident("cfg") && condition.contains("test") && !condition.contains("not")
    })
}

/// The circles: files each of which imports, directly or through others, all the others.
pub(super) fn circles(krate: &str, graph: &Graph) -> Vec<String> {
    let reach: BTreeMap<&Module, BTreeSet<&Module>> = graph.keys().map(|from| (from, reachable(graph, from))).collect();
    let mut seen = BTreeSet::new();
    let mut findings = Vec::new();
    for module in graph.keys().filter(|module| reach[*module].contains(*module)) {
        if seen.contains(module) {
            continue;
        }
        let is_mate = |other: &&Module| reach[module].contains(*other) && reach[*other].contains(module);
        let circle: Vec<_> = graph.keys().filter(is_mate).collect();
        let names: Vec<_> = circle.iter().map(|module| name(module)).collect();
        findings.push(format!("{krate}: these files import each other in a circle: {}", names.join(", ")));
        seen.extend(circle);
    }
    findings
}

fn reachable<'g>(graph: &'g Graph, from: &Module) -> BTreeSet<&'g Module> {
    let mut found = BTreeSet::new();
    let mut ahead: Vec<&Module> = graph[from].iter().collect();
    while let Some(module) = ahead.pop() {
        if found.insert(module) {
            ahead.extend(graph.get(module).into_iter().flatten());
        }
    }
    found
}

/// Imports that the table does not allow. A room may import from itself, the top level from everywhere.
pub(super) fn wrong_doors(krate: &str, graph: &Graph, doors: &Doors) -> Vec<String> {
    let room = |module: &Module| match module.first() {
        Some(first) if doors.iter().any(|(room, _)| room == first) => first.clone(),
        _ => TOP.to_owned(),
    };
    let mut findings = Vec::new();
    for (module, imported) in graph.iter().filter(|(module, _)| room(module) != TOP) {
        let from = room(module);
        let allowed = doors.iter().find(|(room, _)| *room == from).map_or(&[][..], |(_, allowed)| allowed);
        // Top-level files are allowed one by one, by their names.
        let is_allowed =
            |to: &Module| room(to) == from || to.first().is_some_and(|first| allowed.contains(&first.as_str()));
        for to in imported.iter().filter(|to| !is_allowed(to)) {
            findings.push(format!("{krate}: {} must not import from {}", name(module), name(to)));
        }
    }
    findings
}

fn name(module: &Module) -> String {
    if module.is_empty() { "the crate's root".to_owned() } else { module.join("/") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph_of(files: &[(&str, &str)]) -> Graph {
        let file = |(name, text): &(&str, &str)| {
            let module = name.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
            (PathBuf::from(name), module, (*text).to_owned())
        };
        graph(files.iter().map(file).collect()).unwrap()
    }

    #[test]
    fn a_planted_circle_is_found() {
        let through_three = [
            ("", "mod a; mod b; mod c; mod d;"),
            ("a", "use crate::b::B;"),
            ("b", "fn f() -> super::c::C { crate::c::C }"),
            ("c", "macro_call! { #[doc = \"See \\\"crate::d\\\" and crate::d::D.\"] crate::a::A }"),
            ("d", "use crate::a; use crate::b::{self, B as Other}; fn f(e: u8) -> u8 { e }"),
            ("d/e", "use super::f;"),
        ];
        let found = circles("pool-core", &graph_of(&through_three));
        assert_eq!(found, ["pool-core: these files import each other in a circle: a, b, c"]);
        let through_the_root = [("", "pub use self::error::Result; mod error;"), ("error", "type T = crate::Result;")];
        assert_eq!(circles("x", &graph_of(&through_the_root)).len(), 1);
    }

    #[test]
    fn a_child_imports_its_parents_items_or_the_parent_its() {
        let child = ("engine/calls", "use super::Engine; use super::errors::text; impl Engine {}");
        let errors = ("engine/errors", "");
        let parent = |text| [("", ""), ("engine", text), child, errors];
        assert_eq!(circles("x", &graph_of(&parent("mod calls; mod errors; use self::errors::text;"))), [""; 0]);
        assert_eq!(circles("x", &graph_of(&parent("mod calls; mod errors; pub use calls::Call;"))).len(), 1);
    }

    #[test]
    fn tests_may_import_everything() {
        let text = "#[cfg(test)] use crate::b; #[cfg(test)] mod tests { use crate::b::B; } pub(super) fn f() {}";
        assert_eq!(circles("x", &graph_of(&[("", ""), ("a", text), ("b", "use crate::a;")])), [""; 0]);
        let real = "#[cfg(not(test))] use crate::b;";
        assert_eq!(circles("x", &graph_of(&[("", ""), ("a", real), ("b", "use crate::a;")])).len(), 1);
        assert_eq!(module(Path::new("x/tests.rs"), &Module::new()), None);
    }

    #[test]
    fn a_planted_import_through_a_wrong_door_is_found() {
        const DOORS: &Doors = &[("scheduler", &["units"]), ("engine", &["scheduler", "units"])];
        let files = [
            ("", ""),
            ("units", ""),
            ("error", ""),
            ("pool", "use crate::engine::calls; use crate::scheduler;"),
            ("engine", "use crate::scheduler::queue; mod calls;"),
            ("engine/calls", "use crate::error::Error; use super::X; use crate::units;"),
            ("scheduler", "use crate::units;"),
            ("scheduler/queue", "use crate::engine::calls::Call; use super::Y;"),
        ];
        let found = wrong_doors("pool-core", &graph_of(&files), DOORS);
        let expected = [
            "pool-core: engine/calls must not import from error",
            "pool-core: scheduler/queue must not import from engine/calls",
        ];
        assert_eq!(found, expected);
    }
}

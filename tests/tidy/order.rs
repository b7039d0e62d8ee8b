//! Dependencies between modules: each module uses only those before it in the order that ARCHITECTURE.md states.

use std::{
    collections::BTreeSet,
    fs,
    path::{Component, Path, PathBuf},
};

use super::{root, sources};

/// How a paragraph of the order starts, and the folder of the modules that it lists.
const CRATES: [(&str, &str); 2] = [("kanary-core:", "core/src"), ("kanary:", "src")];

/// The modules of a crate, in order.
fn order(crate_name: &str) -> Vec<String> {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let (_, block) = map
        .split_once("```text module-order\n")
        .expect("ARCHITECTURE.md states the order of the modules");
    let (block, _) = block.split_once("```").unwrap();
    let mut paragraphs = block.split("\n\n");
    let names = paragraphs.find_map(|paragraph| paragraph.strip_prefix(crate_name));
    let names = names.unwrap_or_else(|| panic!("the order has no {crate_name}"));
    names.split_whitespace().map(str::to_owned).collect()
}

/// The module of a file, as names from the crate's root, or `None` for tests, which may use every module.
fn module(folder: &Path, file: &Path) -> Option<Vec<String>> {
    let relative = file.strip_prefix(folder).unwrap().with_extension("");
    let names = relative.components().map(|name| match name {
        Component::Normal(name) => name.to_str().unwrap().to_owned(),
        other => panic!("{other:?} in {}", file.display()),
    });
    let mut names: Vec<_> = names.collect();
    if names.last().is_some_and(|name| name == "mod") {
        names.pop();
    }
    let is_root = ["lib", "main", "cli"].contains(&names.first()?.as_str());
    (!is_root && !names.iter().any(|name| name == "tests")).then_some(names)
}

/// Code without comments and without the unit tests at its end.
fn code(file: &Path) -> String {
    let text = super::code(file);
    let tests = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text[..tests].to_owned()
}

/// Every path in a `use` and every other path that starts with `crate::`, as names.
fn paths(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("use ") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let tree = code[at + 4..].split(';').next().unwrap_or_default();
        expand(tree, &[], &mut found);
    }
    for (at, _) in code.match_indices("crate::") {
        let path = code[at..].split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
        let names = path
            .take(1)
            .flat_map(|path| path.split("::"))
            .filter(|name| !name.is_empty());
        found.push(names.map(str::to_owned).collect());
    }
    found
}

/// Expands `a::{b, c::d}` to `a::b` and `a::c::d`.
fn expand(tree: &str, before: &[String], found: &mut Vec<Vec<String>>) {
    let tree = tree.trim();
    let (head, rest) = match tree.find('{') {
        Some(at) => (&tree[..at], tree[at + 1..].rsplit_once('}').map(|(inner, _)| inner)),
        None => (tree, None),
    };
    let mut path = before.to_vec();
    let names = head
        .split("::")
        .map(|name| name.split_whitespace().next().unwrap_or_default());
    path.extend(names.filter(|name| !name.is_empty()).map(str::to_owned));
    let Some(inner) = rest else {
        return found.push(path);
    };
    let (mut depth, mut start) = (0, 0);
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&inner[start..at], &path, found);
                start = at + 1;
            }
            _ => {}
        }
    }
    if !inner[start..].trim().is_empty() {
        expand(&inner[start..], &path, found);
    }
}

/// The top-level module of its crate that a path refers to.
fn target(module: &[String], path: &[String]) -> Option<String> {
    let up = path.iter().take_while(|name| *name == "super").count();
    let from = match path.first()?.as_str() {
        "crate" => return path.get(1).cloned(),
        "self" => return module.first().cloned(),
        "super" => module.get(..module.len().checked_sub(up)?)?,
        _ => return None,
    };
    from.first().or(path.get(up)).cloned()
}

#[test]
fn modules_depend_one_way() {
    let mut upwards = BTreeSet::new();
    for (name, folder) in CRATES {
        let order = order(name);
        let folder: PathBuf = root().join(folder);
        let rank = |module: &str| order.iter().position(|name| name == module);
        for file in sources(&folder) {
            let Some(module) = module(&folder, &file) else { continue };
            let own = rank(&module[0]);
            assert!(
                own.is_some(),
                "the order of ARCHITECTURE.md has no module {} of {name}",
                module[0]
            );
            for path in paths(&code(&file)) {
                // A crate's re-exports at its root have no rank of their own.
                let used = target(&module, &path).and_then(|used| rank(&used).map(|rank| (used, rank)));
                if let Some((used, _)) = used.filter(|(_, rank)| Some(*rank) > own) {
                    upwards.insert(format!("{name} {} uses {used}, which is above it", module.join("/")));
                }
            }
        }
    }
    assert!(upwards.is_empty(), "{upwards:#?}");
}

#[test]
fn an_arrow_upwards_is_found() {
    let used = |module: &[&str], code: &str| {
        let module: Vec<_> = module.iter().map(|name| (*name).to_owned()).collect();
        let used = paths(code).into_iter().filter_map(|path| target(&module, &path));
        used.collect::<Vec<_>>()
    };
    assert_eq!(
        used(&["a", "b"], "use super::super::c::{D, e::{F, G}};"),
        ["c", "c", "c"]
    );
    assert_eq!(used(&["a"], "use crate::{\n    b,\n    c::D as E,\n};"), ["b", "c"]);
    assert_eq!(used(&["a"], "let x = crate::c::d();"), ["c"]);
    assert_eq!(
        used(&["a", "b"], "use super::c;\nuse self::d::E;\nuse std::fmt;"),
        ["a", "a"]
    );
}

//! The public interface of the two crates that are published, as a listing that is committed: what breaks somebody's kernel is seen in
//! a diff, by who writes it and by who reviews it (`UPDATE=1` writes `tests/interface/*.txt`).
//!
//! Read from the sources, as the default features have them: types with their public fields and variants, signatures, constants, which
//! traits are implemented. Bodies, comments and what is private are left out. A line that goes or changes is a breaking change and
//! asks for another version; a new line is not, unless it is a method of a trait that kernels implement and has no default.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use syn::{Attribute, Fields, ImplItem, Item, TraitItem, Type, UseTree, Visibility};

/// The files of a crate, module by module, below a file.
fn items(dir: &Path, file: &Path) -> Vec<(bool, Item)> {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut all = Vec::new();
    for item in parsed.items {
        match item {
            Item::Mod(module) if module.content.is_none() && is_built(&module.attrs) => {
                let name = module.ident.to_string();
                let (below, public) = (dir.join(&name), matches!(module.vis, Visibility::Public(_)));
                let inner = items(&below, &dir.join(format!("{name}.rs")));
                // What a public module has is public under its name; all else is so if the root says so.
                all.extend(inner.into_iter().map(|(_, item)| (public, item)));
            }
            item => all.push((false, item)),
        }
    }
    all
}

/// Whether a kernel that chooses no features has it.
fn is_built(attributes: &[Attribute]) -> bool {
    attributes.iter().filter(|attribute| attribute.path().is_ident("cfg")).all(|attribute| {
        let condition = match &attribute.meta {
            syn::Meta::List(list) => list.tokens.to_string(),
            _ => String::new(),
        };
        condition.starts_with("not")
    })
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// The names that a `pub use` brings.
fn names(tree: &UseTree, into: &mut BTreeSet<String>) {
    match tree {
        UseTree::Path(path) => names(&path.tree, into),
        UseTree::Group(group) => group.items.iter().for_each(|item| names(item, into)),
        UseTree::Name(name) => _ = into.insert(name.ident.to_string()),
        UseTree::Rename(rename) => _ = into.insert(rename.rename.to_string()),
        UseTree::Glob(_) => panic!("a `pub use` of everything says nothing"),
    }
}

/// What matters to callers: whether it is marked `must_use`, may grow, has which layout; not what is said of it.
fn keep(attributes: &mut Vec<Attribute>) {
    attributes.retain(|attribute| ["non_exhaustive", "must_use", "repr"].iter().any(|name| attribute.path().is_ident(name)));
    for attribute in attributes {
        // The text may change.
        if attribute.path().is_ident("must_use") {
            *attribute = syn::parse_quote!(#[must_use]);
        }
    }
}

/// Private fields are one: that there are any is part of the interface.
fn fields(fields: &mut Fields) {
    if let Fields::Unnamed(unnamed) = fields {
        for field in unnamed.unnamed.iter_mut().filter(|field| !is_public(&field.vis)) {
            (field.vis, field.ty) = (Visibility::Inherited, syn::parse_quote!(_));
        }
    }
    let Fields::Named(named) = fields else { return };
    let private = named.named.iter().any(|field| !is_public(&field.vis));
    named.named = std::mem::take(&mut named.named).into_iter().filter(|field| is_public(&field.vis)).collect();
    named.named.iter_mut().for_each(|field| keep(&mut field.attrs));
    if private {
        named.named.push(syn::parse_quote!(_private: ()));
    }
}

/// The item as others see it; `None` if they do not.
fn shown(item: Item, is_ours: &dyn Fn(&str) -> bool) -> Option<Item> {
    let nothing = || -> syn::Block { syn::parse_quote!({}) };
    match item {
        Item::Struct(mut item) => {
            keep(&mut item.attrs);
            fields(&mut item.fields);
            is_ours(&item.ident.to_string()).then_some(Item::Struct(item))
        }
        Item::Enum(mut item) => {
            keep(&mut item.attrs);
            for variant in &mut item.variants {
                keep(&mut variant.attrs);
                variant.fields.iter_mut().for_each(|field| keep(&mut field.attrs));
            }
            is_ours(&item.ident.to_string()).then_some(Item::Enum(item))
        }
        Item::Trait(mut item) => {
            keep(&mut item.attrs);
            for part in &mut item.items {
                match part {
                    TraitItem::Fn(function) => {
                        keep(&mut function.attrs);
                        // Whether there is a default matters, and not which.
                        function.default = function.default.as_ref().map(|_| nothing());
                    }
                    TraitItem::Const(constant) => keep(&mut constant.attrs),
                    _ => {}
                }
            }
            is_ours(&item.ident.to_string()).then_some(Item::Trait(item))
        }
        Item::Fn(mut item) => {
            keep(&mut item.attrs);
            *item.block = nothing();
            is_ours(&item.sig.ident.to_string()).then_some(Item::Fn(item))
        }
        Item::Const(mut item) => {
            keep(&mut item.attrs);
            is_ours(&item.ident.to_string()).then_some(Item::Const(item))
        }
        Item::Static(item) => is_ours(&item.ident.to_string()).then_some(Item::Static(item)),
        Item::Impl(mut item) => {
            item.attrs.clear();
            let Type::Path(path) = &*item.self_ty else { return None };
            let name = path.path.segments.last().expect("a type has a name").ident.to_string();
            if !is_ours(&name) {
                return None;
            }
            if item.trait_.is_some() {
                item.items.clear();
                return Some(Item::Impl(item));
            }
            item.items.retain_mut(|part| match part {
                ImplItem::Fn(function) => {
                    let shown = is_public(&function.vis) && is_built(&function.attrs);
                    keep(&mut function.attrs);
                    function.block = nothing();
                    shown
                }
                ImplItem::Const(constant) => {
                    keep(&mut constant.attrs);
                    is_public(&constant.vis)
                }
                _ => false,
            });
            (!item.items.is_empty()).then_some(Item::Impl(item))
        }
        _ => None,
    }
}

/// The derived traits, as implementations: they can go without anybody's noticing, too.
fn derived(item: &Item) -> Vec<String> {
    let (Item::Struct(syn::ItemStruct { attrs, .. }) | Item::Enum(syn::ItemEnum { attrs, .. })) = item else { return vec![] };
    let mut all = Vec::new();
    for attribute in attrs.iter().filter(|attribute| attribute.path().is_ident("derive")) {
        let parsed = attribute.parse_nested_meta(|meta| {
            all.extend(meta.path.segments.last().map(|segment| segment.ident.to_string()));
            Ok(())
        });
        parsed.expect("a list of traits");
    }
    all.sort();
    all
}

fn listing(folder: &Path) -> String {
    let root = folder.join("src/lib.rs");
    let all = items(&folder.join("src"), &root);
    let mut exported = BTreeSet::new();
    for (_, item) in &all {
        if let Item::Use(item) = item {
            if is_public(&item.vis) && is_built(&item.attrs) {
                names(&item.tree, &mut exported);
            }
        }
    }
    let traits: BTreeSet<String> = all
        .iter()
        .filter_map(|(_, item)| if let Item::Trait(item) = item { Some(item.ident.to_string()) } else { None })
        .filter(|name| !exported.contains(name))
        .collect();
    let mut pieces: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (in_public_module, item) in all {
        // A trait of the crate's own that nobody else knows.
        let is_own = |path: &syn::Path| path.segments.last().is_some_and(|last| traits.contains(&last.ident.to_string()));
        let derived = derived(&item);
        let built = match &item {
            Item::Struct(item) => is_built(&item.attrs) && is_public(&item.vis),
            Item::Enum(item) => is_built(&item.attrs) && is_public(&item.vis),
            Item::Fn(item) => is_built(&item.attrs) && is_public(&item.vis),
            Item::Impl(item) => is_built(&item.attrs) && !item.trait_.as_ref().is_some_and(|(_, path, _)| is_own(path)),
            _ => true,
        };
        let is_ours = |name: &str| exported.contains(name);
        let is_public_function = in_public_module && matches!(item, Item::Fn(_));
        let Some(shown) = built.then(|| shown(item, &|name| is_ours(name) || is_public_function)).flatten() else { continue };
        let name = match &shown {
            Item::Struct(item) => item.ident.to_string(),
            Item::Enum(item) => item.ident.to_string(),
            Item::Trait(item) => item.ident.to_string(),
            Item::Impl(syn::ItemImpl { self_ty, .. }) => match &**self_ty {
                Type::Path(path) => path.path.segments.last().expect("a type has a name").ident.to_string(),
                _ => continue,
            },
            _ => String::new(),
        };
        let mut text = prettyplease::unparse(&syn::File { shebang: None, attrs: vec![], items: vec![shown] });
        if !derived.is_empty() {
            text = format!("#[derive({})]\n{text}", derived.join(", "));
        }
        pieces.entry(name).or_default().insert(text);
    }
    let mut text =
        String::from("// Written by the test `interface` (`UPDATE=1 cargo test -p congruent interface`): do not edit.\n");
    text += &format!("\n// Exported: {}\n", exported.into_iter().collect::<Vec<_>>().join(" "));
    for piece in pieces.into_values().flatten() {
        text += "\n";
        text += &piece;
    }
    text
}

fn is_committed(folder: &str, listed: &str) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (path, text) = (here.join("tests/interface").join(listed), listing(&here.join(folder)));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (before, now): (BTreeSet<&str>, BTreeSet<&str>) = (committed.lines().collect(), text.lines().collect());
    let gone: Vec<_> = before.difference(&now).map(|line| format!("- {line}")).collect();
    let new: Vec<_> = now.difference(&before).map(|line| format!("+ {line}")).collect();
    assert!(
        committed == text,
        "the public interface of {folder} is not what {} lists. What goes or changes breaks kernels, and asks for another version; \
         UPDATE=1 writes it anew.\n{}",
        path.display(),
        [gone, new].concat().join("\n")
    );
}

#[test]
fn the_public_interface_of_the_library_is_the_one_that_is_committed() {
    is_committed(".", "congruent.txt");
}

#[test]
fn the_public_interface_of_its_geometry_is_the_one_that_is_committed() {
    is_committed("../geometry", "geometry.txt");
}

/// What is said of an item.
fn said(attributes: &[Attribute]) -> String {
    let lines =
        attributes.iter().filter(|attribute| attribute.path().is_ident("doc")).filter_map(|attribute| match &attribute.meta {
            syn::Meta::NameValue(value) => match &value.value {
                syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(line), .. }) => Some(line.value()),
                _ => None,
            },
            _ => None,
        });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn every_call_that_can_fail_names_its_errors_or_a_call_that_has_the_same() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut calls = 0;
    for (_, item) in items(&root, &root.join("lib.rs")) {
        let Item::Impl(block) = item else { continue };
        for part in block.items {
            let ImplItem::Fn(call) = part else { continue };
            let syn::ReturnType::Type(_, returned) = &call.sig.output else { continue };
            let fails = written(returned).contains("Error");
            if !(fails && is_public(&call.vis) && is_built(&call.attrs)) {
                continue;
            }
            calls += 1;
            let (name, text) = (&call.sig.ident, said(&call.attrs));
            let (_, errors) = text.split_once("# Errors").unwrap_or_else(|| panic!("`{name}` does not say how it fails"));
            let errors = errors.split("# Panics").next().unwrap_or_default();
            assert!(
                errors.contains("`Error::")
                    || errors.contains("`ConfigError`]")
                    || errors.contains("](Self::")
                    || errors.contains("[`Congruent::"),
                "`{name}` names no error: {errors}"
            );
        }
    }
    assert!(calls > 30, "{calls} calls are not all of them");
}

/// The type as it is written.
fn written(returned: &Type) -> String {
    let file: syn::File = syn::parse_quote!(type Returned = #returned;);
    prettyplease::unparse(&file)
}

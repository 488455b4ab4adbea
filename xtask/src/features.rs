//! Each set of at most two features of pool-core compiles, and all together.

use std::fs;
use std::path::Path;

use crate::cargo::{cargo, succeed};

pub(crate) fn run(root: &Path) -> Result<(), String> {
    let manifest = fs::read_to_string(root.join("pool-core/Cargo.toml")).map_err(|error| error.to_string())?;
    let features = features(&manifest);
    for set in sets(&features) {
        eprintln!("features: {}", if set.is_empty() { "none" } else { &set });
        let check = ["check", "--quiet", "--package", "pool-core", "--no-default-features", "--features", &set];
        succeed(&mut cargo(root, &check)).map_err(|error| format!("with the features `{set}`: {error}"))?;
    }
    Ok(())
}

/// The names in the table of features.
fn features(manifest: &str) -> Vec<&str> {
    let table = manifest.lines().skip_while(|line| *line != "[features]").skip(1);
    let lines = table.take_while(|line| !line.starts_with('['));
    let names = lines.filter_map(|line| line.split_once(" =")).map(|(name, _)| name);
    names.filter(|name| *name != "default" && !name.starts_with('#')).collect()
}

/// None, each one, each two, and all.
fn sets(features: &[&str]) -> Vec<String> {
    let mut sets = vec![String::new()];
    for (i, one) in features.iter().enumerate() {
        sets.push((*one).to_owned());
        sets.extend(features[i + 1..].iter().map(|other| format!("{one},{other}")));
    }
    sets.push(features.join(","));
    sets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_at_most_two_and_all() {
        let manifest = "[package]\nname = \"x\"\n[features]\ndefault = [\"a\"]\n# Text = more.\na = []\nb = [\"dep:b\"]\nc = []\n\n[d]\ne = 1";
        let features = features(manifest);
        assert_eq!(features, ["a", "b", "c"]);
        assert_eq!(sets(&features), ["", "a", "a,b", "a,c", "b", "b,c", "c", "a,b,c"]);
    }
}

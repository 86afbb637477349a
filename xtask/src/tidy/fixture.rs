//! Fixtures: every folder of them says in a README where its files come from.

use super::finding::Finding;
use super::source::Tree;

/// Checks that each folder named `fixtures` holds a `README.md`.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let folders = tree.folders.iter();
    let folders = folders.filter(|folder| folder.rsplit('/').next() == Some("fixtures"));
    let unexplained = folders.filter(|folder| {
        let readme = format!("{folder}/README.md");
        !tree.texts.iter().any(|text| text.path == readme)
    });
    let message = "no README.md: say what each file is, how it was made, and what must hold";
    unexplained
        .map(|folder| Finding::error("fixture", folder, 1, message))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::source::{Text, Tree};

    #[test]
    fn a_fixture_folder_without_a_readme_is_found() {
        let tree = Tree {
            texts: vec![Text {
                path: "a/fixtures/README.md".to_owned(),
                content: String::new(),
            }],
            sources: Vec::new(),
            folders: ["a/fixtures", "b/fixtures", "fixtures_none"]
                .map(str::to_owned)
                .to_vec(),
        };
        let paths: Vec<String> = check(&tree)
            .into_iter()
            .map(|finding| finding.path)
            .collect();
        assert_eq!(paths, ["b/fixtures"]);
    }
}

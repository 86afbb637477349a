//! The house rules that a machine can keep: floors, purity, sizes, names, marks and words.
//!
//! Each rule is a file in this folder and turns sources into [`Finding`]s. A finding of a rule that
//! knows exceptions goes away where a comment right above the place says
//! `tidy: allow(RULE): why`; for rules about a whole file the comment may stand anywhere in it.

mod circle;
mod dialect;
mod finding;
mod fixture;
mod floor;
mod format_doc;
mod included;
mod mark;
mod mention;
mod name;
mod parameter;
mod purity;
mod size;
mod source;
mod word;

use std::path::Path;

use finding::Finding;
use source::Tree;

/// Checks all rules and prints what they found.
///
/// # Errors
/// Says how many rules are broken, or that the project can't be read.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let findings = check(root)?;
    for finding in &findings {
        println!("{finding}");
    }
    match findings.iter().filter(|f| f.is_error()).count() {
        0 => Ok(()),
        count => Err(format!("{count} house rules are broken")),
    }
}

/// Stores the present hashes of the modules that the format documents describe.
///
/// # Errors
/// Says which document can't be read or written.
pub(crate) fn accept(root: &Path) -> Result<(), String> {
    let tree = Tree::load(root)?;
    format_doc::accept(root, &tree)
}

fn check(root: &Path) -> Result<Vec<Finding>, String> {
    let tree = Tree::load(root)?;
    let mut findings = floor::check(root)?;
    for source in &tree.sources {
        findings.extend(source.parse_findings());
        findings.extend(purity::check(source));
        findings.extend(size::check(source));
        findings.extend(name::check(source));
        findings.extend(parameter::check(source));
    }
    findings.extend(circle::check(&tree));
    findings.extend(mark::check(&tree));
    findings.extend(word::check(&tree));
    findings.extend(dialect::check(&tree));
    findings.extend(fixture::check(&tree));
    findings.extend(format_doc::check(root, &tree));
    findings.extend(included::check(root, &tree));
    findings.retain(|finding| !tree.allows(finding));
    findings.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    Ok(findings)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_house_is_tidy() {
        let findings = super::check(&crate::project::root()).unwrap();
        let broken: Vec<String> = findings
            .iter()
            .filter(|finding| finding.is_error())
            .map(ToString::to_string)
            .collect();
        assert!(broken.is_empty(), "\n{}", broken.join("\n"));
    }
}

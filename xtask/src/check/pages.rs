//! Every kind of error has its page, every page its kind, and the index lists them.

use std::collections::BTreeSet;

use crate::error_pages::{FOLDER, INDEX, Kind, index, kinds};
use crate::finding::Finding;
use crate::rules::{ERROR_KINDS, ERROR_PAGE_SECTIONS};
use crate::tree::Tree;

const RULE: &str = "error-page";

/// Pages that are missing, left over, incomplete or not in the index.
pub(crate) fn errors(tree: &Tree) -> Vec<Finding> {
    let kinds = kinds(tree);
    if kinds.is_empty() {
        let advice = "no kinds found: keep rows like `NotFound = \"not_found\", retry: false;`";
        return vec![Finding::new(ERROR_KINDS, 1, RULE, advice)];
    }
    let mut findings: Vec<_> = kinds.iter().filter_map(|kind| page(tree, kind)).collect();
    let known: BTreeSet<_> = kinds.iter().map(Kind::page).collect();
    for file in tree
        .texts
        .iter()
        .filter(|file| file.path.starts_with(FOLDER))
    {
        if file.path != INDEX && !known.contains(&file.path) {
            findings.push(Finding::new(
                &file.path,
                1,
                RULE,
                "no kind has this code: remove it",
            ));
        }
    }
    if tree.text(INDEX) != Some(&index(tree)) {
        findings.push(Finding::new(INDEX, 1, RULE, "run `cargo xtask errors`"));
    }
    findings
}

fn page(tree: &Tree, kind: &Kind) -> Option<Finding> {
    let path = kind.page();
    let Some(text) = tree.text(&path) else {
        return Some(Finding::new(
            path,
            1,
            RULE,
            format!("write the page of `{}`", kind.name),
        ));
    };
    if !text.starts_with(&format!("# `{}`\n", kind.code)) {
        return Some(Finding::new(
            path,
            1,
            RULE,
            format!("begin with the title `{}`", kind.code),
        ));
    }
    let mut rest = text;
    for section in ERROR_PAGE_SECTIONS {
        let Some((_, behind)) = rest.split_once(&format!("\n{section}\n")) else {
            return Some(Finding::new(
                path,
                1,
                RULE,
                format!("add `{section}` in its place"),
            ));
        };
        rest = behind;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tests::tree;

    const DECLARED: &str = "A = \"a\", retry: true;\n";
    const PAGE: &str = "docs/errors/a.md";

    fn complete() -> String {
        format!(
            "# `a`\n\nA.\n\n{}\n\nB.\n",
            ERROR_PAGE_SECTIONS.join("\n\n")
        )
    }

    /// The places of the findings when these are the pages, and the index is right.
    fn places(pages: &[(&str, &str)]) -> Vec<String> {
        let mut files = vec![("mc-core/src/error.rs", DECLARED)];
        files.extend(pages);
        let index = index(&tree(&files));
        files.push((INDEX, &index));
        errors(&tree(&files))
            .into_iter()
            .map(|finding| finding.path)
            .collect()
    }

    #[test]
    fn a_kind_without_a_page_is_found() {
        assert_eq!(places(&[]), [PAGE]);
    }

    #[test]
    fn a_page_has_its_title_and_all_sections() {
        assert!(places(&[(PAGE, &complete())]).is_empty());
        assert_eq!(places(&[(PAGE, "# `other`\n")]), [PAGE]);
        assert_eq!(
            places(&[(PAGE, &complete().replace(ERROR_PAGE_SECTIONS[1], "## Else"))]),
            [PAGE]
        );
    }

    #[test]
    fn a_page_without_a_kind_is_found() {
        let extra = "docs/errors/gone.md";
        assert_eq!(places(&[(PAGE, &complete()), (extra, "")]), [extra]);
    }

    #[test]
    fn an_index_that_is_out_of_date_is_found() {
        let files = [
            ("mc-core/src/error.rs", DECLARED),
            (PAGE, &complete()),
            (INDEX, "old"),
        ];
        assert_eq!(errors(&tree(&files)).last().unwrap().path, INDEX);
    }

    #[test]
    fn a_table_that_cannot_be_read_is_found() {
        assert_eq!(errors(&tree(&[])).len(), 1);
    }
}

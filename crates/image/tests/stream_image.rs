//! Gzip and xz images: written, and read by the programs that others have.

mod material;

use cardkeep_image::Format;
use material::{content, image, run_tool};

fn check_decoded_by(format: Format, program: &str, arguments: &[&str]) {
    let content = content();
    if let Some((fine, decoded)) = run_tool(program, arguments, &image(format, &content)) {
        assert!(fine, "{program} {arguments:?}");
        assert!(decoded == content, "{program} {arguments:?}");
    }
}

#[test]
fn gzip_and_pigz_decode_the_image() {
    check_decoded_by(Format::Gzip, "gzip", &["-dc"]);
    check_decoded_by(Format::Gzip, "pigz", &["-dc"]);
}

#[test]
fn xz_decodes_the_image_with_one_and_more_threads() {
    check_decoded_by(Format::Xz, "xz", &["-dc", "-T1"]);
    check_decoded_by(Format::Xz, "xz", &["-dc", "-T2"]);
}

#[test]
fn xz_finds_sizes_in_all_block_headers() {
    let file = image(Format::Xz, &content());
    if let Some((fine, listing)) = run_tool("xz", &["-lvv", "--robot"], &file) {
        assert!(fine);
        let listing = String::from_utf8(listing).unwrap();
        let blocks: Vec<&str> = listing.lines().filter(|l| l.starts_with("block")).collect();
        assert_eq!(blocks.len(), 3, "{listing}");
        assert!(blocks.iter().all(|l| l.contains("\tcu\t")), "{listing}");
    }
}

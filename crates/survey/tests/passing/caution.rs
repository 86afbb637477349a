//! What is damaged, unclean or contradicts itself is not called free in passing.

use cardkeep_block::State;
use cardkeep_testkit::skip_unless_tools;

use crate::card::{MIB, changed, ext, judged};

const TOOLS: [&str; 5] = ["mke2fs", "debugfs", "mkfs.vfat", "mcopy", "mdel"];
const EXT4: [&str; 4] = ["-t", "ext4", "-b", "1024"];

#[test]
fn an_unclean_filesystem_is_used() {
    if skip_unless_tools("an_unclean_filesystem_is_used", &TOOLS) {
        return;
    }
    let clean = ext(&EXT4, 40);
    for words in [
        "feature needs_recovery\n",
        "ssv state 0\n",
        "ssv state 2\n",
        "ssv state 3\n",
        "ssv journal_dev 5\n",
    ] {
        let card = changed(&clean, words);
        assert_ne!(card, clean, "{words}");
        let (map, _) = judged(&card, Some(card.len() as u64), MIB);
        assert_eq!(map.bytes(State::Free), 0, "{words}");
    }
}

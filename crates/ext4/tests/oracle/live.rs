//! A filesystem whose power went away while it was mounted.

use cardkeep_block::{MemoryMedium, Silent, State};
use cardkeep_ext4::Ext4;
use cardkeep_testkit::{Churn, Likeness, Loop, Mount, Tool, Tree, skip_unless_root};

use crate::image::{Image, is_skipped};

fn mended(path: &std::path::Path) -> Tree {
    let (code, said) = Tool::new("e2fsck").args(["-f", "-p"]).arg(path).outcome();
    assert!(matches!(code, Some(0 | 1)), "{said}");
    let device = Loop::attach(path);
    let mount = Mount::new(device.path(), "ro").unwrap();
    Tree::read(mount.path()).unwrap()
}

/// The copy comes back from e2fsck with the same files as the card itself.
#[test]
fn a_card_pulled_while_mounted_comes_back() {
    let test = "a_card_pulled_while_mounted_comes_back";
    if is_skipped(test) || skip_unless_root(test) {
        return;
    }
    for (round, options) in [
        &["-t", "ext4", "-b", "1024"][..],
        &["-t", "ext3"],
        &["-t", "ext4", "-O", "^64bit,^huge_file"],
    ]
    .into_iter()
    .enumerate()
    {
        let image = Image::make(options, 64);
        let pulled = image.aside("pulled");
        {
            let device = Loop::attach(&image.path());
            let mount = Mount::new(device.path(), "noatime").unwrap();
            Churn::unix(mount.path(), round as u64)
                .run_journalled(150)
                .unwrap();
            std::fs::copy(image.path(), &pulled).unwrap();
        }
        std::fs::copy(&pulled, image.path()).unwrap();
        let medium = MemoryMedium::from_bytes(&image.bytes());
        let fs = Ext4::load(&medium).unwrap();
        assert!(!fs.info().is_clean);
        let map = fs.allocation_map(&Silent).unwrap();
        assert!(map.bytes(State::Free) > 5 << 20, "{options:?}");
        let copy = image.aside("copy");
        std::fs::write(&copy, image.restored(&map)).unwrap();
        let (one, two) = (mended(&pulled), mended(&copy));
        assert!(one.count() > 300, "{}", one.count());
        assert_eq!(
            one.differences(&two, Likeness::Inodes),
            Vec::<String>::new()
        );
    }
}

//! The view of a failing source in the hands of any thread: it owns all that it reads.

use std::sync::Arc;
use std::thread::{JoinHandle, spawn};

use cardkeep_block::{Extent, ReadAt, Silent, State};
use cardkeep_copy::{FailingSource, Rescuing, Unattended, untried};
use cardkeep_image::Format;
use cardkeep_testkit::Fault;

use crate::bench::{FRAME, MemoryShelf, Way, card, expected};

const BAD: Extent = Extent::between(FRAME + 51_200, FRAME + 52_224);

#[test]
fn threads_of_another_engine_read_a_failing_source() {
    let (card, map) = card();
    card.declare(Fault::Unreadable(BAD));
    let card = Arc::new(card);
    let source = FailingSource {
        source: Arc::clone(&card) as Arc<dyn ReadAt>,
        wanted: Arc::new(map.clone()),
        shelf: Arc::new(MemoryShelf::new()),
        attendant: Arc::new(Unattended),
        policy: Way::new(Format::Zstd).policy,
        monitor: Arc::new(Silent),
        read_through_bytes: 4096,
    };
    let view = Arc::new(Rescuing::new(source, untried(&map), 0).unwrap());
    let read = |extent: Extent| -> JoinHandle<(Extent, Vec<u8>)> {
        let view = Arc::clone(&view);
        spawn(move || {
            (
                extent,
                view.read_vec(extent.start(), extent.len() as usize)
                    .unwrap(),
            )
        })
    };
    let threads: Vec<_> = map.extents(State::Used).map(read).collect();
    let whole = expected(&card, &map, &[BAD]);
    for thread in threads {
        let (extent, found) = thread.join().unwrap();
        let place = extent.start() as usize..extent.end() as usize;
        assert!(found == whole[place], "{extent}");
    }
    assert_eq!(view.report().lost, [BAD]);
    assert!(view.failure().is_none());
}

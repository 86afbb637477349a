//! Originals of which a part dies or never comes.

use std::sync::Arc;

use cardkeep_block::{BufferPool, Patches};
use cardkeep_copy::{CopyError, MediumOriginal, Original, Take, Wanted, WriteMode};

use crate::card::{OLD, card, layout, looks_bootable, original, run};

/// An original of which a part dies or never comes.
struct Broken<'a> {
    whole: MediumOriginal<'a>,
    breaks: fn(usize) -> bool,
}

impl Original for Broken<'_> {
    fn deliver(
        &self,
        wanted: Wanted<'_>,
        pool: &Arc<BufferPool>,
        take: Take<'_>,
    ) -> Result<(), CopyError> {
        self.whole.deliver(wanted, pool, &mut |frame| {
            if (self.breaks)(frame.index) {
                return Ok(true);
            }
            take(frame)
        })
    }

    fn is_repeatable(&self) -> bool {
        true
    }

    fn known_bytes(&self) -> Option<u64> {
        self.whole.known_bytes()
    }

    fn frames_under_way(&self) -> usize {
        self.whole.frames_under_way()
    }
}

#[test]
fn a_card_that_lacks_a_frame_is_never_taken_for_good() {
    let (medium, map) = original();
    let patches = Patches::default();
    for mode in [WriteMode::All, WriteMode::Differing] {
        let original = Broken {
            whole: MediumOriginal {
                medium: &medium,
                layout: layout(&map, &patches),
            },
            breaks: |index| index == 3,
        };
        let card = card();
        let error = run(&original, &card, mode).unwrap_err();
        assert!(matches!(error, CopyError::Internal(_)), "{error}");
        assert!(!looks_bootable(&card));
    }
}

#[test]
fn nobody_waits_for_a_thread_that_died() {
    let (medium, map) = original();
    let patches = Patches::default();
    let original = Broken {
        whole: MediumOriginal {
            medium: &medium,
            layout: layout(&map, &patches),
        },
        breaks: |index| {
            assert!(index != 3, "as a broken original would");
            false
        },
    };
    for mode in [WriteMode::All, WriteMode::Differing] {
        let error = run(&original, &card(), mode).unwrap_err();
        let CopyError::Original(error) = error else {
            panic!("{error}")
        };
        assert!(matches!(*error, CopyError::Internal(_)), "{error}");
    }
}

#[test]
fn an_original_that_fails_before_its_first_frame_costs_no_card() {
    struct Damaged;
    impl Original for Damaged {
        fn deliver(
            &self,
            _: Wanted<'_>,
            _: &Arc<BufferPool>,
            _: Take<'_>,
        ) -> Result<(), CopyError> {
            Err(CopyError::Index("it can't be decoded".into()))
        }

        fn is_repeatable(&self) -> bool {
            true
        }

        fn known_bytes(&self) -> Option<u64> {
            None
        }

        fn frames_under_way(&self) -> usize {
            1
        }
    }
    for mode in [WriteMode::All, WriteMode::Differing, WriteMode::Resumed] {
        let card = card();
        let error = run(&Damaged, &card, mode).unwrap_err();
        assert!(matches!(error, CopyError::Original(_)), "{error}");
        assert!(card.to_vec().iter().all(|&byte| byte == OLD));
    }
}

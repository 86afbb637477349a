//! What cards are restored from: media, images with an index, streams.

use std::io::Read;
use std::sync::Mutex;

use cardkeep_block::{
    AllocationMap, Extent, MemoryMedium, Patch, Patches, ReadAt, Silent, State, WriteAt,
};
use cardkeep_copy::{
    CopyError, Ending, IndexedOriginal, Knowledge, Layout, MediumOriginal, Recipient,
    StreamOriginal, WriteMode, restore,
};
use cardkeep_image::{
    Container, EncodeOptions, FRAME_BYTES, Format, FrameDigest, Manifest, load_index, stream,
};
use cardkeep_survey::Scope;
use cardkeep_testkit::{Fault, FaultyMedium, RequestKind, Times};

use crate::card::{
    CARD_LEN, FRAME, LEN, card, check, layout, looks_bootable, options, original, run,
};

/// The bytes of an image whose pieces hold `piece_len` bytes of content each.
fn image(format: Format, piece_len: usize) -> Vec<u8> {
    let (medium, map) = original();
    let mut content = medium.to_vec();
    for run in map.runs().filter(|run| run.state != State::Used) {
        content[run.extent.start() as usize..run.extent.end() as usize].fill(0);
    }
    let mut container = Container::new(format, &EncodeOptions::default()).unwrap();
    let mut encoder = container.encoder().unwrap();
    let mut bytes = container.prologue();
    let mut digests = Vec::new();
    for part in content.chunks(piece_len) {
        let mut piece = Vec::new();
        let info = encoder.encode(part, &mut piece).unwrap();
        container.add(&piece, &info).unwrap();
        bytes.extend(piece);
        digests.push(Some(FrameDigest::of(part)));
    }
    let everything = AllocationMap::all(LEN, State::Used);
    let manifest = Manifest::new("test", everything, digests);
    if format != Format::Zstd || piece_len == FRAME_BYTES {
        bytes.extend(container.epilogue(&manifest).unwrap());
    }
    bytes
}

#[test]
fn images_with_an_index_arrive_whatever_the_size_of_their_pieces() {
    let (_, map) = original();
    let patches = Patches::default();
    for (format, piece_len) in [
        (Format::Zstd, FRAME_BYTES),
        (Format::Zstd, 1_000_000),
        (Format::Zstd, LEN as usize),
        (Format::Xz, 1_000_000),
        (Format::Xz, 9_000_001),
    ] {
        let file = MemoryMedium::from_bytes(&image(format, piece_len));
        let index = load_index(&file).unwrap().unwrap();
        for cores in [1, 3] {
            let original = IndexedOriginal {
                image: &file,
                index: &index,
                layout: layout(&map, &patches),
                cores,
            };
            let card = card();
            run(&original, &card, WriteMode::All).unwrap();
            check(&card, &format!("{format:?} {piece_len} {cores}"));
        }
    }
}

#[test]
fn a_stream_arrives_and_can_be_read_again_where_it_is_a_file() {
    let (_, map) = original();
    let patches = Patches::default();
    let bytes = image(Format::Gzip, 100_000);
    let opened = Mutex::new(0);
    let open = || -> Result<Box<dyn Read + Send>, CopyError> {
        *opened.lock().unwrap() += 1;
        Ok(stream(Format::Gzip, std::io::Cursor::new(bytes.clone()))?)
    };
    let lost = |times| Fault::DropsWrites {
        extent: Extent::between(FRAME + 4096, FRAME + 8192),
        times: Times::First(times),
    };
    for (is_repeatable, times) in [(true, 0), (true, 1), (false, 0), (false, 1)] {
        *opened.lock().unwrap() = 0;
        let original = StreamOriginal {
            open: &open,
            is_repeatable,
            knowledge: Knowledge::Layout(layout(&map, &patches)),
        };
        let card = FaultyMedium::new(card()).with(lost(times));
        let result = run(&original, &card, WriteMode::All);
        if is_repeatable || times == 0 {
            result.unwrap();
            check(&card, "stream");
            assert_eq!(*opened.lock().unwrap(), 1 + times);
        } else {
            assert!(matches!(result, Err(CopyError::BadCard(_))));
        }
    }
}

#[test]
fn a_stream_ends_where_its_only_card_fails_long_before_its_end() {
    let content = vec![7; 20 * FRAME_BYTES];
    let len = content.len() as u64;
    let (map, patches) = (AllocationMap::all(len, State::Used), Patches::default());
    let open = || -> Result<Box<dyn Read + Send>, CopyError> {
        Ok(Box::new(std::io::Cursor::new(content.clone())))
    };
    let known = Knowledge::Layout(Layout {
        content_len: len,
        ..layout(&map, &patches)
    });
    let unknown = |len_max| Knowledge::Nothing {
        ending: Ending::Whole,
        len_max,
        sector_bytes: 512,
        scope: Scope::Everything,
    };
    for (knowledge, card_len) in [(known, len), (unknown(len), len), (unknown(FRAME), FRAME)] {
        let original = StreamOriginal {
            open: &open,
            is_repeatable: false,
            knowledge,
        };
        let card = MemoryMedium::new(card_len);
        let card = FaultyMedium::new(card).with(Fault::GoneAfterWrites(5));
        run(&original, &card, WriteMode::All).unwrap_err();
    }
}

#[test]
fn a_stream_of_which_nothing_is_known_arrives_whole_with_its_zeros() {
    let bytes = image(Format::Gzip, 100_000);
    let open = || -> Result<Box<dyn Read + Send>, CopyError> {
        Ok(stream(Format::Gzip, std::io::Cursor::new(bytes.clone()))?)
    };
    let unknown = |len_max| StreamOriginal {
        open: &open,
        is_repeatable: false,
        knowledge: Knowledge::Nothing {
            ending: Ending::Whole,
            len_max,
            sector_bytes: 512,
            scope: Scope::UsedOnly,
        },
    };
    let card = FaultyMedium::new(card());
    run(&unknown(CARD_LEN), &card, WriteMode::All).unwrap();
    let zeros = card
        .writes()
        .into_iter()
        .filter(|write| write.kind == RequestKind::Zeros && write.extent.len() == FRAME)
        .count();
    assert_eq!(zeros, 1);
    let mut content = Vec::new();
    open().unwrap().read_to_end(&mut content).unwrap();
    assert!(card.read_vec(0, LEN as usize).unwrap() == content);
    let short = MemoryMedium::new(LEN - 512);
    let error = run(&unknown(LEN - 512), &short, WriteMode::All).unwrap_err();
    assert!(matches!(error, CopyError::Original(e) if matches!(*e, CopyError::TooLong { .. })));
    assert!(!looks_bootable(&short));
}

#[test]
fn patches_take_the_place_of_the_originals_bytes() {
    let (medium, map) = original();
    let patches = Patches::new(vec![Patch::new(100, vec![9; 50])]);
    let original = MediumOriginal {
        medium: &medium,
        layout: layout(&map, &patches),
    };
    let card = card();
    run(&original, &card, WriteMode::All).unwrap();
    assert_eq!(card.read_vec(100, 50).unwrap(), [9; 50]);
    card.write_at(100, &medium.read_vec(100, 50).unwrap())
        .unwrap();
    check(&card, "the rest");
}

#[test]
fn an_image_that_is_not_what_it_says_stops_every_card_before_it_is_bootable() {
    let (medium, map) = original();
    let patches = Patches::default();
    let digests = vec![None, None, Some(FrameDigest::of(b"other"))];
    let original = MediumOriginal {
        medium: &medium,
        layout: Layout {
            digests: &digests,
            ..layout(&map, &patches)
        },
    };
    let cards = [card(), card()];
    let recipients = cards.each_ref().map(|card| Recipient {
        card,
        monitor: &Silent,
    });
    for result in restore(&original, &recipients, options(WriteMode::All)) {
        let Err(CopyError::Original(error)) = result else {
            panic!("{result:?}")
        };
        assert!(matches!(&*error, CopyError::Mismatch { extent, .. }
            if *extent == Extent::between(2 * FRAME, 3 * FRAME)));
    }
    assert!(cards.iter().all(|card| !looks_bootable(card)));
}

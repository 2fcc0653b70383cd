//! Readers of graph formats: what they read, and that no bytes make them panic.

use std::io::Cursor;

use proptest::prelude::*;
use ringfence_format::{
    flatbuffer, paddle,
    protobuf::{Writer, is_plausible},
    schema::{Schema, survey},
    sstable, xml,
};

/// A table of one data block, as LevelDB writes it.
fn table(entries: &[(&[u8], &[u8])]) -> Vec<u8> {
    let varint = |number: usize| {
        let mut bytes = Vec::new();
        ringfence_format::protobuf::append_varint(&mut bytes, number as u64);
        bytes
    };
    let block = |entries: &[(&[u8], &[u8])]| {
        let mut body = Vec::new();
        for (key, value) in entries {
            body.extend([varint(0), varint(key.len()), varint(value.len())].concat());
            body.extend([*key, *value].concat());
        }
        body.extend([0, 0, 0, 0, 1, 0, 0, 0]);
        let checksum = sstable::mask(sstable::crc32c(&body, Some(0)));
        (body.len(), [body.as_slice(), &[0], &checksum.to_le_bytes()].concat())
    };
    let (data_bytes, data) = block(entries);
    let (meta_bytes, meta) = block(&[]);
    let handle = [varint(0), varint(data_bytes)].concat();
    let (index_bytes, index) = block(&[(b"~", &handle)]);
    let places =
        [varint(data.len()), varint(meta_bytes), varint(data.len() + meta.len()), varint(index_bytes)].concat();
    let mut footer = places;
    footer.resize(40, 0);
    [data, meta, index, footer, sstable::MAGIC.to_le_bytes().to_vec()].concat()
}

#[test]
fn a_sorted_table_reads_back() {
    let bytes = table(&[(b"", b"header"), (b"a", b"1"), (b"ab", b"22")]);
    let read = sstable::read(&bytes).unwrap();
    assert_eq!(read.flaws, []);
    let entries: Vec<(&[u8], &[u8])> = read.entries.iter().map(|entry| (entry.key.as_slice(), entry.value)).collect();
    assert_eq!(entries, [(&b""[..], &b"header"[..]), (b"a", b"1"), (b"ab", b"22")]);
    for entry in &read.entries {
        let at = usize::try_from(entry.offset).unwrap();
        assert_eq!(bytes.get(at..at + entry.value.len()), Some(entry.value));
    }
}

#[test]
fn what_is_wrong_with_a_table_is_said() {
    let disordered = table(&[(b"b", b"1"), (b"a", b"2")]);
    assert!(matches!(sstable::read(&disordered).unwrap().flaws.as_slice(), [sstable::Flaw::Order { .. }]));
    let mut changed = table(&[(b"a", b"1")]);
    changed[4] ^= 1;
    assert!(sstable::read(&changed).unwrap().flaws.contains(&sstable::Flaw::Checksum { offset: 0 }));
    let mut compressed = table(&[(b"a", b"1")]);
    let at = compressed.windows(8).position(|part| part == [0, 0, 0, 0, 1, 0, 0, 0]).unwrap() + 8;
    compressed[at] = 1;
    let read = sstable::read(&compressed).unwrap();
    assert!(read.flaws.iter().any(|flaw| matches!(flaw, sstable::Flaw::Unreadable { .. })));
}

#[test]
fn entities_are_not_expanded() {
    let text = "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;&lt;</a>";
    let texts = xml::read(text).filter_map(|event| match event {
        Ok((_, xml::Event::Text(text))) => Some(text.into_owned()),
        _ => None,
    });
    assert_eq!(texts.collect::<Vec<String>>().concat(), "&b;<");
}

#[test]
fn plausible_messages_end_where_the_source_ends() {
    let mut writer = Writer::new();
    writer.varint(1, 7).text(2, "text").bytes(3, &[0; 300]);
    let bytes = writer.finish();
    assert!(is_plausible(&mut Cursor::new(&bytes)).unwrap());
    assert!(!is_plausible(&mut Cursor::new(&bytes[..bytes.len() - 1])).unwrap());
    assert!(!is_plausible(&mut Cursor::new(b"")).unwrap());
}

/// Follows every reference of a table, a few levels deep.
fn follow(table: flatbuffer::Table<'_>, depth: u32) {
    for field in 0..table.field_count().min(12) {
        let _ = (table.u8(field), table.i32(field), table.u64(field), table.has(field), table.text(field));
        for width in [1, 4, 8] {
            let _ = table.vector(field, width).map(|vector| vector.map(|vector| vector.bytes().len()));
        }
        if let (Ok(references), true) = (table.references(field), depth > 0) {
            references
                .texts()
                .take(20)
                .for_each(|text| assert!(text.is_ok_and(|text| text.len() < 1_000) || text.is_err()));
            references.tables().take(20).flatten().for_each(|inner| follow(inner, depth - 1));
        }
        if let (Ok(Some(inner)), true) = (table.table(field), depth > 0) {
            follow(inner, depth - 1);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn flatbuffers_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..400), small in any::<bool>()) {
        if small {
            // Small numbers are offsets that stay inside.
            bytes.iter_mut().enumerate().for_each(|(at, byte)| *byte = if at % 4 == 0 { *byte % 64 } else { 0 });
        }
        if let Ok(table) = flatbuffer::root(&bytes) {
            follow(table, 3);
        }
    }

    #[test]
    fn tables_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), at in any::<prop::sample::Index>(), value in any::<u8>()) {
        let random = [bytes.as_slice(), &sstable::MAGIC.to_le_bytes()].concat();
        let _ = sstable::read(&random);
        let mut good = table(&[(b"", b"h"), (b"key", &bytes)]);
        let at = at.index(good.len());
        good[at] = value;
        let _ = sstable::read(&good);
    }

    #[test]
    fn any_entries_read_back(values in prop::collection::btree_map(prop::collection::vec(any::<u8>(), 0..20), prop::collection::vec(any::<u8>(), 0..40), 0..20)) {
        let entries: Vec<(&[u8], &[u8])> = values.iter().map(|(key, value)| (key.as_slice(), value.as_slice())).collect();
        let bytes = table(&entries);
        let read = sstable::read(&bytes).unwrap();
        prop_assert_eq!(read.entries.len(), entries.len());
        prop_assert!(read.flaws.is_empty());
        for length in 0..bytes.len() {
            let _ = sstable::read(&bytes[..length]);
        }
    }

    #[test]
    fn xml_never_panics_and_moves_on(text in "[<>/!?a b=\"'&;#x\\[\\]\\-DOCTYPEN]{0,60}") {
        let mut before = 0;
        for event in xml::read(&text).take(200) {
            let Ok((offset, _)) = event else { break };
            prop_assert!(offset >= before);
            before = offset;
        }
    }

    #[test]
    fn surveys_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), pick in 0..8_usize) {
        let names = ["SavedModel", "MetaGraphDef", "GraphDef", "TrackableObjectGraph", "ModelProto", "Model", "ProgramDesc", "NetParameter"];
        let schemas = [Schema::tensorflow(), Schema::onnx(), Schema::coreml(), Schema::paddle(), Schema::others()];
        for view in schemas.into_iter().filter_map(|schema| schema.view(names[pick], &bytes)) {
            let found = survey(&view);
            prop_assert!(!(found.is_exact() && found.unknown_bytes > 0));
            view.fields().for_each(drop);
            view.children().for_each(drop);
        }
        let _ = is_plausible(&mut Cursor::new(&bytes));
        let _ = paddle::read(&mut Cursor::new(&bytes));
    }
}

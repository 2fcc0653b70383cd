//! Any bytes as the texts that stand beside models: a document, a template, source code; and the scanner over them.
#![no_main]
use std::io::Cursor;

use ringfence_format::{
    document::{Event, Sink, json, yaml},
    jinja, python,
};

/// Counts how deep it is: a document that ends has closed what it opened.
#[derive(Default)]
struct Depth(i64);

impl Sink for Depth {
    fn event(&mut self, event: Event<'_>, _at: u64) {
        match event {
            Event::MapStart | Event::ListStart => self.0 += 1,
            Event::MapEnd | Event::ListEnd => self.0 -= 1,
            _ => {}
        }
        assert!(self.0 >= 0);
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut depth = Depth::default();
    if json::read(&mut &*data, &mut depth).is_ok() {
        assert_eq!(depth.0, 0);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let mut depth = Depth::default();
        if yaml::read(text, &mut depth).1.is_ok() {
            assert_eq!(depth.0, 0);
        }
        let _ = jinja::read(text);
        let mut end = 0;
        python::read(text, &mut |line| {
            assert!(!line.tokens.is_empty() && line.at < text.len());
            end = end.max(line.at);
        });
    }
    let _ = ringfence_scan::scan_file("fuzz", &mut Cursor::new(data), &ringfence_scan::Limits::default());
});

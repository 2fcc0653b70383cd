//! Any bytes as a compressed stream of every kind.
#![no_main]
use std::io::Cursor;

use ringfence_format::codec::{Codec, inflate};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    use Codec::{Bzip2, Deflate, Gzip, Lz4, Lzma, Xz, Zlib, Zstd};
    let Some((first, rest)) = data.split_first() else { return };
    let all = [Gzip, Zlib, Deflate, Bzip2, Xz, Lzma, Zstd, Lz4];
    for codec in [Codec::of(data).map(|codec| (codec, data)), Some((all[usize::from(*first) % all.len()], rest))] {
        let Some((codec, bytes)) = codec else { continue };
        let inflated = inflate(&mut Cursor::new(bytes), codec, 1 << 20).expect("memory does not fail");
        assert!(inflated.bytes.len() <= 1 << 20 && inflated.consumed <= bytes.len() as u64);
    }
});

//! Any bytes as a TensorBoard event file that grows: the first byte says in pieces of what size.
#![no_main]
use ringfence_sandbox::run::claims::tfevents::EventFile;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((piece, data)) = data.split_first() else { return };
    let mut file = EventFile::new("logs/validation/events.out.tfevents.1");
    let mut broken = 0;
    for piece in data.chunks(usize::from(*piece).max(1)) {
        broken += usize::from(file.push(piece, &mut |told| assert!(told.loss.is_none_or(f64::is_finite))).is_err());
    }
    assert!(broken <= 1);
});

//! Any bytes as every root message of the published tables.
#![no_main]
use ringfence_format::schema::{Schema, View, survey};

const ROOTS: [(fn() -> &'static Schema, &str); 9] = [
    (Schema::tensorflow, "SavedModel"),
    (Schema::tensorflow, "GraphDef"),
    (Schema::tensorflow, "SavedMetadata"),
    (Schema::tensorflow, "TrackableObjectGraph"),
    (Schema::onnx, "ModelProto"),
    (Schema::coreml, "Model"),
    (Schema::paddle, "ProgramDesc"),
    (Schema::others, "NetParameter"),
    (Schema::others, "SentencePieceModel"),
];

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((pick, bytes)) = data.split_first() else { return };
    let (schema, name) = ROOTS[usize::from(*pick) % ROOTS.len()];
    let view = schema().view(name, bytes).expect("the tables have their roots");
    let found = survey(&view);
    assert!(!found.is_exact() || found.unknown.is_empty());
    let mut open: Vec<View<'_>> = vec![view];
    let mut visited = 0;
    while let Some(view) = open.pop() {
        visited += 1;
        if visited > 10_000 {
            break;
        }
        open.extend(view.children().map(|(_, child)| child));
    }
});

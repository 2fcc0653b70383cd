//! ONNX files: what the view shows, what rewriting keeps, what is refused.

use proptest::prelude::*;
use ringfence_format::onnx::write::{self, AttributeInput};
use ringfence_format::onnx::{AttributeValue, DataType, Dimension, Model, NoteKind, OnnxError, Payload, Type, rewrite};
use ringfence_format::protobuf::Writer;

/// A small model with an initialiser in `raw_data`, a constant in an attribute, and types.
fn sample() -> Vec<u8> {
    write::model(8, 17, "maker", |graph| {
        write::graph_name(graph, "main");
        write::float_initialiser(graph, "w", &[2, 2], &[1.0, -2.0, 0.5, 4.0]);
        write::int_initialiser(graph, "shape", &[2], &[-1, 4]);
        write::node(
            graph,
            "Gemm",
            "fc",
            &["x", "w", ""],
            &["y"],
            &[
                ("alpha", AttributeInput::Float(0.5)),
                ("transB", AttributeInput::Int(1)),
                ("kernel", AttributeInput::Ints(&[-3, 300])),
                ("mode", AttributeInput::Text("edge")),
                ("table", AttributeInput::FloatTensor(&[1], &[7.0])),
            ],
        );
        write::input(graph, "x", &[None, Some(2)]);
        write::output(graph, "y", &[None, Some(2)]);
    })
}

/// A model whose graph holds one tensor, written field by field.
fn with_tensor(build: impl Fn(&mut Writer)) -> Vec<u8> {
    let mut model = Writer::new();
    model.message(7, |graph| _ = graph.message(5, |tensor| build(tensor)));
    model.finish()
}

#[test]
fn shows_everything_with_its_place() {
    let file = sample();
    let model = Model::parse(&file).unwrap();
    assert_eq!((model.ir_version, model.producer_name, model.opsets[0].version), (8, "maker", 17));
    assert!(model.notes.is_empty());
    let graph = model.graph.as_ref().unwrap();
    let node = &graph.nodes[0];
    assert_eq!((node.op_type, node.name, &node.inputs[..]), ("Gemm", "fc", &["x", "w", ""][..]));
    let values: Vec<_> = node.attributes.iter().map(|attribute| attribute.value.clone().unwrap()).collect();
    assert_eq!(values[..3], [AttributeValue::Float(0.5), AttributeValue::Int(1), AttributeValue::Ints(vec![-3, 300])]);
    assert_eq!(values[3], AttributeValue::Bytes(b"edge"));
    let expected =
        Type::Tensor { element: DataType::Float, shape: Some(vec![Dimension::Named("batch"), Dimension::Fixed(2)]) };
    assert_eq!(graph.inputs[0].value_type, Some(expected));
    let weights = &graph.initialisers[0];
    assert_eq!(weights.floats().unwrap(), [1.0, -2.0, 0.5, 4.0]);
    let offset = weights.payload_offset().unwrap();
    assert_eq!(&file[offset..offset + 4], 1f32.to_le_bytes());
    assert_eq!(graph.initialisers[1].integers().unwrap(), [-1, 4]);
    assert_eq!(model.tensors().len(), 3);
}

#[test]
fn typed_fields_are_read_in_pieces_and_rewritten_in_place() {
    // Two packed numbers, then one alone, then an unknown field; the length of `dims` is encoded in two bytes.
    let file = with_tensor(|tensor| {
        tensor.int(1, 3).int(2, 1).text(8, "w");
        tensor.bytes(4, &[1f32.to_le_bytes(), 2f32.to_le_bytes()].concat());
        tensor.float(4, 3.0).text(99, "smuggled");
    });
    let model = Model::parse(&file).unwrap();
    let tensor = &model.graph.as_ref().unwrap().initialisers[0];
    assert_eq!(tensor.floats().unwrap(), [1.0, 2.0, 3.0]);
    assert!(matches!(tensor.payload(), Payload::Typed { field: 4, pieces: 2, bytes: 12, .. }));
    assert_eq!((model.notes[0].kind, model.notes[0].number), (NoteKind::Unknown, 99));
    let new = [4f32, 5.0, 6.0].iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    let written = rewrite(&file, &mut |_| Some(new.clone())).unwrap();
    assert_eq!(written.len(), file.len());
    let again = Model::parse(&written).unwrap();
    assert_eq!(again.graph.unwrap().initialisers[0].floats().unwrap(), [4.0, 5.0, 6.0]);
    assert_eq!(again.notes, model.notes);
}

#[test]
fn integers_as_varints_change_the_lengths_around_them() {
    let file = with_tensor(|tensor| {
        tensor.int(1, 2).int(2, 7).packed_ints(7, &[1, 2]).text(8, "n");
    });
    let new = [300i64, -1].iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    let written = rewrite(&file, &mut |_| Some(new.clone())).unwrap();
    assert_eq!(written.len(), file.len() + 10);
    let again = Model::parse(&written).unwrap();
    let tensor = &again.graph.as_ref().unwrap().initialisers[0];
    assert_eq!((tensor.integers().unwrap(), tensor.name), (vec![300, -1], "n"));
}

#[test]
fn rewriting_keeps_what_it_is_not_asked_to_change() {
    let mut file = sample();
    // Bytes that no schema knows, behind the model; and a length that takes a byte more than needed.
    file.extend([0xfa, 0x3f, 0x81, 0x00, 0x2a]);
    assert_eq!(rewrite(&file, &mut |_| None).unwrap(), file);
    let new = [0u8; 16];
    let written = rewrite(&file, &mut |tensor| (tensor.name == "w").then(|| new.to_vec())).unwrap();
    let offset = Model::parse(&file).unwrap().graph.unwrap().initialisers[0].payload_offset().unwrap();
    let mut expected = file.clone();
    expected[offset..offset + 16].fill(0);
    assert_eq!(written, expected);
}

#[test]
fn payloads_that_lie_are_refused() {
    type Build = fn(&mut Writer);
    let cases: &[(&str, Build)] = &[
        ("too short", |t| _ = t.int(1, 2).int(2, 1).bytes(9, &[0; 4])),
        ("too long", |t| _ = t.int(1, 1).int(2, 1).bytes(9, &[0; 8])),
        ("negative dimension", |t| _ = t.int(1, -1).int(2, 1).bytes(9, &[])),
        ("overflowing dimensions", |t| _ = t.int(1, i64::MAX).int(1, 4).int(2, 1).bytes(9, &[])),
        ("two places", |t| _ = t.int(1, 1).int(2, 1).bytes(9, &[0; 4]).float(4, 1.0)),
        ("wrong field", |t| _ = t.int(1, 1).int(2, 1).packed_ints(7, &[1])),
        ("another file", |t| _ = t.int(1, 1).int(2, 1).int(14, 1)),
        ("text", |t| _ = t.int(1, 1).int(2, 8).text(6, "a")),
        ("missing", |t| _ = t.int(1, 1).int(2, 1)),
    ];
    for (what, build) in cases {
        let file = with_tensor(build);
        let model = Model::parse(&file).unwrap();
        let tensor = &model.graph.as_ref().unwrap().initialisers[0];
        assert!(tensor.floats().is_err(), "{what}");
        assert!(rewrite(&file, &mut |_| Some(vec![0; 4])).is_err(), "{what}");
    }
}

#[test]
fn ambiguous_models_are_refused_or_noted() {
    let mut twice = sample();
    twice.extend(with_tensor(|tensor| _ = tensor.int(2, 1)));
    let offset = sample().len();
    assert_eq!(Model::parse(&twice).unwrap_err(), OnnxError::Repeated { message: "ModelProto", number: 7, offset });
    let mut renamed = sample();
    renamed.extend({
        let mut writer = Writer::new();
        writer.text(2, "other maker");
        writer.finish()
    });
    let model = Model::parse(&renamed).unwrap();
    assert_eq!(
        (model.producer_name, model.notes[0].kind, model.notes[0].offset),
        ("other maker", NoteKind::Repeated, offset)
    );
    let mut bad_text = Writer::new();
    bad_text.bytes(2, &[0xff]);
    assert_eq!(Model::parse(&bad_text.finish()), Err(OnnxError::Text { offset: 2 }));
}

#[test]
fn values_beside_the_declared_one_are_shown() {
    let mut model = Writer::new();
    model.message(7, |graph| {
        graph.message(1, |node| {
            node.message(5, |attribute| _ = attribute.text(1, "a").int(3, 5).text(4, "hidden").int(20, 2));
        });
    });
    let file = model.finish();
    let model = Model::parse(&file).unwrap();
    let attribute = &model.graph.as_ref().unwrap().nodes[0].attributes[0];
    assert_eq!(attribute.value, Some(AttributeValue::Int(5)));
    assert_eq!(attribute.others, [AttributeValue::Bytes(b"hidden")]);
}

proptest! {
    #[test]
    fn mutated_files_never_panic(changes in prop::collection::vec((any::<usize>(), any::<u8>()), 0..8), cut in any::<usize>()) {
        let mut file = sample();
        for (place, byte) in changes {
            let place = place % file.len();
            file[place] = byte;
        }
        file.truncate(file.len() - cut % 4);
        if let Ok(model) = Model::parse(&file) {
            for (_, tensor) in model.tensors() {
                let _ = (tensor.floats(), tensor.integers(), tensor.payload_offset());
            }
            if let Ok(written) = rewrite(&file, &mut |_| None) {
                prop_assert_eq!(written, file);
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Model::parse(&bytes);
        let _ = rewrite(&bytes, &mut |_| Some(Vec::new()));
    }
}

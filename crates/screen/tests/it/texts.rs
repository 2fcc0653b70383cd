//! Labelled texts out of tables and lines of JSON.

use std::io::Cursor;

use ringfence_screen::{LabelledText, ScreenError, texts};

fn read(bytes: &[u8], text: &str, label: &str) -> Result<Vec<(String, String)>, ScreenError> {
    let pair = |LabelledText { text, label }| (text, label);
    Ok(texts(&mut Cursor::new(bytes), text, label)?.into_iter().map(pair).collect())
}

#[test]
fn texts_are_taken_as_they_are() {
    let table = "review,id,class\n\"a, \"\"b\"\"\n c \",1, 0\nNA,2,1\n007,3,positive\n";
    let wanted = [("a, \"b\"\n c ", "0"), ("NA", "1"), ("007", "positive")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(read(table.as_bytes(), "review", "class").unwrap(), wanted);
    assert_eq!(read(b"good day\t1\nbad day\t0\n", "0", "1").unwrap()[1], ("bad day".into(), "0".into()));
    let lines = b"{\"in\":{\"text\":\"so\\u200b it\"},\"y\":1}\n{\"in\":{\"text\":\"or\"},\"y\":\"no\"}\n";
    let found = read(lines, "in.text", "y").unwrap();
    assert_eq!(found, [("so\u{200b} it".into(), "1".into()), ("or".into(), "no".into())]);
}

#[test]
fn what_lacks_a_text_is_named() {
    let error = |bytes: &[u8]| read(bytes, "text", "label").unwrap_err().to_string();
    assert!(error(b"text,class\na,1\n").contains("`label`"));
    assert!(error(b"text,label\na,1\nb\n").contains("record 1"), "{}", error(b"text,label\na,1\nb\n"));
    assert!(error(b"text,label\n\xff\xfe,1\n").contains("`text`"));
    assert!(error(b"text,label\na, \n").contains("`label`"));
    assert!(error(b"{\"text\":null,\"label\":1}\n").contains("`text`"));
    assert!(error(b"{\"text\":\"a\",\"text\":\"b\",\"label\":1}\n").contains("record 0"));
    assert!(read(b"\x00\x00\x08\x01\x00\x00\x00\x01\x05", "text", "label").is_err());
}

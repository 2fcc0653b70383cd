//! Every page without a server: what it looks like, that nothing hostile becomes markup, that everybody can read it.

mod looks;
mod read;
mod sample;

use std::{collections::BTreeSet, fmt::Write as _};

use ringfence_server::pages::{assets, paths};

use read::{Element, elements};

/// Elements that pages are made of.
const ELEMENTS: &str = "a article bdi b body br button caption circle code dd desc details div dl dt fieldset figcaption figure \
     footer form g h1 h2 h3 head header html input label legend li line link main meta meter nav noscript ol option p path \
     polygon polyline pre rect script section select span summary svg table tbody td text textarea th thead time title tr \
     tspan ul";
/// Attributes that they have; those that carry addresses or data are looked at more closely.
const ATTRIBUTES: &str = "action aria-current aria-describedby aria-hidden aria-label aria-labelledby aria-live autocapitalize \
     autocomplete charset checked class content cx cy d datetime defer disabled for height hidden href id lang max maxlength \
     method min name open points r rel required role rows rx scope selected spellcheck src tabindex text-anchor title \
     transform type value viewBox viewbox width x x1 x2 y y1 y2";

#[test]
fn pages_as_they_are() {
    for (name, page) in sample::pages(&str::to_owned, 2) {
        insta::assert_snapshot!(format!("page-{name}"), lines(page));
    }
    for (name, page) in sample::empty_pages() {
        insta::assert_snapshot!(format!("empty-{name}"), lines(page));
    }
}

/// A page as a snapshot: an element a line, without the versions of style and script.
fn lines(page: maud::Markup) -> String {
    let page =
        page.into_string().replace(assets::style_path(), paths::STYLE).replace(assets::script_path(), paths::SCRIPT);
    page.replace("><", ">\n<")
}

/// What is wrong with the markup of a page, for a browser that believes every tag.
fn foreign(page: &str) -> String {
    let (known, carried): (BTreeSet<&str>, BTreeSet<&str>) =
        (ELEMENTS.split_whitespace().collect(), ATTRIBUTES.split_whitespace().collect());
    let (mut wrong, mut scripts) = (String::new(), 0);
    for Element { name, attributes, .. } in elements(page) {
        if !known.contains(name.as_str()) {
            writeln!(wrong, "element {name}").unwrap();
        }
        for (attribute, value) in &attributes {
            let data = attribute.starts_with("data-");
            if !data && !carried.contains(attribute.as_str()) {
                writeln!(wrong, "attribute {attribute} of {name}").unwrap();
            }
            let address =
                matches!(attribute.as_str(), "href" | "src" | "action" | "data-begin" | "data-finish" | "data-live");
            let inside = value.starts_with('#')
                || (value.starts_with('/') && !value.starts_with("//") && !value.starts_with("/\\"));
            if address && !inside {
                writeln!(wrong, "{attribute} of {name} leads to {value}").unwrap();
            }
            if attribute == "class" && value.contains(['<', '"', '\'']) {
                writeln!(wrong, "class {value}").unwrap();
            }
        }
        if name == "script" {
            scripts += 1;
            if attributes.get("src").map(String::as_str) != Some(assets::script_path()) {
                writeln!(wrong, "another script").unwrap();
            }
        }
    }
    if scripts != 1 {
        writeln!(wrong, "{scripts} scripts").unwrap();
    }
    let hidden = |c: &char| {
        (c.is_control() && !matches!(c, '\n' | '\t'))
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
    };
    if let Some(character) = page.chars().find(hidden) {
        writeln!(wrong, "a hidden character: {}", character.escape_unicode()).unwrap();
    }
    wrong
}

#[test]
fn hostile_text_stays_text() {
    let cases: Vec<String> =
        include_str!("pages/hostile.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(cases.len() >= 200, "{}", cases.len());
    let shape = |page: &str| -> Vec<String> { elements(page).into_iter().map(|element| element.name).collect() };
    let plain: BTreeSet<String> =
        sample::pages(&str::to_owned, 2).into_iter().flat_map(|(_, page)| shape(&page.into_string())).collect();
    for case in &cases {
        for (name, page) in sample::pages(&|_| case.clone(), 2) {
            let page = page.into_string();
            let wrong = foreign(&page);
            assert!(wrong.is_empty(), "{name} with {case:?}:\n{wrong}");
            let new: Vec<String> = shape(&page).into_iter().filter(|element| !plain.contains(element)).collect();
            assert!(new.is_empty(), "{name} with {case:?}: new elements {new:?}");
        }
    }
}

#[test]
fn the_checker_finds_what_it_looks_for() {
    let script = format!("<script src=\"{}\"></script>", assets::script_path());
    assert_eq!(foreign(&script), "");
    for bad in [
        "<img src=/x>",
        "<p onclick=x>",
        "<p style=x>",
        "<a href=javascript:x>",
        "<a href=//evil.example>",
        "<a href=/\\evil.example>",
        "<script>x</script>",
        "<p>\u{202e}</p>",
    ] {
        assert_ne!(foreign(&format!("{script}{bad}")), "", "{bad}");
    }
}

#[test]
fn a_hundred_rows_weigh_less_than_60_kilobytes() {
    let heavy: Vec<String> = sample::pages(&str::to_owned, 100)
        .into_iter()
        .map(|(name, page)| (name, page.into_string().len()))
        .filter(|(_, bytes)| *bytes >= 60_000)
        .map(|(name, bytes)| format!("{name}: {bytes}"))
        .collect();
    assert!(heavy.is_empty(), "{heavy:?}");
    assert!(assets::STYLE.len() + assets::SCRIPT.len() < 30_000);
    assert!(assets::SCRIPT.lines().count() < 200, "{}", assets::SCRIPT.lines().count());
}

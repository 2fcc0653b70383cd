//! What can be said of accessibility without a browser: names, headings, landmarks, tables, contrast.

use std::collections::{BTreeMap, BTreeSet};

use ringfence_server::pages::assets;

use super::{
    read::{Element, elements},
    sample,
};

/// What is wrong with a page.
fn faults(page: &str) -> Vec<String> {
    let all = elements(page);
    let mut faults = Vec::new();
    let count = |name: &str| all.iter().filter(|element| element.name == name).count();
    for (name, wanted) in [("h1", 1), ("main", 1), ("header", 1), ("footer", 1), ("title", 1)] {
        let found = if name == "title" { usize::from(count("title") > 0) } else { count(name) };
        if found != wanted {
            faults.push(format!("{found} of {name}"));
        }
    }
    if all
        .first()
        .is_none_or(|html| html.name != "html" || html.attributes.get("lang").map(String::as_str) != Some("en"))
    {
        faults.push("no language".into());
    }
    let mut level = 0;
    for heading in all.iter().filter_map(|element| element.name.strip_prefix('h')?.parse::<u8>().ok()) {
        if heading > level + 1 {
            faults.push(format!("h{heading} after h{level}"));
        }
        level = heading;
    }
    let mut ids = BTreeSet::new();
    for id in all.iter().filter_map(|element| element.attributes.get("id")) {
        if !ids.insert(id.as_str()) {
            faults.push(format!("two of id {id}"));
        }
    }
    let labelled: BTreeSet<&str> = all
        .iter()
        .filter(|element| element.name == "label")
        .filter_map(|label| label.attributes.get("for"))
        .map(String::as_str)
        .collect();
    for (place, Element { name, attributes, text }) in all.iter().enumerate() {
        let named = attributes.contains_key("aria-label") || attributes.contains_key("aria-labelledby");
        let kind = attributes.get("type").map_or("", String::as_str);
        let label = attributes.get("id").is_some_and(|id| labelled.contains(id.as_str()));
        let wrapped = matches!(kind, "checkbox" | "radio") && place > 0 && all[place - 1].name == "label";
        match name.as_str() {
            "input" | "select" | "textarea" if kind != "hidden" && !label && !wrapped && !named => {
                faults.push(format!("a {name} without a label: {attributes:?}"));
            }
            "svg" if attributes.get("aria-hidden").is_none() && !(named && attributes.contains_key("role")) => {
                faults.push("a picture without a name".into());
            }
            "th" if !attributes.contains_key("scope") => faults.push(format!("th without a scope: {text}")),
            "form" if attributes.get("method").map(String::as_str) == Some("post") => {
                let inside = all[place + 1..].iter().take_while(|element| element.name != "form");
                let token = inside
                    .into_iter()
                    .any(|element| element.attributes.get("name").map(String::as_str) == Some("form_token"));
                let outside = !page.contains("/sign-out");
                if !token && !outside {
                    faults.push(format!("a form without a token: {attributes:?}"));
                }
            }
            _ => {}
        }
        for pointer in ["aria-labelledby", "aria-describedby", "for"] {
            if let Some(target) = attributes.get(pointer)
                && !ids.contains(target.as_str())
            {
                faults.push(format!("{pointer} of {name} points to {target}, which is not there"));
            }
        }
        if let Some(target) = attributes.get("href").and_then(|href| href.strip_prefix('#'))
            && !ids.contains(target)
        {
            faults.push(format!("#{target} is not there"));
        }
    }
    faults
}

#[test]
fn pages_can_be_read_by_everybody() {
    let pages = sample::pages(&str::to_owned, 5).into_iter().chain(sample::empty_pages());
    let wrong: Vec<String> = pages
        .flat_map(|(name, page)| faults(&page.into_string()).into_iter().map(move |fault| format!("{name}: {fault}")))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(faults("<html><main><h1></h1><h3></h3><input></main>").len() >= 5);
}

/// Relative luminance of `#rrggbb` (WCAG 2.2, "relative luminance").
fn luminance(color: &str) -> f64 {
    let channel = |place: usize| {
        let value = f64::from(u8::from_str_radix(&color[place..place + 2], 16).unwrap()) / 255.0;
        if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
}

fn contrast(a: &str, b: &str) -> f64 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[test]
fn text_stands_out_in_light_and_dark() {
    assert!((contrast("#000000", "#ffffff") - 21.0).abs() < 1e-9);
    // Light; dark by the reader's system; dark by the switch.
    let palettes = [palette(0), palette(1), palette(2)];
    assert_eq!(palettes[1], palettes[2], "the two dark palettes are the same");
    for colors in &palettes {
        for text in ["--ink", "--quiet", "--link", "--good", "--warn", "--bad"] {
            for ground in ["--paper", "--soft"] {
                let found = contrast(&colors[text], &colors[ground]);
                assert!(found >= 4.5, "{text} on {ground}: {found:.2}");
            }
        }
        for (text, ground) in [
            ("--good", "--good-soft"),
            ("--warn", "--warn-soft"),
            ("--bad", "--bad-soft"),
            ("--ink", "--bad-soft"),
            ("--ink", "--warn-soft"),
            ("--paper", "--link"),
            ("--paper", "--bad"),
        ] {
            let found = contrast(&colors[text], &colors[ground]);
            assert!(found >= 4.5, "{text} on {ground}: {found:.2}");
        }
        for line in ["--a", "--b", "--c", "--d"] {
            let found = contrast(&colors[line], &colors["--paper"]);
            assert!(found >= 3.0, "{line}: {found:.2}");
        }
    }
}

/// The n-th palette of the style sheet.
fn palette(number: usize) -> BTreeMap<String, String> {
    let (at, _) = assets::STYLE.match_indices("--ink:").nth(number).unwrap();
    let block = assets::STYLE[at..].split('}').next().unwrap();
    let pairs = block.split(';').filter_map(|pair| pair.trim().split_once(": "));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

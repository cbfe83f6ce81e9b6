//! What people read: a calm deploy, what clients are told, and every error of the deploy logic.

mod calm_deploy;
mod errors;
mod failures;

/// A text without what differs from run to run or from build to build: ids, hashes, digests and wall clocks.
fn masked(text: &str) -> String {
    let is_part = |character: char| character.is_ascii_alphanumeric() || character == '-';
    let mut masked = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_part) {
        let length = rest[start..].find(|character| !is_part(character)).unwrap_or(rest.len() - start);
        let (before, token) = (&rest[..start], &rest[start..start + length]);
        masked.push_str(before);
        masked.push_str(mask(token).unwrap_or(token));
        rest = &rest[start + length..];
    }
    masked + rest
}

fn mask(token: &str) -> Option<&'static str> {
    let is_hex = token.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_number = token.bytes().all(|byte| byte.is_ascii_digit());
    match token.len() {
        36 if token.parse::<uuid::Uuid>().is_ok() => Some("<id>"),
        64 if is_hex => Some("<sha256>"),
        13 if is_number => Some("<epoch ms>"),
        8 if is_hex => Some("<short>"),
        _ => None,
    }
}

#[test]
fn what_differs_from_run_to_run_is_masked_and_nothing_else() {
    let text = "row 6f1b2ad0-54b4-4f5e-8c2c-0a2f3f2f9f10 at 1735689600049.0@n1 has tree 0badcafe, 120320 bytes in all";
    assert_eq!(masked(text), "row <id> at <epoch ms>.0@n1 has tree <short>, 120320 bytes in all");
}

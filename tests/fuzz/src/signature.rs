//! The signature header: one spelling of 64 bytes, and only that of the body is verified.

use arbitrary::Arbitrary;
use roomz_protocol::{Secrets, Signature};

use crate::SECRETS;

#[derive(Arbitrary)]
struct Signed<'a> {
    body: &'a [u8],
    split: u8,
    secret: u8,
    edits: Vec<(u8, u8)>,
    length: Option<u8>,
}

pub fn run(input: &[u8]) {
    let generated: Option<Signed<'_>> = crate::generate(input);
    let (body, split) = generated.as_ref().map_or((&b"{}"[..], 0), |it| (it.body, usize::from(it.split)));
    let text = generated.as_ref().map_or(input.to_vec(), |signed| {
        let mut text = SECRETS[usize::from(signed.secret) % 3].sign(body).to_base64().into_bytes();
        for (at, byte) in &signed.edits {
            text[usize::from(*at) % 88] = *byte;
        }
        text.resize(signed.length.map_or(88, usize::from), b'=');
        text
    });

    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
    // 86 characters are 516 bits, and the last four are zero.
    let is_spelled = text.len() == 88
        && text[..86].iter().all(is_base64)
        && b"AQgw".contains(&text[85])
        && text.ends_with(b"==");
    let parsed = Signature::from_base64(&text);
    assert_eq!(parsed.is_ok(), is_spelled);
    let Ok(signature) = parsed else { return };
    assert_eq!(signature.to_base64().as_bytes(), text);

    let secrets = Secrets::new(SECRETS[..2].iter().cloned()).unwrap();
    let expected = SECRETS[..2].iter().position(|secret| secret.sign(body).to_base64().as_bytes() == text);
    assert_eq!(secrets.verify(body, &signature).ok(), expected);
    let mut verifier = secrets.verifier();
    let (first, second) = body.split_at(split.min(body.len()));
    verifier.update(first);
    verifier.update(second);
    assert_eq!(verifier.verify(&signature).ok(), expected);
}

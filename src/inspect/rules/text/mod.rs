//! From octets to comparable text: character sets, old Vietnamese encodings, HTML, encoded words, folded forms.

pub mod charset;
pub mod encoded;
pub mod fold;
pub mod html;
pub mod legacy;

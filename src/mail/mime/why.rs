//! What makes clients differ: a word for each ambiguity. The words are stable; findings, rules and the documentation
//! (`mime-readings.md`) quote them.

/// One ambiguity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Why {
    /// Several Content-Type fields that differ.
    ContentTypeTwice,
    /// A media type that is none, or with white space, quotes or comments in it.
    ContentTypeBroken,
    /// White space or a control character in the name of a Content field.
    FieldName,
    /// Control characters or lone carriage returns among the header fields.
    HeaderControls,
    /// A line of blanks, or one that is no field, which some take for the end of the header section.
    HeaderEnd,
    /// Content fields behind the empty line.
    LateHeader,
    /// Lone carriage returns that some take for line ends.
    LineEnds,
    /// Several boundaries are named, or one that can be read in several ways.
    BoundaryUnclear,
    /// No delimiter of the named boundary is in the body.
    BoundaryMissing,
    /// More than one of the possible boundaries divides the body.
    BoundaryTwice,
    /// A line that is a delimiter only for those who compare its beginning, or skip what stands before it.
    DelimiterNear,
    /// Parts before the first delimiter.
    PreambleParts,
    /// Parts behind the closing delimiter.
    EpilogueParts,
    /// Parts inside a part that is no multipart.
    HiddenParts,
    /// Several Content-Transfer-Encoding fields that differ.
    EncodingTwice,
    /// An encoding whose name stands among noise.
    EncodingBroken,
    /// A multipart with a transfer encoding (RFC 2045 §6.4).
    EncodedMultipart,
    /// Base64 that decoders finish at different places or with different octets.
    Base64Unclear,
    /// Quoted-printable with broken escapes in something that is no text.
    QuotedUnclear,
    /// Several Content-Disposition fields that differ.
    DispositionTwice,
    /// A text whose character set hides it from those who do not know that set (UTF-7).
    CharsetHidden,
}

impl Why {
    pub const ALL: [Self; 21] = [
        Self::ContentTypeTwice,
        Self::ContentTypeBroken,
        Self::FieldName,
        Self::HeaderControls,
        Self::HeaderEnd,
        Self::LateHeader,
        Self::LineEnds,
        Self::BoundaryUnclear,
        Self::BoundaryMissing,
        Self::BoundaryTwice,
        Self::DelimiterNear,
        Self::PreambleParts,
        Self::EpilogueParts,
        Self::HiddenParts,
        Self::EncodingTwice,
        Self::EncodingBroken,
        Self::EncodedMultipart,
        Self::Base64Unclear,
        Self::QuotedUnclear,
        Self::DispositionTwice,
        Self::CharsetHidden,
    ];

    /// The stable word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::ContentTypeTwice => "content-type-twice",
            Self::ContentTypeBroken => "content-type-broken",
            Self::FieldName => "field-name",
            Self::HeaderControls => "header-controls",
            Self::HeaderEnd => "header-end",
            Self::LateHeader => "late-header",
            Self::LineEnds => "line-ends",
            Self::BoundaryUnclear => "boundary-unclear",
            Self::BoundaryMissing => "boundary-missing",
            Self::BoundaryTwice => "boundary-twice",
            Self::DelimiterNear => "delimiter-near",
            Self::PreambleParts => "preamble-parts",
            Self::EpilogueParts => "epilogue-parts",
            Self::HiddenParts => "hidden-parts",
            Self::EncodingTwice => "encoding-twice",
            Self::EncodingBroken => "encoding-broken",
            Self::EncodedMultipart => "encoded-multipart",
            Self::Base64Unclear => "base64-unclear",
            Self::QuotedUnclear => "quoted-unclear",
            Self::DispositionTwice => "disposition-twice",
            Self::CharsetHidden => "charset-hidden",
        }
    }
}

//! What the gateway cannot do yet: vector, demand, reason. The list may only shrink.

const PREVIEW: &str = "held mail is shown nowhere as a page: there is no console";

pub const NOT_YET: &[(&str, &str, &str)] = &[
    ("D-eml-charset-utf7", "preview", PREVIEW),
    ("D-eml-log-inject", "preview", PREVIEW),
    ("D-eml-xss-base-meta", "preview", PREVIEW),
    ("D-eml-xss-form-action", "preview", PREVIEW),
    ("D-eml-xss-headers", "preview", PREVIEW),
    ("D-eml-xss-srcdoc", "preview", PREVIEW),
    ("D-eml-xss-svg-animate", "preview", PREVIEW),
];

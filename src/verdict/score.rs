//! Weights and thresholds: what a finding of a built-in check is worth, and what a sum of points leads to.
//! `[verdict] weights` overrides any of these; a code that stands nowhere is worth nothing.

use super::settings::Verdict;
use super::{Action, Mode, Weighed};

/// Points by code. What has an action of its own (`decide.rs`) needs no points to be acted on.
pub const WEIGHTS: &[(&str, f64)] = &[
    // Authentication (THREATS §3). Failing DMARC has its own action; these are for domains without a policy.
    ("spf.fail", 2.5),
    ("spf.softfail", 1.0),
    ("spf.permerror", 0.5),
    ("spf.fail-unsigned", 2.5),
    ("spf.helo-fail", 1.0),
    ("spf.permissive", 1.0),
    ("spf.weak-pass", 4.0),
    ("sender.own-domain", 5.0),
    ("auth.failed", 5.0),
    ("dkim.fail", 0.5),
    ("dkim.permerror", 0.3),
    ("dkim.policy", 0.3),
    ("dkim.replay-suspect", 1.5),
    ("dkim.too-many", 1.0),
    ("dmarc.fail", 2.0),
    ("iprev.fail", 0.8),
    ("iprev.permerror", 0.5),
    ("helo.mismatch", 0.3),
    ("arc.fail", 0.3),
    // Signatures (THREATS §5).
    ("smime.altered", 6.0),
    ("smime.wrong-sender", 5.0),
    ("smime.revoked", 4.0),
    ("smime.partial", 4.0),
    ("smime.weak", 0.5),
    ("smime.expired", 0.5),
    ("smime.efail", 5.0),
    // Header (THREATS ).
    ("header.duplicate", 5.0),
    ("header.malformed", 1.5),
    ("header.bidi", 3.0),
    ("header.odd", 0.3),
    ("from.bidi", 3.0),
    // THREATS: marked at least.
    ("from.display-address", 5.0),
    ("from.vip-display", 6.0),
    ("from.lookalike", 5.0),
    ("from.malformed", 3.0),
    ("received.forged", 2.0),
    // Structure and attachments (THREATS §4). Ambiguity is held by class; these add up beside it.
    ("mime.ambiguous", 2.0),
    ("mime.malformed", 0.7),
    ("mime.unknown-encoding", 1.0),
    ("attachment.executable", 9.0),
    ("attachment.script", 7.0),
    ("attachment.macro", 5.0),
    ("attachment.shortcut", 7.0),
    ("attachment.disguised", 6.0),
    ("attachment.type-mismatch", 3.0),
    ("attachment.rlo-name", 6.0),
    ("attachment.disk-image", 5.0),
    ("archive.inconsistent", 5.0),
    ("archive.traversal", 7.0),
    ("archive.link", 3.0),
    // An archive behind a picture or a program: programs that unpack themselves are made so, pictures are not.
    ("archive.embedded", 2.0),
    // Agencies write the password into the letter too; what was found inside counts by itself.
    ("archive.password_in_text", 1.0),
    ("name.control", 2.0),
    ("name.suspicious", 2.0),
    ("name.malformed", 1.0),
    ("xml.dtd", 4.0),
    // Active content: what a document can do, then what it seems made for.
    ("macro.present", 5.0),
    ("macro.autoexec", 2.0),
    ("macro.suspicious", 3.0),
    ("macro.stomped", 6.0),
    ("macro.xlm", 5.0),
    ("office.dde", 6.0),
    ("office.external-template", 6.0),
    ("office.external-object", 3.0),
    ("office.package", 1.0),
    ("office.package-program", 7.0),
    ("office.equation", 6.0),
    ("office.activex", 2.0),
    ("office.auto-update", 3.0),
    ("office.run-program", 5.0),
    // Excel protects the structure of workbooks so too; what was found inside counts by itself.
    ("office.default-password", 2.0),
    ("office.damaged", 0.5),
    ("office.malformed", 1.0),
    ("pdf.javascript", 2.0),
    ("pdf.script-suspicious", 4.0),
    ("pdf.open-action", 2.0),
    ("pdf.launch", 7.0),
    ("pdf.submit-form", 2.0),
    ("pdf.remote-file", 4.0),
    ("pdf.rich-media", 2.0),
    ("pdf.xfa", 0.5),
    ("pdf.hidden-name", 4.0),
    ("pdf.embedded-file", 0.5),
    ("pdf.embedded-program", 7.0),
    ("pdf.polyglot", 7.0),
    ("pdf.malformed", 1.0),
    // A signature that does not hold promises what is not so; one of an unknown authority says nothing.
    ("pdf.signature-altered", 4.0),
    ("pdf.signature-modified", 2.0),
    ("pdf.signature-malformed", 3.0),
    ("pdf.signature-revoked", 3.0),
    ("pdf.signature-unverifiable", 1.0),
    ("html.smuggling", 7.0),
    ("html.obfuscated", 4.0),
    ("html.password-form", 4.0),
    ("html.redirect", 3.0),
    ("html.data-page", 4.0),
    ("html.local-program", 7.0),
    ("html.application", 7.0),
    ("svg.active", 5.0),
    ("link.command", 6.0),
    ("link.arguments", 3.0),
    ("link.padded", 4.0),
    ("link.remote", 5.0),
    ("link.overlay", 4.0),
    ("link.help-file", 4.0),
    ("script.encoded", 5.0),
    ("script.suspicious", 5.0),
    ("qr.url", 3.0),
    ("engine.macro", 5.0),
    ("hash.listed", 15.0),
    ("dnsbl.listed", 4.0),
    // Any YARA rule that is not marked as malware; `"yara.documents.macro_dropper" = 9.0` sets one by itself.
    ("yara", 4.0),
    ("yara.failed", 0.0),
    ("tnef.malformed", 1.0),
];

/// Points of `code`: the agency's own weight, else the built-in one; `yara.NAME` falls back on `yara.*`.
#[must_use]
pub fn weight(code: &str, settings: &Verdict) -> f64 {
    let mut name = code;
    loop {
        let own = settings.weights.get(name).copied();
        if let Some(points) = own.or_else(|| WEIGHTS.iter().find(|(c, _)| *c == name).map(|(_, w)| *w)) {
            return points;
        }
        match name.rsplit_once('.') {
            Some((stem, _)) => name = stem,
            None => return 0.0,
        }
    }
}

/// What the points add up to. Shadow rules count nothing; what only `tag` rules add can at most tag.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Sum {
    pub enforce: f64,
    pub total: f64,
}

#[must_use]
pub fn sum(weighed: &[Weighed]) -> Sum {
    let mut sum = Sum::default();
    for line in weighed {
        match line.mode {
            Mode::Shadow => {}
            Mode::Tag => sum.total += line.score,
            Mode::Enforce => {
                sum.enforce += line.score;
                sum.total += line.score;
            }
        }
    }
    // Tenths of a tenth are noise of the binary fractions, not evidence.
    let round = |x: f64| (x * 100.0).round() / 100.0;
    Sum { enforce: round(sum.enforce), total: round(sum.total) }
}

/// The action the points alone call for.
#[must_use]
pub fn action(sum: Sum, settings: &Verdict) -> Action {
    // Negative points of a tag rule may help a message, never points that act in full.
    let act = sum.enforce.min(sum.total.max(sum.enforce));
    if act >= settings.reject {
        Action::Reject
    } else if act >= settings.quarantine {
        Action::Quarantine
    } else if sum.total >= settings.tag || act >= settings.tag {
        Action::Tag
    } else {
        Action::Deliver
    }
}

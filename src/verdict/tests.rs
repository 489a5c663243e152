//! From facts to actions, as tables.

use std::sync::Arc;

use bytes::Bytes;

use super::attachment::settings::{Do, Rule, Trait};
use super::decide::judge_bypassed;
use super::receipt::{Outcome, render};
use super::settings::{Ambiguous, Policy, Severe, Verdict};
use super::*;
use crate::envelope::Envelope;
use crate::inspect::case::{AtomHit, PartFact, SmimeFact, SmimeStatus};
use crate::inspect::rules::{RuleSet, Source};
use crate::inspect::{AuthFacts, AuthResult, ContentFacts, Finding};
use crate::intake::Mail;
use crate::listen::{Account, ClientFacts, Role, TlsFacts};
use crate::mail::transaction::Notify;
use crate::mail::{AgencyId, Language, MailId, MailParams, Mailbox, Recipient, ReversePath, Timestamp};

fn agency(id: &str) -> AgencyId {
    id.parse().unwrap()
}

fn to(address: &str, destination: Destination) -> Recipient {
    Recipient { mailbox: Mailbox::parse(address).unwrap(), destination, original: None, notify: Notify::default() }
}

fn inward(address: &str) -> Recipient {
    to(address, Destination::Agency(agency("so-a")))
}

fn case(recipients: Vec<Recipient>, codes: &[&str], auth: AuthFacts, content: ContentFacts) -> Case {
    case_from(None, recipients, codes, auth, content)
}

fn case_from(
    tls: Option<TlsFacts>,
    recipients: Vec<Recipient>,
    codes: &[&str],
    auth: AuthFacts,
    content: ContentFacts,
) -> Case {
    let client = ClientFacts {
        address: "203.0.113.5:4711".parse().unwrap(),
        local: "192.0.2.1:25".parse().unwrap(),
        role: if tls.is_some() { Role::Relay } else { Role::Mx },
        tls,
    };
    let now = Timestamp::from_seconds(1_795_302_082);
    let sender = ReversePath::Mailbox(Mailbox::parse("a@x.vn").unwrap());
    let id = MailId::new(now, 7);
    let envelope = Envelope::open(id, now, client, "h.x.vn".into(), true, sender, MailParams::default(), recipients);
    let raw = Bytes::from_static(b"From: a@x.vn\r\nSubject: s\r\nMessage-ID: <1@x.vn>\r\n\r\nx\r\n");
    let findings = codes.iter().map(|c| Finding::new((*c).to_owned())).collect();
    Case::closed(Mail::complete(envelope, raw), auth, content, findings)
}

fn plain(codes: &[&str]) -> Case {
    case(vec![inward("b@a.vn")], codes, AuthFacts::default(), ContentFacts::default())
}

fn action_of(codes: &[&str], policy: &Policy) -> Action {
    judge(plain(codes), policy).strictest()
}

fn with(change: impl FnOnce(&mut Verdict)) -> Policy {
    let mut policy = Policy::default();
    change(&mut policy.default);
    policy
}

#[test]
fn classes_have_actions_of_their_own() {
    let policy = Policy::default();
    for (codes, expected) in [
        (&["malware.eicar"][..], Action::Quarantine),
        (&["archive.encrypted"], Action::Quarantine),
        (&["inspect.failed"], Action::Quarantine),
        (&["mime.ambiguous"], Action::Quarantine),
        (&["mime.unknown-encoding"], Action::Quarantine),
        (&["xml.dtd"], Action::Quarantine),
        (&["from.missing"], Action::Quarantine),
        (&["mime.partial"], Action::Reject),
        (&["from.multiple"], Action::Reject),
        (&["archive.unsupported"], Action::Quarantine),
        (&["loop.received"], Action::Reject),
        (&["dmarc.reject"], Action::Reject),
        (&["dmarc.quarantine"], Action::Quarantine),
        (&["from.own-domain"], Action::Reject),
        (&["dmarc.wait"], Action::Defer),
        (&["dmarc.wait", "malware.eicar"], Action::Quarantine),
        (&["dmarc.wait", "from.multiple"], Action::Reject),
        (&["spf.none"], Action::Deliver),
        (&["never.heard-of"], Action::Deliver),
        (&[], Action::Deliver),
    ] {
        assert_eq!(action_of(codes, &policy), expected, "{codes:?}");
    }
    assert_eq!(action_of(&["malware.x"], &with(|v| v.malware = Severe::Reject)), Action::Reject);
    assert_eq!(action_of(&["archive.bomb"], &with(|v| v.unscannable = Severe::Tag)), Action::Tag);
    let mut policy = Policy::default();
    policy.dmarc.reject = Severe::Tag;
    assert_eq!(action_of(&["dmarc.reject"], &policy), Action::Tag);
}

/// What left the cage decides whether the copy can go on in the original's place.
#[test]
fn ambiguous_mail_is_held_scanned_refused_or_rewritten() {
    use crate::inspect::case::{Outgoing, OutgoingKind, Released, WantsParts};
    let released = || {
        let sha256 = String::new();
        let item = Outgoing {
            kind: OutgoingKind::Message,
            level: WantsParts::None,
            offset: 0,
            length: 4,
            sha256,
            path: "canonical".into(),
        };
        Released::new(vec![item], Bytes::from_static(b"copy")).unwrap()
    };
    let octets = |judged: &Judged| judged.octets(&judged.groups()[0]);
    for (setting, without, with_copy) in [
        (Ambiguous::Hold, Action::Quarantine, Action::Quarantine),
        (Ambiguous::Scan, Action::Deliver, Action::Deliver),
        (Ambiguous::Refuse, Action::Reject, Action::Reject),
        (Ambiguous::Rewrite, Action::Quarantine, Action::Deliver),
    ] {
        let policy = with(|v| v.ambiguous = setting);
        assert_eq!(action_of(&["mime.ambiguous"], &policy), without, "{setting:?}");
        let judged = judge(plain(&["mime.ambiguous"]).with_released(released()), &policy);
        assert_eq!(judged.strictest(), with_copy, "{setting:?}");
        let is_copy = setting == Ambiguous::Rewrite;
        assert_eq!(octets(&judged) == b"copy".as_slice(), is_copy, "{setting:?}");
        let text = render(&Receipt::of(&judged, &[]), Language::En);
        assert_eq!(text.contains("written anew: canonical"), is_copy, "{text}");
    }
    // Malware in any reading is malware, and what is held stays as it came.
    let policy = with(|v| v.ambiguous = Ambiguous::Rewrite);
    let judged = judge(plain(&["mime.ambiguous", "malware.eicar"]).with_released(released()), &policy);
    assert_eq!((judged.strictest(), octets(&judged) == b"copy".as_slice()), (Action::Quarantine, false));
    // Observing changes nothing.
    let policy = with(|v| (v.ambiguous, v.observe) = (Ambiguous::Rewrite, true));
    let judged = judge(plain(&["mime.ambiguous"]).with_released(released()), &policy);
    assert_eq!((judged.strictest(), octets(&judged) == b"copy".as_slice()), (Action::Tag, false));
}

#[test]
fn points_lead_to_the_agencys_thresholds() {
    let mut policy = with(|v| {
        v.weights.insert("a.one".into(), 5.0);
        v.weights.insert("a.two".into(), 4.0);
        v.weights.insert("a.six".into(), 6.0);
    });
    for (codes, expected) in [
        (&["a.two"][..], Action::Deliver),
        (&["a.one"], Action::Tag),
        (&["a.one", "a.one"], Action::Tag),
        (&["a.one", "a.two"], Action::Quarantine),
        (&["a.one", "a.two", "a.six"], Action::Reject),
    ] {
        assert_eq!(action_of(codes, &policy), expected, "{codes:?}");
    }
    let own = Verdict { tag: 3.0, ..policy.default.clone() };
    policy.agencies.insert(agency("so-a"), own);
    assert_eq!(action_of(&["a.two"], &policy), Action::Tag, "an agency sets its own");
}

fn rules(lines: &[(&str, f64, &str, &str)]) -> Arc<RuleSet> {
    let text: String = lines
        .iter()
        .map(|(id, score, mode, finding)| {
            format!(
                "[[rule]]\nid = \"{id}\"\nscore = {score:.1}\nmode = \"{mode}\"\ndescription = {{ vi = \"mô tả\", en = \"about\" }}\n\
                 when = {{ finding = \"{finding}\" }}\n[[test]]\nrule = \"{id}\"\nhits = [{{ findings = [\"{finding}\"] }}]\nmisses = [{{}}]\n"
            )
        })
        .collect();
    Arc::new(RuleSet::from_sources(&[Source { name: "r.toml".into(), text }]).unwrap())
}

#[test]
fn modes_bound_what_a_rule_may_do() {
    let set = rules(&[
        ("SHADOW", 50.0, "shadow", "s.x"),
        ("TAGGER", 50.0, "tag", "t.x"),
        ("ACTS", 16.0, "enforce", "e.x"),
        ("SIX", 6.0, "enforce", "six.x"),
    ]);
    let policy = Policy { rules: set, ..Policy::default() };
    for (codes, expected, score) in [
        (&["s.x"][..], Action::Deliver, 0.0),
        (&["t.x"], Action::Tag, 50.0),
        (&["t.x", "six.x"], Action::Tag, 56.0),
        (&["e.x"], Action::Reject, 16.0),
    ] {
        let judged = judge(plain(codes), &policy);
        let group = &judged.groups()[0];
        assert_eq!((group.action, group.score), (expected, score), "{codes:?}");
    }
    let judged = judge(plain(&["s.x"]), &policy);
    let line = judged.groups()[0].weighed.iter().find(|w| w.code == "SHADOW").unwrap();
    assert_eq!((line.mode, line.source.as_str()), (Mode::Shadow, "r.toml:2"), "counted, without points");
}

#[test]
fn observe_tags_at_most_and_says_what_it_would_have_done() {
    let policy = with(|v| v.observe = true);
    let judged = judge(plain(&["dmarc.reject"]), &policy);
    let group = &judged.groups()[0];
    assert_eq!((group.action, group.would), (Action::Tag, Some(Action::Reject)));
    assert_eq!(action_of(&["malware.eicar"], &policy), Action::Quarantine);
    assert_eq!(action_of(&["loop.received"], &policy), Action::Reject);
    assert_eq!(judge(plain(&[]), &policy).groups()[0].would, None);
}

#[test]
fn design_5a_a_refused_copy_beside_another_is_quarantined() {
    let mut policy = Policy::default();
    policy.agencies.insert(agency("mild"), Verdict { malware: Severe::Tag, ..Verdict::default() });
    policy.agencies.insert(agency("hard"), Verdict { malware: Severe::Reject, ..Verdict::default() });
    let one = |id: &str| to("b@a.vn", Destination::Agency(agency(id)));
    let actions = |recipients| -> Vec<Action> {
        let case = case(recipients, &["malware.x"], AuthFacts::default(), ContentFacts::default());
        judge(case, &policy).groups().iter().map(|g| g.action).collect()
    };
    assert_eq!(actions(vec![one("hard"), one("mild")]), [Action::Quarantine, Action::Tag]);
    assert_eq!(actions(vec![one("hard"), one("hard")]), [Action::Reject]);
}

#[test]
fn outgoing_mail_is_not_judged_by_sender_authentication() {
    let out = to("b@far.test", Destination::Outward(agency("so-a")));
    let auth = AuthFacts { spf: AuthResult::Fail, ..AuthFacts::default() };
    let judged = judge(
        case(vec![out.clone()], &["dmarc.reject", "spf.fail"], auth, ContentFacts::default()),
        &Policy::default(),
    );
    assert_eq!((judged.strictest(), judged.groups()[0].score), (Action::Deliver, 0.0));
    let foreign = judge(
        case(vec![out.clone()], &["from.foreign-domain"], AuthFacts::default(), ContentFacts::default()),
        &Policy::default(),
    );
    assert_eq!(
        (foreign.strictest(), foreign.refusal(Language::En).enhanced()),
        (Action::Reject, "5.7.1"),
        "THREATS A-24"
    );
    let judged =
        judge(case(vec![out], &["malware.x"], AuthFacts::default(), ContentFacts::default()), &Policy::default());
    assert_eq!(judged.strictest(), Action::Quarantine);
}

#[test]
fn rfc2142_the_postmasters_desk_is_not_closed_by_spam_or_forgery() {
    for (address, code, expected) in [
        ("postmaster@a.vn", "dmarc.reject", Action::Tag),
        ("Abuse@a.vn", "dmarc.reject", Action::Tag),
        ("abuse@a.vn", "malware.x", Action::Quarantine),
        ("abuse@a.vn", "loop.received", Action::Reject),
        ("an@a.vn", "dmarc.reject", Action::Reject),
    ] {
        let judged = judge(
            case(vec![inward(address)], &[code], AuthFacts::default(), ContentFacts::default()),
            &Policy::default(),
        );
        assert_eq!(judged.strictest(), expected, "{address} {code}");
    }
}

#[test]
fn encrypted_mail_of_a_proven_sender_is_tagged_else_held() {
    let mut auth = AuthFacts::default();
    let judge_it = |auth: &AuthFacts| {
        judge(
            case(vec![inward("b@a.vn")], &["smime.encrypted"], auth.clone(), ContentFacts::default()),
            &Policy::default(),
        )
        .strictest()
    };
    assert_eq!(judge_it(&auth), Action::Quarantine);
    auth.dmarc.result = AuthResult::Pass;
    assert_eq!(judge_it(&auth), Action::Tag);
}

#[test]
fn dns_trouble_that_may_hide_a_reject_policy_waits() {
    let mut auth = AuthFacts::default();
    auth.dmarc.must_wait = true;
    let judged = judge(case(vec![inward("b@a.vn")], &[], auth, ContentFacts::default()), &Policy::default());
    assert_eq!(judged.strictest(), Action::Defer);
    let reply = judged.refusal(Language::Vi);
    assert_eq!((reply.code(), reply.enhanced()), (451, "4.7.1"));
}

#[test]
fn refusals_carry_codes_an_id_and_ascii_sentences_in_two_languages() {
    for (code, reply_code, enhanced) in [
        ("dmarc.reject", 550, "5.7.1"),
        ("from.multiple", 550, "5.6.0"),
        ("mime.partial", 550, "5.6.0"),
        ("loop.received", 554, "5.4.6"),
    ] {
        let judged = judge(plain(&[code]), &Policy::default());
        for language in [Language::Vi, Language::En] {
            let reply = judged.refusal(language);
            assert_eq!((reply.code(), reply.enhanced()), (reply_code, enhanced), "{code}");
            let id = judged.case().mail().envelope().id().to_string();
            assert_eq!(reply.lines().count(), 2);
            assert!(reply.lines().all(|l| l.is_ascii() && l.contains(&id) && l.len() < 200), "{reply}");
        }
    }
    let judged = judge(plain(&["malware.eicar"]), &with(|v| v.malware = Severe::Reject));
    assert_eq!(judged.refusal(Language::En).enhanced(), "5.7.1");
}

#[test]
fn a_receipt_names_the_account_that_logged_in() {
    let account = Account { name: "unit@a.vn".into(), agency: "so-a".parse().unwrap() };
    let tls = TlsFacts { version: "TLSv1.3".into(), account: Some(account), ..TlsFacts::default() };
    let case = case_from(Some(tls), vec![inward("b@a.vn")], &[], AuthFacts::default(), ContentFacts::default());
    let receipt = Receipt::of(&judge(case, &Policy::default()), &[]);
    assert_eq!(receipt.account.as_deref(), Some("unit@a.vn"));
    assert!(render(&receipt, Language::En).contains("Account          unit@a.vn\n"));
    let nobody = Receipt::of(&judge(plain(&[]), &Policy::default()), &[]);
    let json = serde_json::to_string(&nobody).unwrap();
    assert!(!json.contains("account") && !render(&nobody, Language::En).contains("Account"), "{json}");
    assert_eq!(serde_json::from_str::<Receipt>(&json).unwrap(), nobody, "receipts of before are read");
}

#[test]
fn a_receipt_says_who_what_why_and_not_the_subject() {
    let set = rules(&[("ACTS", 16.0, "enforce", "e.x")]);
    let policy = Policy { rules: set, hash: "abc123".into(), ..Policy::default() };
    let content = ContentFacts {
        subject: "Lương tháng 11".into(),
        atoms: vec![AtomHit { atom: 99, count: 1, sample: "x".into() }],
        ..ContentFacts::default()
    };
    let judged = judge(case(vec![inward("b@a.vn")], &["e.x", "spf.fail"], AuthFacts::default(), content), &policy);
    let mut receipt = Receipt::of(&judged, &[("inspect", 12)]);
    receipt.outcome.push(Outcome::new(Timestamp::EPOCH, "refused", vec![], "550 5.7.1"));
    let json = serde_json::to_string(&receipt).unwrap();
    assert_eq!(serde_json::from_str::<Receipt>(&json).unwrap(), receipt);
    assert!(!json.contains("Lương"), "no subject in the record");
    assert_eq!(receipt.subject_digest, super::receipt::subject_digest(receipt.id, "Lương tháng 11"));
    for wanted in ["\"client\":\"203.0.113.5:4711\"", "\"policy\":\"abc123\"", "r.toml:2", "\"spf.fail\"", "<1@x.vn>"] {
        assert!(json.contains(wanted), "{wanted} in {json}");
    }
    let (vi, en) = (render(&receipt, Language::Vi), render(&receipt, Language::En));
    assert!(vi.contains("từ chối") && vi.contains("r.toml:2") && vi.contains("550 5.7.1"), "{vi}");
    assert!(en.contains("Decision: reject") && en.contains("Because: ACTS"), "{en}");
}

/// A message with one attachment of which `code` was found.
fn attached(code: &str, destination: Destination, auth: AuthFacts, smime: SmimeStatus) -> Case {
    let part = PartFact { path: "2".into(), name: "tep.bin".into(), ..PartFact::default() };
    let smime = SmimeFact { status: smime, ..SmimeFact::default() };
    let content = ContentFacts { parts: vec![part], smime, ..ContentFacts::default() };
    let case = case(vec![to("b@a.vn", destination)], &[], auth.clone(), content.clone());
    let findings = vec![Finding::new(code.to_owned()).with("2: \"tep.bin\" …")];
    Case::closed(case.mail().clone(), auth, content, findings)
}

#[test]
fn r15_attachment_rules_act_by_agency_and_say_which_rule_and_which_part() {
    let mut policy = Policy::default();
    let here = || Destination::Agency(agency("so-a"));
    let judge_it = |code: &str, policy: &Policy| {
        judge(attached(code, here(), AuthFacts::default(), SmimeStatus::None), policy).groups()[0].clone()
    };
    // The weights are not what is tested here.
    for code in ["attachment.script", "attachment.rlo-name", "macro.present"] {
        policy.default.weights.insert(code.into(), 0.0);
    }
    let group = judge_it("attachment.script", &policy);
    assert_eq!((group.action, group.because), (Action::Quarantine, vec!["policy.programs".to_owned()]));
    let line = group.weighed.iter().find(|line| line.code == "policy.programs").unwrap();
    assert_eq!((line.detail.as_str(), line.source.as_str()), ("2: \"tep.bin\": quarantine", "[attachments]"));
    // Watched only.
    let group = judge_it("macro.present", &policy);
    let line = group.weighed.iter().find(|line| line.code == "policy.macros").unwrap();
    assert_eq!((group.action, line.mode), (Action::Deliver, Mode::Shadow));
    assert!(line.detail.ends_with("would quarantine"), "{}", line.detail);
    // An agency's own rule stands before the general ones; another agency is not touched by it.
    let own = Rule { name: "scripts".into(), is: vec![Trait::Script], action: Do::Deliver, ..Rule::default() };
    policy.own_attachments.insert(agency("so-a"), vec![own]);
    assert_eq!(judge_it("attachment.script", &policy).action, Action::Deliver);
    policy.own_attachments.insert(agency("so-b"), policy.own_attachments[&agency("so-a")].clone());
    policy.own_attachments.remove(&agency("so-a"));
    assert_eq!(judge_it("attachment.script", &policy).action, Action::Quarantine);
    policy.default.observe = true;
    let group = judge_it("attachment.script", &policy);
    assert_eq!((group.action, group.would), (Action::Tag, Some(Action::Quarantine)));
}

#[test]
fn design_9_signed_mail_is_never_stripped_it_is_held() {
    let mut policy = Policy::default();
    policy.default.weights.insert("attachment.script".into(), 0.0);
    let strip = Rule { name: "scripts".into(), is: vec![Trait::Script], action: Do::Strip, ..Rule::default() };
    policy.attachments.rule = vec![strip];
    let judge_it = |smime| {
        let case = attached("attachment.script", Destination::Agency(agency("so-a")), AuthFacts::default(), smime);
        judge(case, &policy).groups()[0].clone()
    };
    let plain = judge_it(SmimeStatus::None);
    assert_eq!((plain.action, plain.strip.len()), (Action::Tag, 1));
    let signed = judge_it(SmimeStatus::Valid);
    assert_eq!((signed.action, signed.strip.len()), (Action::Quarantine, 0));
}

#[test]
fn r48_under_the_bypass_only_engines_loops_and_foreign_authors_count() {
    let here = || vec![inward("b@a.vn")];
    let in_cage = ContentFacts { findings: vec![Finding::new("malware.yara")], ..ContentFacts::default() };
    for (codes, content, expected) in [
        (&["malware.clamav"][..], ContentFacts::default(), Action::Quarantine),
        (&["malware.yara"], in_cage, Action::Deliver),
        (&["dmarc.reject", "archive.encrypted", "attachment.executable"], ContentFacts::default(), Action::Deliver),
        (&["inspect.failed"], ContentFacts::default(), Action::Deliver),
        (&["loop.received"], ContentFacts::default(), Action::Reject),
    ] {
        let case = case(here(), codes, AuthFacts::default(), content);
        let judged = judge_bypassed(case, &Policy::default(), "on by lan until …: hỏng quy tắc");
        assert_eq!(judged.strictest(), expected, "{codes:?}");
        let group = &judged.groups()[0];
        assert!(group.weighed.iter().any(|line| line.code == "bypass.active" && line.detail.contains("lan")));
    }
}

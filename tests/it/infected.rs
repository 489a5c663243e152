//! DOMAIN R17: what leaves is filtered too. A machine of the agency that sends a virus, spam, or suddenly very much is
//! stopped, told of and counted; on the production binary, by its relay listener.

use crate::guard::events;
use crate::kit::client::Client;
use crate::kit::sink::Sink;
use crate::kit::site::Site;

const FRAUD: &str = "Business proposal: the deceased left 5 million dollars; as next of kin you share this transaction for \
    mutual benefit. Strictly confidential, utmost confidentiality: bank account details of the beneficiary.";

fn letter(body: &str) -> Vec<u8> {
    let head = "From: An <an@agency.test>\r\nTo: x@outside.example\r\nSubject: hello\r\n\
        Date: Sun, 22 Nov 2026 06:00:00 +0000\r\nMessage-ID: <1@agency.test>\r\n";
    format!("{head}\r\n{body}\r\n").into_bytes()
}

#[test]
fn domain_r17_virus_and_spam_of_an_own_machine_do_not_leave() {
    let internet = Sink::start();
    let settings = format!(
        "[deliver]\nsmart_host = \"{}\"\n\n[verdict]\nmalware = \"reject\"\ntag = 1.0\nquarantine = 2.0\nreject = 4.0\n\n",
        internet.address()
    );
    let site = Site::new("infected").relay().section(&settings);
    let gateway = site.start();
    let mut own = Client::connect(gateway.address("relay")).unwrap();
    own.say("EHLO exchange.agency.test").unwrap();
    let mut send = |body: &str| own.deliver("an@agency.test", &["x@outside.example"], &letter(body)).unwrap();
    // Put together here, so that no scanner trips over this source file.
    let eicar = ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$", "EICAR-STANDARD-", "ANTIVIRUS-TEST-FILE!$H+H*"].concat();
    let virus = send(&eicar);
    assert_eq!(virus.code, 554, "{virus:?}");
    let spam = send(FRAUD);
    assert!(spam.code >= 550, "{spam:?}");
    let good = send("Kinh gui anh, em gui bao cao thang 11.");
    assert_eq!(good.code, 250, "{good:?}");
    let left = internet.wait_for_count(1);
    assert!(left.len() == 1 && left[0].text().contains("thang 11"), "{left:?}");
    // Two refusals, two events, and no ban: whoever relays through us is an agency.
    let found = events(&site, "both refusals", |e| e.iter().filter(|e| e["reason"] == "content").count() == 2);
    let (first, second) = (&found[0], &found[1]);
    assert_eq!((&first["listener"], &first["sender"]), (&"relay".into(), &"an@agency.test".into()));
    assert!(first["rule"].as_str().unwrap().contains("malware.eicar"), "{first}");
    assert!(second["rule"].as_str().unwrap().contains("EN_ADVANCE_FEE"), "{second}");
    assert!(first["reply"].as_str().unwrap().starts_with("554 5.7.1"), "{first}");
}

#[test]
fn domain_r17_an_own_machine_that_suddenly_sends_much_is_told_of_and_stopped() {
    let internet = Sink::start();
    let settings = format!(
        "[deliver]\nsmart_host = \"{}\"\n\n[outgoing]\nsender_recipients = 80\nsudden = 3\n\n",
        internet.address()
    );
    let site = Site::new("sudden").relay().section(&settings);
    let gateway = site.start();
    let mut own = Client::connect(gateway.address("relay")).unwrap();
    own.say("EHLO exchange.agency.test").unwrap();
    own.say("MAIL FROM:<an@agency.test>").unwrap();
    let mut taken = 0;
    let over = loop {
        let answer = own.say(&format!("RCPT TO:<x{taken}@outside.example>")).unwrap();
        if answer.code != 250 {
            break answer;
        }
        taken += 1;
    };
    assert_eq!(taken, 80);
    assert!(over.text.starts_with("450 4.7.1 Too many recipients in this hour"), "{over:?}");
    let agency = |family: &str, more: &str| gateway.metric(&format!("{family}{{agency=\"so-tttt\"{more}}}"));
    assert_eq!(agency("luytre_outgoing_sudden_total", ""), 1.0, "once, past fifty");
    assert_eq!(agency("luytre_outgoing_limited_total", ",by=\"sender\""), 1.0);
    gateway.wait_for_line("whose machine it is", |line| line.contains("suddenly sends much"));
    events(&site, "the limit", |e| e.iter().any(|e| e["rule"] == "outgoing:sender"));
}

//! The control socket as commands and strangers meet it, over a real socket.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;

use super::client::Client;
use super::serve::{Control, Handler};
use super::stores::Stores;
use super::*;
use crate::env::Clock;
use crate::env::disk::{Real, Simulated};
use crate::mail::{Destination, MailId, MailParams, Parcel, ParcelMeta, Recipient, ReversePath, Span, Timestamp};
use crate::quarantine::{Held, Kind, Order, Shelf};
use crate::spool::Spool;

const NOW: Timestamp = Timestamp::from_seconds(1_795_302_082);

struct House {
    data: PathBuf,
    stores: Stores,
}

struct Desk(Stores);

impl Handler for Desk {
    fn handle(&self, request: Request, _: super::peer::Peer) -> Pin<Box<dyn Future<Output = Reply> + Send + '_>> {
        Box::pin(async move { self.0.answer(request).await.unwrap_or_else(|| Reply::failed("not here")) })
    }
}

impl House {
    async fn new(name: &str) -> Self {
        let data = std::env::temp_dir().join(format!("luytre-control-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&data).unwrap();
        let (clock, _) = Clock::by_hand(NOW);
        let registry = prometheus::Registry::new();
        let disk = Arc::new(Simulated::new(1));
        let (spool, _) = Spool::open(
            disk,
            Path::new("/d/spool"),
            crate::spool::settings::Spool { segment: crate::mail::ByteSize::mib(1), spare: 0, ..Default::default() },
            clock.clone(),
            crate::spool::metrics::Metrics::new(&registry).unwrap(),
        )
        .unwrap();
        let shelf = Shelf::open(
            Arc::new(Real),
            &data.join("quarantine"),
            crate::quarantine::settings::Quarantine::default(),
            clock.clone(),
            crate::quarantine::metrics::Metrics::new(&registry).unwrap(),
        )
        .await
        .unwrap();
        Self { data, stores: Stores { spool, shelf, clock } }
    }

    /// Serves the socket and asks from a thread of its own, as a command would.
    async fn talk<T: Send + 'static>(&self, work: impl FnOnce(PathBuf) -> T + Send + 'static) -> T {
        let control = Control::bind(&self.data).unwrap();
        let serving = tokio::spawn(control.serve(Arc::new(Desk(self.stores.clone()))));
        let data = self.data.clone();
        let result = tokio::task::spawn_blocking(move || work(data)).await.unwrap();
        serving.abort();
        let _ = serving.await;
        result
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.data);
    }
}

fn parcel(number: u64, agency: &str) -> Parcel {
    let destination = Destination::Agency(agency.parse().unwrap());
    let recipient = Recipient {
        mailbox: format!("can.bo{number}@tinh.gov.vn").parse().unwrap(),
        destination: destination.clone(),
        original: None,
        notify: crate::mail::transaction::Notify::default(),
    };
    let meta = ParcelMeta {
        id: MailId::new(NOW, u128::from(number)),
        received_at: NOW - Span::hours(number),
        sender: ReversePath::Null,
        recipients: vec![recipient],
        destination,
        params: MailParams::default(),
        sender_authenticated: false,
        subject: format!("thư {number}"),
    };
    Parcel { meta, head: "Subject: x\r\n\r\n".into(), body: Bytes::from(vec![7; 2_500_000]) }
}

fn jobs(client: &mut Client, filter: QueueFilter) -> Vec<Job> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let Reply::Jobs { jobs, next, .. } = client.ask(&Request::QueueList { filter: filter.clone(), after }).unwrap()
        else {
            panic!("no jobs")
        };
        all.extend(jobs);
        after = next;
        if after.is_none() {
            return all;
        }
    }
}

#[tokio::test]
async fn the_queue_is_listed_in_pages_and_steered() {
    let house = House::new("queue").await;
    for number in 0..250 {
        let agency = if number % 50 == 0 { "so-yte" } else { "so-tttt" };
        let parcel = Parcel { body: Bytes::from_static(b"x"), ..parcel(number, agency) };
        house.stores.spool.accept(&parcel, NOW + Span::hours(1)).await.unwrap();
    }
    let spool = house.stores.spool.clone();
    house
        .talk(move |data| {
            let mut client = Client::connect(&data).unwrap().unwrap();
            assert_eq!(jobs(&mut client, QueueFilter::default()).len(), 250);
            let only = |filter| QueueFilter { ..filter };
            let agency = only(QueueFilter { agency: Some("so-yte".parse().unwrap()), ..Default::default() });
            assert_eq!(jobs(&mut client, agency).len(), 5);
            let to = only(QueueFilter { to: Some("BO24@".to_owned()), ..Default::default() });
            assert_eq!(jobs(&mut client, to).len(), 1);
            let host = only(QueueFilter { host: Some("tinh.gov.vn".to_owned()), ..Default::default() });
            assert_eq!(jobs(&mut client, host).len(), 250);
            let from = only(QueueFilter { from: Some("<>".to_owned()), ..Default::default() });
            assert_eq!(jobs(&mut client, from).len(), 250);
            let stranger = only(QueueFilter { from: Some("x@".to_owned()), ..Default::default() });
            assert!(jobs(&mut client, stranger).is_empty());
            for (state, count) in [(State::New, 250), (State::Held, 0), (State::Deferred, 0)] {
                let state = only(QueueFilter { state: Some(state), ..Default::default() });
                assert_eq!(jobs(&mut client, state).len(), count);
            }
            let before = only(QueueFilter { before: Some(NOW - Span::hours(240)), ..Default::default() });
            let old = jobs(&mut client, before);
            assert_eq!(old.len(), 9, "taken more than ten days ago");

            let keys: Vec<JobKey> = old.iter().map(|job| job.key).collect();
            let hold = Request::QueueHold { keys: keys.clone(), held: true };
            assert_eq!(client.ask(&hold).unwrap(), Reply::Done { count: 9 });
            let held = only(QueueFilter { state: Some(State::Held), ..Default::default() });
            assert_eq!(jobs(&mut client, held).len(), 9);
            assert_eq!(client.ask(&Request::QueueRetry { keys: None }).unwrap(), Reply::Done { count: 241 });
            let remove = Request::QueueRemove { keys };
            assert_eq!(client.ask(&remove).unwrap(), Reply::Done { count: 9 });
            assert_eq!(client.ask(&remove).unwrap(), Reply::Done { count: 0 }, "gone already is no error");
            assert!(matches!(client.ask(&Request::QueueJob { key: JobKey(9999) }).unwrap(), Reply::Failed { .. }));
            assert!(matches!(client.ask(&Request::Status).unwrap(), Reply::Failed { .. }));
        })
        .await;
    assert_eq!(spool.claim_due(NOW, 1000).len(), 241);
}

#[tokio::test]
async fn a_long_queue_is_looked_through_in_bounded_steps() {
    let house = House::new("long").await;
    for number in 0..12_000 {
        let agency = if number == 11_000 { "so-yte" } else { "so-tttt" };
        let parcel = Parcel { body: Bytes::from_static(b"x"), ..parcel(number, agency) };
        house.stores.spool.accept(&parcel, NOW + Span::hours(1)).await.unwrap();
    }
    house
        .talk(|data| {
            let mut client = Client::connect(&data).unwrap().unwrap();
            let nowhere = QueueFilter { to: Some("nobody@".to_owned()), ..Default::default() };
            let (mut steps, mut after) = (0, None);
            loop {
                steps += 1;
                let ask = Request::QueueList { filter: nowhere.clone(), after };
                let Reply::Jobs { jobs, next, .. } = client.ask(&ask).unwrap() else { panic!("no jobs") };
                assert!(jobs.is_empty());
                after = next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(steps, 3, "a filter that fits nowhere keeps no request busy for long");
            let all = QueueFilter::default();
            let Reply::Jobs { jobs, .. } = client.ask(&Request::QueueList { filter: all, after: None }).unwrap() else {
                panic!("no jobs")
            };
            assert_eq!(jobs.len(), PAGE, "and a page is a page");
            // What the index knows costs one request, however long the queue.
            let one = |filter: QueueFilter| {
                let ask = Request::QueueList { filter, after: None };
                let Reply::Jobs { jobs, next, .. } = client.ask(&ask).unwrap() else { panic!("no jobs") };
                (jobs.len(), next)
            };
            let mut one = one;
            let agency = Some("so-yte".parse().unwrap());
            assert_eq!(one(QueueFilter { agency, ..Default::default() }), (1, None));
            let before = Some(NOW - Span::hours(11_990));
            assert_eq!(one(QueueFilter { before, ..Default::default() }), (9, None));
            assert_eq!(one(QueueFilter { state: Some(State::Held), ..Default::default() }), (0, None));
        })
        .await;
}

#[tokio::test]
async fn k08_a_held_message_is_shown_read_in_pieces_and_released_into_the_queue() {
    let house = House::new("held").await;
    let sent = parcel(1, "so-tttt");
    let held = Held {
        meta: sent.meta.clone(),
        kind: Kind::Malware,
        because: vec!["malware.eicar".into()],
        score: 1.0,
        held_at: NOW,
        expires_at: Timestamp::EPOCH,
        size_bytes: 0,
        from: String::new(),
        client_ip: String::new(),
        helo: String::new(),
        auth: crate::inspect::AuthFacts::default(),
        codes: Vec::new(),
        sha256: String::new(),
    };
    let key = house.stores.shelf.hold(&sent, held).await.unwrap().key();
    let whole = [&sent.head[..], &sent.body[..]].concat();
    house
        .talk(move |data| {
            let mut client = Client::connect(&data).unwrap().unwrap();
            let Reply::Held { entries, .. } =
                client.ask(&Request::QuarantineList { filter: HeldFilter::default() }).unwrap()
            else {
                panic!("no list")
            };
            assert_eq!(entries.len(), 1);
            let Reply::Message { headers, .. } = client.ask(&Request::QuarantineShow { key }).unwrap() else {
                panic!("not shown")
            };
            assert_eq!(headers, "Subject: x\r\n\r\n");
        })
        .await;
    let mut read = Vec::new();
    loop {
        let Reply::Piece { octets } = house.stores.piece(key, read.len() as u64).await else { panic!("not read") };
        let octets = base64::engine::general_purpose::STANDARD.decode(octets).unwrap();
        if octets.is_empty() {
            break;
        }
        read.extend(octets);
    }
    assert!(read == whole, "{} octets", read.len());
    let order = Order { by: "lan".into(), reason: "asked".into(), ..Order::default() };
    assert_eq!(house.stores.release(key, &order).await, Reply::Done { count: 1 });
    let Reply::Failed { why } = house.stores.release(key, &order).await else { panic!("released twice") };
    assert!(why.contains("lan"), "{why}");
    let job = house.stores.spool.claim_due(NOW, 10).remove(0);
    let going = house.stores.spool.read(job.key).await.unwrap();
    assert!(going.head.ends_with(&sent.head) && going.body == sent.body);
}

#[tokio::test]
async fn strangers_are_kept_out_and_hostile_requests_end_the_connection() {
    let house = House::new("hostile").await;
    house
        .talk(|data| {
            let mode = std::fs::metadata(socket(&data)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o660, "owner and group only");
            for frame in [&b"\xff\xff\xff\xff"[..], &b"\x00\x01\x00\x01"[..], &b"\x00\x00"[..]] {
                let mut stream = UnixStream::connect(socket(&data)).unwrap();
                stream.write_all(frame).unwrap();
                stream.shutdown(std::net::Shutdown::Write).unwrap();
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer).unwrap();
                assert!(answer.is_empty(), "{frame:?}");
            }
            let mut stream = UnixStream::connect(socket(&data)).unwrap();
            stream.write_all(b"\x00\x00\x00\x0e{\"ask\":\"fire\"}").unwrap();
            let mut length = [0; 4];
            stream.read_exact(&mut length).unwrap();
            let mut answer = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut answer).unwrap();
            assert!(String::from_utf8(answer).unwrap().contains("does not understand"));
        })
        .await;
    assert!(Client::connect(&house.data).unwrap().is_none(), "no gateway is running any more");
}

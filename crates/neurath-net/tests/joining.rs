//! How a node becomes a member, once, by invitation; and who does not.
//!
//! Invariant: whoever is refused has changed nothing.

mod common;

use std::time::Duration;

use common::{Kind, Node, PATIENCE, World, key};
use neurath_net::{
    Authority, AuthorityError, Event, Invitation, JoinAnswer, JoinError, JoinRefusal, Joined, Limits, Member, NodeKey,
    Security, Tls, join, tcp,
};

const HOUR: Duration = Duration::from_secs(3600);

fn invite(world: &World, at: &Node, valid_for: Duration) -> Invitation {
    world.authority().invite(at.id, &at.address(), valid_for).unwrap()
}

/// Joins; the node that holds the authority answers in the meantime.
fn joins(world: &World, at: &Node, invitation: &Invitation, key: &NodeKey, name: &str) -> Result<Joined, JoinError> {
    std::thread::scope(|scope| {
        let joiner = scope.spawn(|| join(invitation, key, name, Some("127.0.0.1:1"), PATIENCE));
        match at.event() {
            Event::Join(request) => {
                let members = vec![Member { node: at.id, name: "node-1".into(), address: at.address() }];
                at.handle.answer_join(request.id, world.authority().admit(&request, members).unwrap());
            }
            // The joiner says why.
            Event::Refused { .. } => {}
            other => panic!("{other:?}"),
        }
        joiner.join().unwrap()
    })
}

fn refusal(result: Result<Joined, JoinError>) -> JoinRefusal {
    match result {
        Err(JoinError::NotAdmitted(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_who_is_invited_becomes_a_node_among_nodes() {
    let world = World::new(Kind::Tls);
    let a = world.node(1);
    let text = invite(&world, &a, HOUR).to_string();
    let joined = joins(&world, &a, &text.parse().unwrap(), &key(2), "second").unwrap();
    assert_eq!((joined.credentials.cluster(), joined.credentials.name()), ("test", "second"));
    assert_eq!(joined.members, [Member { node: a.id, name: "node-1".into(), address: a.address() }]);
    let tls = Tls::new(&key(2), &joined.credentials).unwrap();
    let endpoint = tcp::listen(None, Security::Tls(tls), Limits::default()).unwrap();
    let b = Node::drive(key(2).node_id(), Box::new(endpoint));
    assert_eq!(b.handle.address(), None);
    let (mut at_b, mut at_a) = b.connect(&a);
    at_b.send(b"hello").unwrap();
    assert_eq!(at_a.hear(5), b"hello");
}

#[test]
fn an_invitation_admits_one_key_and_that_key_again() {
    let world = World::new(Kind::Tls);
    let a = world.node(1);
    let invitation = invite(&world, &a, HOUR);
    joins(&world, &a, &invitation, &key(2), "second").unwrap();
    assert_eq!(refusal(joins(&world, &a, &invitation, &key(3), "third")), JoinRefusal::Used);
    // Its answer may have been lost.
    joins(&world, &a, &invitation, &key(2), "second").unwrap();
    assert!(matches!(refusal(joins(&world, &a, &invitation, &key(2), "other")), JoinRefusal::IdentityTaken));
}

#[test]
fn an_invitation_survives_a_restart_of_the_authority_and_its_secret_is_not_kept() {
    let mut world = World::new(Kind::Tls);
    let a = world.node(1);
    let invitation = invite(&world, &a, HOUR);
    let folder = world.folder.path().join("ca");
    world.authority = Some(Authority::open(&folder).unwrap());
    joins(&world, &a, &invitation, &key(2), "second").unwrap();
    let records = std::fs::read_to_string(folder.join("records.json")).unwrap();
    let secret = bytes_of(&invitation)[..16].to_vec();
    assert!(!records.contains(&data_encoding::HEXLOWER.encode(&secret)));
    assert!(records.contains(blake3::hash(&secret).to_hex().as_str()));
}

#[test]
fn an_expired_invitation_is_refused_by_both_sides() {
    let world = World::new(Kind::Tls);
    let a = world.node(1);
    let expired = invite(&world, &a, Duration::ZERO);
    assert!(matches!(join(&expired, &key(2), "second", None, PATIENCE), Err(JoinError::Expired)));
    // A joiner whose clock is late asks all the same.
    let late = late_clock(&expired);
    assert_eq!(refusal(joins(&world, &a, &late, &key(2), "second")), JoinRefusal::Expired);
}

/// The same invitation for one who believes that it is valid for another hour.
fn late_clock(invitation: &Invitation) -> Invitation {
    forge(invitation, |bytes| {
        let until = std::time::SystemTime::now() + HOUR;
        let until = until.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        bytes[56..64].copy_from_slice(&until.to_le_bytes());
    })
}

/// The bytes of an invitation without their sum.
fn bytes_of(invitation: &Invitation) -> Vec<u8> {
    let text = invitation.to_string();
    let encoded = text.strip_prefix("neurath1.").unwrap();
    let mut bytes = data_encoding::BASE64URL_NOPAD.decode(encoded.as_bytes()).unwrap();
    bytes.truncate(bytes.len() - 4);
    bytes
}

/// An invitation with other bytes and a right sum.
fn forge(invitation: &Invitation, change: impl FnOnce(&mut Vec<u8>)) -> Invitation {
    let mut bytes = bytes_of(invitation);
    change(&mut bytes);
    let sum = blake3::hash(&bytes);
    bytes.extend_from_slice(&sum.as_bytes()[..4]);
    format!("neurath1.{}", data_encoding::BASE64URL_NOPAD.encode(&bytes)).parse().unwrap()
}

#[test]
fn a_wrong_secret_is_unknown_and_learns_nothing_else() {
    let world = World::new(Kind::Tls);
    let a = world.node(1);
    let guessed = forge(&invite(&world, &a, HOUR), |bytes| bytes[0] ^= 1);
    // Not even that the name is taken.
    assert_eq!(refusal(joins(&world, &a, &guessed, &key(2), "node-1")), JoinRefusal::Unknown);
}

#[test]
fn a_name_or_an_identity_that_is_taken_is_refused_and_the_invitation_stays_open() {
    let world = World::new(Kind::Tls);
    let a = world.node(1);
    let invitation = invite(&world, &a, HOUR);
    let taken = refusal(joins(&world, &a, &invitation, &key(2), "node-1"));
    assert_eq!(taken, JoinRefusal::NameTaken { name: "node-1".into() });
    assert_eq!(refusal(joins(&world, &a, &invitation, &key(1), "new")), JoinRefusal::IdentityTaken);
    joins(&world, &a, &invitation, &key(2), "second").unwrap();
}

#[test]
fn the_secret_is_told_only_to_the_node_and_the_cluster_of_the_invitation() {
    let (world, other) = (World::new(Kind::Tls), World::new(Kind::Tls));
    let (a, b) = (world.node(1), other.node(1));
    let elsewhere = world.authority().invite(a.id, &b.address(), HOUR).unwrap();
    let error = joins(&other, &b, &elsewhere, &key(2), "second").unwrap_err();
    assert!(error.to_string().contains("not of the cluster that the invitation is for"), "{error}");
    let third = world.node(3);
    let member = world.authority().invite(a.id, &third.address(), HOUR).unwrap();
    let error = joins(&world, &third, &member, &key(2), "second").unwrap_err().to_string();
    assert!(error.contains(&third.id.to_string()) && error.contains(&a.id.to_string()), "{error}");
}

#[test]
fn requests_beyond_the_limit_are_told_to_come_back() {
    let world = World::new(Kind::Tls);
    let a = world.node_with(1, Limits { joins_max: 1, ..Limits::default() });
    let (first, second) = (invite(&world, &a, HOUR), invite(&world, &a, HOUR));
    std::thread::scope(|scope| {
        let one = scope.spawn(|| join(&first, &key(2), "second", None, PATIENCE));
        let Event::Join(request) = a.event() else { panic!("no request") };
        assert_eq!(refusal(join(&second, &key(3), "third", None, PATIENCE)), JoinRefusal::Busy);
        a.handle.answer_join(request.id, JoinAnswer::Refused(JoinRefusal::NoAuthority));
        assert_eq!(refusal(one.join().unwrap()), JoinRefusal::NoAuthority);
    });
    // The place is free again.
    joins(&world, &a, &second, &key(3), "third").unwrap();
}

#[test]
fn an_answer_of_many_members_arrives_whole() {
    let world = World::new(Kind::Tls);
    let a = world.node(1);
    let invitation = invite(&world, &a, HOUR);
    let members: Vec<_> = (0..10_000)
        .map(|i| Member {
            node: neurath_net::NodeId(i),
            name: format!("node-{i}"),
            address: "node.example.org:7700".into(),
        })
        .collect();
    let joined = std::thread::scope(|scope| {
        let joiner = scope.spawn(|| join(&invitation, &key(2), "second", None, PATIENCE));
        let Event::Join(request) = a.event() else { panic!("no request") };
        a.handle.answer_join(request.id, world.authority().admit(&request, members.clone()).unwrap());
        joiner.join().unwrap().unwrap()
    });
    assert!(joined.members == members);
}

#[test]
fn a_folder_holds_one_authority_whose_key_is_its_owners_secret() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new(Kind::Tls);
    let folder = world.folder.path().join("ca");
    assert!(Authority::exists(&folder));
    assert!(matches!(Authority::create(&folder, "again"), Err(AuthorityError::Exists { .. })));
    let mode = std::fs::metadata(folder.join("ca.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(Authority::open(&folder).unwrap().cluster(), "test");
    std::fs::write(folder.join("records.json"), "{").unwrap();
    let error = Authority::open(&folder).err().unwrap().to_string();
    assert!(error.contains("records.json is damaged"), "{error}");
}

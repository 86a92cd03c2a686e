//! Who is let in with TLS, and who is not, whatever they say.
//!
//! Invariant: a stranger here is a client made by hand, which believes every server and shows what the test wants.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use common::{Kind, PATIENCE, World, is_closed, key, node_pem, raw_tcp, seed};
use neurath_net::{
    ALPN_CONTROL, ALPN_JOIN, ALPN_SESSION, ConnectError, ControlDialer, Credentials, CredentialsError, DialError,
    Event, NodeId, Operator, OperatorError, Role, Tls,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned};

/// Believes every server.
#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// A client that shows a certificate in PEM with the key of this number, or none.
fn stranger(address: &str, alpn: &[u8], shows: Option<(&str, u8)>) -> StreamOwned<ClientConnection, TcpStream> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous));
    let mut config = match shows {
        None => builder.with_no_client_auth(),
        Some((pem, number)) => {
            let mut pkcs8 = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
            pkcs8.extend(seed(number));
            let chain = vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()];
            builder.with_client_auth_cert(chain, PrivatePkcs8KeyDer::from(pkcs8).into()).unwrap()
        }
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    let client = ClientConnection::new(Arc::new(config), ServerName::try_from("any.invalid").unwrap()).unwrap();
    StreamOwned::new(client, raw_tcp(address))
}

fn preamble(from: NodeId, to: NodeId) -> Vec<u8> {
    [&b"NRNT\x01\0\0\0"[..], &from.0.to_le_bytes(), &to.0.to_le_bytes()].concat()
}

/// Says a right preamble; what it hears before the end is given back.
fn heard(mut stranger: StreamOwned<ClientConnection, TcpStream>, from: NodeId, to: NodeId) -> Vec<u8> {
    let mut heard = Vec::new();
    // The server may have refused already.
    let _ = stranger.write_all(&preamble(from, to));
    let mut buffer = [0; 1024];
    while let Ok(n @ 1..) = stranger.read(&mut buffer) {
        heard.extend_from_slice(&buffer[..n]);
    }
    heard
}

/// A certificate of the cluster's authority for the key of this number, that says what the test wants.
fn certified(world: &World, number: u8, uri: &str, until_year: i32) -> String {
    let read = |name: &str| std::fs::read_to_string(world.folder.path().join("ca").join(name)).unwrap();
    let ca_key = rcgen::KeyPair::from_pem(&read("ca.key")).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_pem(&read("ca.pem"), ca_key).unwrap();
    let mut pkcs8 = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    pkcs8.extend(seed(number));
    let own = rcgen::KeyPair::try_from(pkcs8).unwrap();
    let mut params = rcgen::CertificateParams::new([]).unwrap();
    params.subject_alt_names = vec![rcgen::SanType::URI(uri.try_into().unwrap())];
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(until_year, 1, 1);
    params.signed_by(&own, &issuer).unwrap().pem()
}

#[test]
fn one_without_a_certificate_hears_nothing() {
    let world = World::new(Kind::Tls);
    let b = world.node(2);
    assert_eq!(heard(stranger(&b.address(), ALPN_SESSION, None), key(1).node_id(), b.id), b"");
    let why = b.refused();
    assert!(why.contains("no certificate") || why.contains("NoCertificates"), "{why}");
}

#[test]
fn the_certificate_of_another_cluster_is_refused_on_both_sides() {
    let (world, other) = (World::new(Kind::Tls), World::new(Kind::Tls));
    let (a, b) = (other.node(1), world.node(2));
    let error = a.dial_fails(b.id, &b.address());
    assert!(error.to_string().contains("not of this cluster"), "{error}");
    b.refused();
    let pem = node_pem(&other.credentials(1), other.folder.path());
    assert_eq!(heard(stranger(&b.address(), ALPN_SESSION, Some((&pem, 1))), a.id, b.id), b"");
    let why = b.refused();
    assert!(why.contains("not of this cluster"), "{why}");
}

#[test]
fn an_operator_is_no_node() {
    let world = World::new(Kind::Tls);
    let b = world.node(2);
    let operator = world.authority().issue_operator(&key(9), "ada", PATIENCE).unwrap();
    assert_eq!(operator.role(), Role::Operator);
    let pem = node_pem(&operator, &world.folder.path().join("operator"));
    assert_eq!(heard(stranger(&b.address(), ALPN_SESSION, Some((&pem, 9))), key(9).node_id(), b.id), b"");
    let why = b.refused();
    assert!(why.contains("`ada`") && why.contains("operator"), "{why}");
    let error = Tls::new(&key(9), &operator).err().unwrap();
    assert!(matches!(&error, CredentialsError::Role { wanted, .. } if wanted == "node"), "{error}");
}

#[test]
fn who_has_neither_an_operator_s_nor_a_node_s_certificate_of_the_cluster_does_not_reach_the_control_api() {
    let (world, other) = (World::new(Kind::Tls), World::new(Kind::Tls));
    let b = world.node(2);
    let heard = |shows: Option<(&str, u8)>| {
        let mut stranger = stranger(&b.address(), ALPN_CONTROL, shows);
        let _ = stranger.write_all(b"GET /v1/node HTTP/1.1\r\n\r\n");
        assert!(!matches!(stranger.read(&mut [0; 64]), Ok(1..)), "a stranger hears nothing");
        b.refused()
    };
    let why = heard(None);
    assert!(why.contains("no certificate") || why.contains("NoCertificates"), "{why}");
    for number in [1, 9] {
        let credentials = match number {
            1 => other.credentials(1),
            _ => other.authority().issue_operator(&key(9), "ada", PATIENCE).unwrap(),
        };
        let pem = node_pem(&credentials, &other.folder.path().join("shown"));
        let why = heard(Some((&pem, number)));
        assert!(why.contains("not of this cluster"), "{why}");
        let error = ControlDialer::new(&key(number), &credentials).unwrap().dial(&b.address(), None, PATIENCE);
        let error = error.err().unwrap();
        assert!(matches!(error, ConnectError::Refused { .. }) && error.to_string().contains("not of this"), "{error}");
        b.refused();
    }
    // Of this cluster, and as something else than either.
    let pem = certified(&world, 7, "neurath://guest/eve", 4000);
    let why = heard(Some((&pem, 7)));
    assert!(why.contains("names neither a node nor an operator"), "{why}");
    let why = heard(Some((&certified(&world, 7, "neurath://operator/late", 2021), 7)));
    assert!(why.contains("expired"), "{why}");
}

#[test]
fn a_node_is_let_in_where_operators_are_and_finds_the_node_that_it_wants_or_none() {
    let world = World::new(Kind::Tls);
    let b = world.node(2);
    let dialer = ControlDialer::new(&key(1), &world.credentials(1)).unwrap();
    let there = dialer.dial(&b.address(), Some(b.id), PATIENCE).unwrap();
    assert_eq!(there.peer(), b.id);
    let Event::Control { who, connection } = b.event() else { panic!("not on the control API") };
    assert_eq!((who.role, who.name.as_str(), connection.peer()), (Role::Node, "node-1", key(1).node_id()));
    let error = dialer.dial(&b.address(), Some(NodeId(7)), PATIENCE).err().unwrap();
    assert!(matches!(error, ConnectError::WrongNode { found, .. } if found == b.id), "{error}");
}

#[test]
fn an_operator_s_file_is_its_owner_s_alone_replaces_none_and_ends() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new(Kind::Tls);
    let path = world.folder.path().join("ada.operator");
    let create =
        |days: u64| Operator::create(&path, world.authority(), "ada", "here:1", Duration::from_secs(days * 86_400));
    create(30).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let read = Operator::read(&path).unwrap();
    assert_eq!((read.name(), read.cluster(), read.address()), ("ada", "test", "here:1"));
    assert!(matches!(create(30).err(), Some(OperatorError::Exists { .. })));
    let text = std::fs::read_to_string(&path).unwrap();
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(object.keys().collect::<Vec<_>>(), ["address", "ca", "certificate", "format", "key"], "format 1");
    let wrong = [("operator/1", "operator/2", "another release"), ("BEGIN", "BEG", "damaged"), ("here:1", "", "")];
    for (from, to, why) in wrong {
        std::fs::write(&path, text.replace(from, to)).unwrap();
        match Operator::read(&path) {
            Ok(_) => assert_eq!(why, ""),
            Err(error) => assert!(!why.is_empty() && error.to_string().contains(why), "{error}"),
        }
    }
    for no_file_of_ours in ["", "{}", "hello", "[1]"] {
        std::fs::write(&path, no_file_of_ours).unwrap();
        assert!(matches!(Operator::read(&path), Err(OperatorError::Other { .. })), "{no_file_of_ours}");
    }
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(Operator::read(&path), Err(OperatorError::Missing { .. })));
    // Whoever lost the file gets another; one whose time is over is no use.
    drop(create(0));
    let error = Operator::read(&path).err().unwrap();
    assert!(matches!(&error, OperatorError::Expired { name, .. } if name == "ada"), "{error}");
}

#[test]
fn an_operator_reaches_a_node_and_is_known_by_name() {
    let world = World::new(Kind::Tls);
    let b = world.node(2);
    let operator = world.authority().issue_operator(&key(9), "ada", PATIENCE).unwrap();
    let dialer = ControlDialer::new(&key(9), &operator).unwrap();
    let mut stream = common::Line::new(dialer.dial(&b.address(), None, PATIENCE).unwrap());
    stream.send(b"question").unwrap();
    let Event::Control { who, connection } = b.event() else { panic!("no operator") };
    assert_eq!((who.role, who.name.as_str()), (Role::Operator, "ada"));
    let mut line = common::Line::new(connection);
    assert_eq!((line.peer(), line.hear(8)), (key(9).node_id(), b"question".to_vec()));
    line.send(b"answer").unwrap();
    line.finish();
    assert_eq!((stream.hear(6), stream.is_at_end()), (b"answer".to_vec(), true));
}

#[test]
fn an_expired_certificate_is_refused() {
    let world = World::new(Kind::Tls);
    let b = world.node(2);
    let certify = |year: i32| certified(&world, 1, "neurath://node/late", year);
    let (address, id) = (b.address(), b.id);
    let connect = |pem: &str| heard(stranger(&address, ALPN_SESSION, Some((pem, 1))), key(1).node_id(), id);
    assert_eq!(connect(&certify(2021)), b"");
    let why = b.refused();
    assert!(why.contains("expired"), "{why}");
    // The same with a later end is let in, so it was the time.
    let good = certify(4000);
    let client = std::thread::scope(|scope| {
        let client = scope.spawn(|| connect(&good));
        drop(b.accepted());
        client.join().unwrap()
    });
    assert_eq!(client, preamble(b.id, key(1).node_id()));
}

#[test]
fn whoever_calls_itself_another_than_its_certificate_is_refused() {
    let world = World::new(Kind::Tls);
    let b = world.node(2);
    let pem = node_pem(&world.credentials(1), world.folder.path());
    let hears = heard(stranger(&b.address(), ALPN_SESSION, Some((&pem, 1))), key(3).node_id(), b.id);
    assert_eq!(hears, b"");
    let why = b.refused();
    assert!(why.contains(&key(3).node_id().to_string()) && why.contains(&key(1).node_id().to_string()), "{why}");
}

#[test]
fn one_who_offers_no_protocol_of_ours_is_refused() {
    let world = World::new(Kind::Tls);
    let b = world.node(2);
    assert_eq!(heard(stranger(&b.address(), b"h2", None), NodeId(1), b.id), b"");
    let why = b.refused();
    assert!(why.contains("no protocol"), "{why}");
}

#[test]
fn a_request_to_join_that_is_too_long_or_no_request_is_refused() {
    let world = World::new(Kind::Tls);
    let b = world.node(2);
    for body in [&[0xff; 4][..], b"\x04\0\0\0what", &[b"\x01\x20\0\0".as_slice(), &[b'x'; 9000]].concat()] {
        let mut stranger = stranger(&b.address(), ALPN_JOIN, None);
        let _ = stranger.write_all(body);
        assert!(!matches!(stranger.read(&mut [0; 64]), Ok(1..)), "a stranger hears nothing");
        let why = b.refused();
        assert!(why.contains("not understood"), "{why}");
    }
}

#[test]
fn a_handshake_that_is_cut_anywhere_harms_nobody() {
    let world = World::new(Kind::Tls);
    let (a, b) = (world.node(1), world.node(2));
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN_SESSION.to_vec()];
    let mut client = ClientConnection::new(Arc::new(config), ServerName::try_from("any.invalid").unwrap()).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    for cut in (0..hello.len()).step_by(7) {
        raw_tcp(&b.address()).write_all(&hello[..cut]).unwrap();
        b.refused();
        let mut flipped = hello.clone();
        flipped[cut] ^= 0x55;
        let mut raw = raw_tcp(&b.address());
        raw.write_all(&flipped).unwrap();
        raw.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(is_closed(&mut raw, 16 << 10), "byte {cut} flipped");
        b.refused();
    }
    a.connect(&b);
}

#[test]
fn credentials_are_read_back_and_what_is_wrong_with_them_is_named() {
    let world = World::new(Kind::Tls);
    let (credentials, folder) = (world.credentials(1), world.folder.path().join("cluster"));
    let error = Credentials::load(&folder).unwrap_err();
    assert!(matches!(error, CredentialsError::Missing { .. }) && error.to_string().contains("invite"), "{error}");
    credentials.save(&folder).unwrap();
    let loaded = Credentials::load(&folder).unwrap();
    assert_eq!((loaded.cluster(), loaded.name(), loaded.node_id()), ("test", "node-1", key(1).node_id()));
    assert!(matches!(Tls::new(&key(2), &loaded), Err(CredentialsError::Key { .. })));
    std::fs::write(folder.join("node.pem"), "nothing").unwrap();
    let error = Credentials::load(&folder).unwrap_err().to_string();
    assert!(error.contains("node.pem") && error.contains("not an X.509"), "{error}");
}

#[test]
fn a_dial_to_one_who_speaks_no_tls_fails_by_name() {
    let (world, plain) = (World::new(Kind::Tls), World::new(Kind::Plain));
    let (a, b) = (world.node(1), plain.node(2));
    let error = a.dial_fails(NodeId(2), &b.address());
    assert!(matches!(error, DialError::Refused { .. }), "{error}");
    assert!(b.refused().contains("does not speak as a node"));
    let error = b.dial_fails(a.id, &a.address());
    assert!(matches!(error, DialError::Refused { .. } | DialError::WrongPeer { .. }), "{error}");
    a.refused();
}

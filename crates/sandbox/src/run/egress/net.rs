//! The network of a run: `lo` alone, on which every address of the world ends.
//!
//! [`raise`] brings `lo` up, gives the job an address of each family, and makes every other address local ("any IP"): what
//! a job sends can arrive at our doors or nowhere. There is no other interface, so nothing done to rules or routes inside
//! could lead outside. [`redirect`] loads rules of nftables that bring all TCP and all questions to our doors, tell of what
//! else was tried, and drop it. Layouts: linux/rtnetlink.h, linux/netfilter/nf_tables.h.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr},
};

use nix::{libc, sys::socket::SockProtocol};

use super::netlink::{self, Batch, Body, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};

/// The job's own address, and where it asks for names.
pub(super) const JOB_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// The same, for IPv6.
pub(super) const JOB_V6: Ipv6Addr = Ipv6Addr::new(0xfd72, 0x696e, 0x6766, 0, 0, 0, 0, 1);
/// Where all TCP ends.
pub(super) const DOOR_PORT: u16 = 1;
/// Where all questions end.
pub(super) const DNS_PORT: u16 = 53;
/// The group in which the kernel tells of what it dropped.
pub(super) const DROPPED_GROUP: u16 = 1;

/// Which families this kernel speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Families {
    /// IPv4 and IPv6.
    Both,
    /// IPv4 alone.
    V4,
}

/// Brings `lo` up with the job's addresses and makes every address local.
pub(super) fn raise() -> io::Result<Families> {
    let socket = netlink::open(SockProtocol::NetlinkRoute)?;
    let mut batch = Batch::default();
    batch.request("raise lo", RTM_NEWLINK, 0, |body| {
        let up = libc::IFF_UP.unsigned_abs();
        body.put(&[0; 4]);
        body.put(&LO_INDEX.to_ne_bytes());
        body.put(&up.to_ne_bytes());
        body.put(&up.to_ne_bytes());
    });
    address(&mut batch, AF_INET, 32, &JOB_V4.octets());
    route(&mut batch, AF_INET, &JOB_V4.octets());
    batch.send(&socket)?;
    let mut batch = Batch::default();
    address(&mut batch, AF_INET6, 128, &JOB_V6.octets());
    route(&mut batch, AF_INET6, &JOB_V6.octets());
    // A kernel without IPv6 has no way out by it either.
    Ok(if batch.send(&socket).is_ok() { Families::Both } else { Families::V4 })
}

fn address(batch: &mut Batch, family: u8, prefix: u8, address: &[u8]) {
    batch.request("address of lo", RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, |body| {
        body.put(&[family, prefix, IFA_F_NODAD, 0]);
        body.put(&LO_INDEX.to_ne_bytes());
        body.attribute(IFA_LOCAL, address);
        body.attribute(IFA_ADDRESS, address);
    });
}

fn route(batch: &mut Batch, family: u8, source: &[u8]) {
    batch.request("every address is local", RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, |body| {
        let [destination_bits, source_bits, service] = [0; 3];
        let scope = if family == AF_INET { RT_SCOPE_HOST } else { RT_SCOPE_UNIVERSE };
        body.put(&[
            family,
            destination_bits,
            source_bits,
            service,
            RT_TABLE_LOCAL,
            RTPROT_STATIC,
            scope,
            RTN_LOCAL,
            0,
            0,
            0,
            0,
        ]);
        body.attribute(RTA_OIF, &LO_INDEX.to_ne_bytes());
        body.attribute(RTA_PREFSRC, source);
    });
}

/// Loads the rules. One table for each family, because kernels before 5.2 translate no addresses in a common one.
pub(super) fn redirect(families: Families) -> io::Result<()> {
    let socket = netlink::open(SockProtocol::NetlinkNetFilter)?;
    let mut batch = Batch::default();
    batch.frame(NFNL_MSG_BATCH_BEGIN, |body| body.put(&generic(0, NFNL_SUBSYS_NFTABLES)));
    rules(&mut batch, &V4);
    if families == Families::Both {
        rules(&mut batch, &V6);
    }
    batch.frame(NFNL_MSG_BATCH_END, |body| body.put(&generic(0, NFNL_SUBSYS_NFTABLES)));
    batch.send(&socket)
}

fn rules(batch: &mut Batch, family: &Family) {
    table_message(batch, "nftables table", NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL, family, |body| {
        body.text(NFTA_TABLE_NAME, TABLE);
    });
    chain(batch, family, NAT_CHAIN, "nat", PRIORITY_NAT, NF_ACCEPT);
    chain(batch, family, FILTER_CHAIN, "filter", PRIORITY_FILTER, NF_DROP);
    // Translation: what a job says to itself stays as it is, questions go to our answers, all other TCP to our door.
    rule(batch, family, NAT_CHAIN, |list| {
        family.to_loopback(list);
        verdict(list, NF_ACCEPT);
    });
    for protocol in [libc::IPPROTO_UDP, libc::IPPROTO_TCP] {
        rule(batch, family, NAT_CHAIN, |list| {
            of_protocol(list, protocol);
            load(list, PAYLOAD_TRANSPORT, 2, 2);
            equals(list, &DNS_PORT.to_be_bytes());
            to_port(list, DNS_PORT);
        });
    }
    rule(batch, family, NAT_CHAIN, |list| {
        family.to_job(list);
        verdict(list, NF_ACCEPT);
    });
    rule(batch, family, NAT_CHAIN, |list| {
        of_protocol(list, libc::IPPROTO_TCP);
        to_port(list, DOOR_PORT);
    });
    // What is left for another address after that is told and dropped.
    rule(batch, family, FILTER_CHAIN, |list| {
        family.to_loopback(list);
        verdict(list, NF_ACCEPT);
    });
    rule(batch, family, FILTER_CHAIN, |list| {
        family.to_job(list);
        verdict(list, NF_ACCEPT);
    });
    rule(batch, family, FILTER_CHAIN, tell);
}

/// One family's place of addresses in its header, and its addresses.
struct Family {
    number: u8,
    offset: u32,
    job: &'static [u8],
    loopback: &'static [u8],
    loopback_mask: &'static [u8],
}

impl Family {
    fn to_job(&self, list: &mut Body<'_>) {
        load(list, PAYLOAD_NETWORK, self.offset, self.job.len());
        equals(list, self.job);
    }

    fn to_loopback(&self, list: &mut Body<'_>) {
        load(list, PAYLOAD_NETWORK, self.offset, self.loopback.len());
        mask(list, self.loopback_mask);
        equals(list, self.loopback);
    }
}

const V4: Family = Family {
    number: NFPROTO_IPV4,
    offset: 16,
    job: &JOB_V4.octets(),
    loopback: &[127, 0, 0, 0],
    loopback_mask: &[255, 0, 0, 0],
};
const V6: Family = Family {
    number: NFPROTO_IPV6,
    offset: 24,
    job: &JOB_V6.octets(),
    loopback: &Ipv6Addr::LOCALHOST.octets(),
    loopback_mask: &[255; 16],
};

fn table_message(
    batch: &mut Batch,
    step: &'static str,
    message: u16,
    flags: u16,
    family: &Family,
    fill: impl FnOnce(&mut Body<'_>),
) {
    batch.request(step, NFNL_SUBSYS_NFTABLES << 8 | message, flags, |body| {
        body.put(&generic(family.number, 0));
        fill(body);
    });
}

fn chain(batch: &mut Batch, family: &Family, name: &str, kind: &str, priority: i32, policy: u32) {
    table_message(batch, "nftables chain", NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL, family, |body| {
        body.text(NFTA_CHAIN_TABLE, TABLE);
        body.text(NFTA_CHAIN_NAME, name);
        body.nest(NFTA_CHAIN_HOOK, |hook| {
            hook.attribute(NFTA_HOOK_HOOKNUM, &NF_INET_LOCAL_OUT.to_be_bytes());
            hook.attribute(NFTA_HOOK_PRIORITY, &priority.to_be_bytes());
        });
        body.attribute(NFTA_CHAIN_POLICY, &policy.to_be_bytes());
        body.text(NFTA_CHAIN_TYPE, kind);
    });
}

fn rule(batch: &mut Batch, family: &Family, chain: &str, expressions: impl FnOnce(&mut Body<'_>)) {
    table_message(batch, "nftables rule", NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, family, |body| {
        body.text(NFTA_RULE_TABLE, TABLE);
        body.text(NFTA_RULE_CHAIN, chain);
        body.nest(NFTA_RULE_EXPRESSIONS, expressions);
    });
}

fn expression(list: &mut Body<'_>, name: &str, data: impl FnOnce(&mut Body<'_>)) {
    list.nest(NFTA_LIST_ELEM, |element| {
        element.text(NFTA_EXPR_NAME, name);
        element.nest(NFTA_EXPR_DATA, data);
    });
}

/// Loads `length` bytes of the packet into the register.
fn load(list: &mut Body<'_>, base: u32, offset: u32, length: usize) {
    let length = u32::try_from(length).unwrap_or(0);
    expression(list, "payload", |data| {
        data.attribute(NFTA_PAYLOAD_DREG, &REGISTER.to_be_bytes());
        data.attribute(NFTA_PAYLOAD_BASE, &base.to_be_bytes());
        data.attribute(NFTA_PAYLOAD_OFFSET, &offset.to_be_bytes());
        data.attribute(NFTA_PAYLOAD_LEN, &length.to_be_bytes());
    });
}

/// Keeps the bits of `bits` in the register.
fn mask(list: &mut Body<'_>, bits: &[u8]) {
    let nothing = vec![0; bits.len()];
    let length = u32::try_from(bits.len()).unwrap_or(0);
    expression(list, "bitwise", |data| {
        data.attribute(NFTA_BITWISE_SREG, &REGISTER.to_be_bytes());
        data.attribute(NFTA_BITWISE_DREG, &REGISTER.to_be_bytes());
        data.attribute(NFTA_BITWISE_LEN, &length.to_be_bytes());
        data.nest(NFTA_BITWISE_MASK, |value| value.attribute(NFTA_DATA_VALUE, bits));
        data.nest(NFTA_BITWISE_XOR, |value| value.attribute(NFTA_DATA_VALUE, &nothing));
    });
}

/// Goes on only if the register holds `value`.
fn equals(list: &mut Body<'_>, value: &[u8]) {
    expression(list, "cmp", |data| {
        data.attribute(NFTA_CMP_SREG, &REGISTER.to_be_bytes());
        data.attribute(NFTA_CMP_OP, &NFT_CMP_EQ.to_be_bytes());
        data.nest(NFTA_CMP_DATA, |inner| inner.attribute(NFTA_DATA_VALUE, value));
    });
}

fn of_protocol(list: &mut Body<'_>, protocol: i32) {
    expression(list, "meta", |data| {
        data.attribute(NFTA_META_DREG, &REGISTER.to_be_bytes());
        data.attribute(NFTA_META_KEY, &NFT_META_L4PROTO.to_be_bytes());
    });
    equals(list, &[u8::try_from(protocol).unwrap_or(0)]);
}

fn verdict(list: &mut Body<'_>, code: u32) {
    expression(list, "immediate", |data| {
        data.attribute(NFTA_IMMEDIATE_DREG, &REGISTER_VERDICT.to_be_bytes());
        data.nest(NFTA_IMMEDIATE_DATA, |inner| {
            inner.nest(NFTA_DATA_VERDICT, |verdict| verdict.attribute(NFTA_VERDICT_CODE, &code.to_be_bytes()));
        });
    });
}

/// Sends the packet to `port` of this machine.
fn to_port(list: &mut Body<'_>, port: u16) {
    expression(list, "immediate", |data| {
        data.attribute(NFTA_IMMEDIATE_DREG, &REGISTER.to_be_bytes());
        data.nest(NFTA_IMMEDIATE_DATA, |value| value.attribute(NFTA_DATA_VALUE, &port.to_be_bytes()));
    });
    expression(list, "redir", |data| data.attribute(NFTA_REDIR_REG_PROTO_MIN, &REGISTER.to_be_bytes()));
}

/// Counts every packet, and tells of so many a second that no job can drown the one who listens.
fn tell(list: &mut Body<'_>) {
    expression(list, "counter", |_| {});
    expression(list, "limit", |data| {
        data.attribute(NFTA_LIMIT_RATE, &TOLD_PER_SECOND.to_be_bytes());
        data.attribute(NFTA_LIMIT_UNIT, &1_u64.to_be_bytes());
        data.attribute(NFTA_LIMIT_BURST, &TOLD_BURST.to_be_bytes());
    });
    expression(list, "log", |data| {
        data.attribute(NFTA_LOG_GROUP, &DROPPED_GROUP.to_be_bytes());
        data.attribute(NFTA_LOG_SNAPLEN, &TOLD_BYTES.to_be_bytes());
        data.attribute(NFTA_LOG_QTHRESHOLD, &1_u16.to_be_bytes());
    });
}

/// `struct nfgenmsg`.
pub(super) fn generic(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

/// Bytes of a dropped packet that are told: its headers.
pub(super) const TOLD_BYTES: u32 = 64;
/// Dropped packets that are told in a second.
const TOLD_PER_SECOND: u64 = 64;
/// Dropped packets that may be told at once.
const TOLD_BURST: u32 = 64;

/// Index of `lo` in every network namespace.
const LO_INDEX: u32 = 1;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const IFA_F_NODAD: u8 = 2;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_PREFSRC: u16 = 7;
const RT_TABLE_LOCAL: u8 = 255;
const RTPROT_STATIC: u8 = 4;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_HOST: u8 = 254;
const RTN_LOCAL: u8 = 2;

/// Name of our table.
const TABLE: &str = "ringfence";
const NAT_CHAIN: &str = "doors";
const FILTER_CHAIN: &str = "rest";
const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;
const NF_INET_LOCAL_OUT: u32 = 3;
const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;
/// `NF_IP_PRI_NAT_DST`.
const PRIORITY_NAT: i32 = -100;
/// `NF_IP_PRI_FILTER`: after translation.
const PRIORITY_FILTER: i32 = 0;
const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFNL_MSG_BATCH_BEGIN: u16 = 16;
const NFNL_MSG_BATCH_END: u16 = 17;
const NFT_MSG_NEWTABLE: u16 = 0;
const NFT_MSG_NEWCHAIN: u16 = 3;
const NFT_MSG_NEWRULE: u16 = 6;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_PAYLOAD_DREG: u16 = 1;
const NFTA_PAYLOAD_BASE: u16 = 2;
const NFTA_PAYLOAD_OFFSET: u16 = 3;
const NFTA_PAYLOAD_LEN: u16 = 4;
const NFTA_BITWISE_SREG: u16 = 1;
const NFTA_BITWISE_DREG: u16 = 2;
const NFTA_BITWISE_LEN: u16 = 3;
const NFTA_BITWISE_MASK: u16 = 4;
const NFTA_BITWISE_XOR: u16 = 5;
const NFTA_CMP_SREG: u16 = 1;
const NFTA_CMP_OP: u16 = 2;
const NFTA_CMP_DATA: u16 = 3;
const NFT_CMP_EQ: u32 = 0;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_IMMEDIATE_DREG: u16 = 1;
const NFTA_IMMEDIATE_DATA: u16 = 2;
const NFTA_META_DREG: u16 = 1;
const NFTA_META_KEY: u16 = 2;
const NFT_META_L4PROTO: u32 = 16;
const NFTA_REDIR_REG_PROTO_MIN: u16 = 1;
const NFTA_LIMIT_RATE: u16 = 1;
const NFTA_LIMIT_UNIT: u16 = 2;
const NFTA_LIMIT_BURST: u16 = 3;
const NFTA_LOG_GROUP: u16 = 1;
const NFTA_LOG_SNAPLEN: u16 = 3;
const NFTA_LOG_QTHRESHOLD: u16 = 4;
const PAYLOAD_NETWORK: u32 = 1;
const PAYLOAD_TRANSPORT: u32 = 2;
const REGISTER_VERDICT: u32 = 0;
const REGISTER: u32 = 1;

package seccomp

// Address families, types and protocols of socket(2): linux/socket.h, linux/net.h, linux/in.h,
// linux/netlink.h.
const (
	afUnix    = 1
	afInet    = 2
	afInet6   = 10
	afNetlink = 16

	sockTypeMask  = 0xf // the rest of the type argument is SOCK_CLOEXEC and SOCK_NONBLOCK
	sockRDM       = 4
	sockSeqpacket = 5
	sockDCCP      = 6
	sockPacket    = 10

	ipprotoIP     = 0 // the usual one for the type
	ipprotoICMP   = 1
	ipprotoTCP    = 6
	ipprotoUDP    = 17
	ipprotoICMPv6 = 58

	netlinkRoute = 0
)

// socketRules allow the sockets that programs use and refuse the rest of what the kernel can load
// for socket(2). All arguments are int.
func socketRules() []Rule {
	family := func(n uint64) Arg { return Arg{Index: 0, Op: Equal, Value: n, Mask: Low32} }
	protocol := func(n uint64) Arg { return Arg{Index: 2, Op: Equal, Value: n, Mask: Low32} }
	socket := func(a Action, args ...Arg) Rule {
		return Rule{Names: []string{"socket"}, Args: args, Action: a}
	}
	rules := []Rule{socket(Allow, family(afUnix))}
	// Protocol 0 is the first one of a type: SCTP and DCCP, where they are loaded. Of the packet type the
	// kernel makes a packet socket, whatever the protocol (net/socket.c).
	for _, f := range []uint64{afInet, afInet6} {
		for _, t := range []uint64{sockRDM, sockSeqpacket, sockDCCP, sockPacket} {
			rules = append(rules, socket(Errno(eSOCKTNOSUPPORT), family(f), Arg{Index: 1, Op: Equal, Value: t, Mask: sockTypeMask}))
		}
	}
	for _, p := range []uint64{ipprotoIP, ipprotoICMP, ipprotoTCP, ipprotoUDP} {
		rules = append(rules, socket(Allow, family(afInet), protocol(p)))
	}
	for _, p := range []uint64{ipprotoIP, ipprotoTCP, ipprotoUDP, ipprotoICMPv6} {
		rules = append(rules, socket(Allow, family(afInet6), protocol(p)))
	}
	return append(rules,
		socket(Allow, family(afNetlink), protocol(netlinkRoute)),
		// SCTP, MPTCP, UDP-Lite and others; other parts of netlink. Go falls back from MPTCP to TCP.
		socket(Errno(ePROTONOSUPPORT), family(afInet)),
		socket(Errno(ePROTONOSUPPORT), family(afInet6)),
		socket(Errno(ePROTONOSUPPORT), family(afNetlink)),
		socket(Errno(eAFNOSUPPORT)),
		Rule{Names: []string{"socketpair"}, Args: []Arg{family(afUnix)}, Action: Allow},
		Rule{Names: []string{"socketpair"}, Action: Errno(eAFNOSUPPORT)},
	)
}

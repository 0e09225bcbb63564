package rehearse

import (
	"encoding/binary"
	"net"
	"syscall"
	"time"
)

// accepted reports whether a server on this machine has accepted a connection and read what was
// sent on it, according to the kernel: until then nothing is in flight. It returns true if that is
// not known.
func accepted(conn net.Conn) bool {
	from, ok := conn.LocalAddr().(*net.TCPAddr)
	if !ok {
		return true
	}
	to, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return true
	}
	s, ok := socketOf(to, from)
	return !ok || s.inode != 0 && s.unread == 0
}

// serverSocket is the kernel's information about one end of a connection. Before it is accepted it
// has no inode.
type serverSocket struct{ inode, unread uint32 }

// The parts of NETLINK_SOCK_DIAG that package syscall does not have (linux/inet_diag.h).
const (
	netlinkSockDiag  = 4
	sockDiagByFamily = 20
	sizeOfRequest    = 56
	sizeOfAnswer     = 72
	offsetOfUnread   = 56
	offsetOfInode    = 68
)

// socketOf queries the socket at one end of a connection. A query for one socket costs the same
// however many sockets there are.
func socketOf(local, remote *net.TCPAddr) (s serverSocket, ok bool) {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, netlinkSockDiag)
	if err != nil {
		return s, false
	}
	defer func() { _ = syscall.Close(fd) }() // nothing is written to it any more
	// The kernel answers at once. One that does not answer must not hold up the rehearsal.
	patience := syscall.NsecToTimeval(int64(100 * time.Millisecond))
	if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &patience); err != nil {
		return s, false
	}
	b := make([]byte, syscall.NLMSG_HDRLEN+sizeOfRequest)
	native := binary.NativeEndian
	native.PutUint32(b, uint32(len(b)))
	native.PutUint16(b[4:], sockDiagByFamily)
	native.PutUint16(b[6:], syscall.NLM_F_REQUEST)
	r := b[syscall.NLMSG_HDRLEN:]
	from, to := local.IP.To4(), remote.IP.To4()
	r[0] = syscall.AF_INET
	if from == nil || to == nil {
		r[0], from, to = syscall.AF_INET6, local.IP.To16(), remote.IP.To16()
	}
	r[1] = syscall.IPPROTO_TCP
	native.PutUint32(r[4:], ^uint32(0)) // in any state
	binary.BigEndian.PutUint16(r[8:], uint16(local.Port))
	binary.BigEndian.PutUint16(r[10:], uint16(remote.Port))
	copy(r[12:], from)
	copy(r[28:], to)
	native.PutUint64(r[48:], ^uint64(0)) // whatever its cookie is
	if err := syscall.Sendto(fd, b, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return s, false
	}
	answer := make([]byte, 4096)
	n, _, err := syscall.Recvfrom(fd, answer, 0)
	if err != nil || n < syscall.NLMSG_HDRLEN+sizeOfAnswer || native.Uint16(answer[4:]) != sockDiagByFamily {
		return s, false // the socket is gone, or this kernel does not answer
	}
	m := answer[syscall.NLMSG_HDRLEN:]
	return serverSocket{inode: native.Uint32(m[offsetOfInode:]), unread: native.Uint32(m[offsetOfUnread:])}, true
}

package rehearse

import (
	"fmt"
	"net"
	"os"
	"strings"
)

// accepted reports whether a server on this machine has accepted a connection and read what was sent
// on it, as the kernel knows: until then nothing is in flight. It is true where that is not known.
func accepted(conn net.Conn) bool {
	from, ok := conn.LocalAddr().(*net.TCPAddr)
	if !ok {
		return true
	}
	to, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return true
	}
	local, remote := fmt.Sprintf(":%04X", to.Port), fmt.Sprintf(":%04X", from.Port) // as the server sees it
	for _, table := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {   // a server of IPv6 may take both
		text, err := os.ReadFile(table)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			const ours, theirs, queues, inode = 1, 2, 4, 9
			if len(fields) > inode && strings.HasSuffix(fields[ours], local) && strings.HasSuffix(fields[theirs], remote) {
				return fields[inode] != "0" && strings.HasSuffix(fields[queues], ":00000000")
			}
		}
	}
	return true
}

package rehearse

import (
	"bufio"
	"cmp"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// listening returns the TCP addresses on which processes listen, the smallest port first, in the
// form in which this process can dial them: a process that listens on every address is dialled at
// loopback.
func listening(pids []int) []netip.AddrPort {
	var found []netip.AddrPort
	for _, pid := range pids {
		dir := "/proc/" + strconv.Itoa(pid)
		sockets := socketsOf(dir)
		if len(sockets) == 0 {
			continue
		}
		for _, table := range []string{"tcp", "tcp6"} {
			found = append(found, listeners(filepath.Join(dir, "net", table), sockets)...)
		}
	}
	slices.SortFunc(found, func(a, b netip.AddrPort) int {
		return cmp.Or(cmp.Compare(a.Port(), b.Port()), a.Compare(b))
	})
	return slices.Compact(found)
}

// socketsOf returns the inodes of a process's sockets.
func socketsOf(dir string) map[string]bool {
	files, err := os.ReadDir(filepath.Join(dir, "fd"))
	if err != nil {
		return nil // gone
	}
	sockets := map[string]bool{}
	for _, f := range files {
		link, err := os.Readlink(filepath.Join(dir, "fd", f.Name()))
		if inode, ok := strings.CutPrefix(link, "socket:["); ok && err == nil {
			sockets[strings.TrimSuffix(inode, "]")] = true
		}
	}
	return sockets
}

// listeners reads a table of the kernel's TCP sockets. It has those that listen first, so the rest
// is not read: under load that is tens of thousands of connections.
func listeners(table string, sockets map[string]bool) (found []netip.AddrPort) {
	file, err := os.Open(table)
	if err != nil {
		return nil
	}
	defer file.Close() // only read
	lines := bufio.NewScanner(file)
	lines.Scan() // the names of the columns
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		const local, state, inode = 1, 3, 9
		if len(fields) <= inode || fields[state] != "0A" {
			break
		}
		if !sockets[fields[inode]] {
			continue
		}
		if a, ok := parseAddress(fields[local]); ok {
			found = append(found, a)
		}
	}
	return found
}

// parseAddress parses an address in the form of /proc/net/tcp: words in the machine's byte order,
// which is little-endian wherever this runs, and a port.
func parseAddress(text string) (netip.AddrPort, bool) {
	host, port, ok := strings.Cut(text, ":")
	if !ok {
		return netip.AddrPort{}, false
	}
	number, err := strconv.ParseUint(port, 16, 16)
	if err != nil || len(host)%8 != 0 {
		return netip.AddrPort{}, false
	}
	var raw []byte
	for ; len(host) > 0; host = host[8:] {
		word, err := strconv.ParseUint(host[:8], 16, 32)
		if err != nil {
			return netip.AddrPort{}, false
		}
		raw = append(raw, byte(word), byte(word>>8), byte(word>>16), byte(word>>24)) //nolint:gosec // its bytes
	}
	address, ok := netip.AddrFromSlice(raw)
	if !ok {
		return netip.AddrPort{}, false
	}
	switch address = address.Unmap(); {
	case address.IsUnspecified():
		address = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case !address.IsLoopback():
		return netip.AddrPort{}, false // such an address cannot be told from one of another machine
	}
	return netip.AddrPortFrom(address, uint16(number)), true
}

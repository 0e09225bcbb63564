package rehearse

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// notTaken returns an error if another process listens at a target before the program is started:
// clients would meet that process, and the program might not get its port.
func (c *Config) notTaken(ctx context.Context) error {
	if c.AnyHost {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for _, one := range c.targets {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", one.addr)
		if err != nil {
			continue
		}
		_ = conn.Close() // nothing was said
		return fmt.Errorf("rehearse: %s is taken before the program is started%s: end that one, or give another port; "+
			"where it is a proxy before the program, allow it (--any-host)", one.addr, holder(conn.RemoteAddr()))
	}
	return nil
}

// holder names the process that listens at an address. It returns nothing if that cannot be seen.
func holder(address net.Addr) string {
	at, err := netip.ParseAddrPort(address.String())
	if err != nil {
		return ""
	}
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return ""
	}
	for _, dir := range all {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		for _, found := range listening([]int{pid}) {
			if found.Port() != at.Port() {
				continue
			}
			name, err := os.ReadFile(filepath.Join(dir, "comm"))
			if err != nil {
				return ""
			}
			return fmt.Sprintf(", by process %d (%s)", pid, strings.TrimSpace(string(name)))
		}
	}
	return ""
}

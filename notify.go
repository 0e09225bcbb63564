package lastcall

import (
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// notifier speaks systemd's notification protocol (sd_notify(3)): datagrams of
// KEY=VALUE lines to the socket that NOTIFY_SOCKET names. Without one it does
// nothing. What cannot be sent is dropped: the service manager's own timeouts
// remain.
type notifier struct{ address string }

func newNotifier() notifier { return notifier{os.Getenv("NOTIFY_SOCKET")} }

const (
	extendEvery = time.Second
	extendBy    = 5 * time.Second // survives a few late ticks
)

func (n notifier) on() bool { return n.address != "" }

func (n notifier) send(lines ...string) {
	if !n.on() {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.address, Net: "unixgram"})
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.SetWriteDeadline(time.Now().Add(maxReportTime))
	_, _ = conn.Write([]byte(strings.Join(lines, "\n")))
}

// extend asks for the time until exit, in pieces that have to be renewed.
func (n notifier) extend(now, exit time.Time) {
	by := extendBy
	if !exit.IsZero() {
		by = min(by, exit.Sub(now)+time.Second)
	}
	if by > 0 {
		n.send("EXTEND_TIMEOUT_USEC=" + strconv.FormatInt(by.Microseconds(), 10))
	}
}

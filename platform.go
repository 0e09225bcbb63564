package lastcall

import (
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// notifier speaks systemd's notification protocol (sd_notify(3)): it sends datagrams of
// KEY=VALUE lines to the socket that NOTIFY_SOCKET names. Without that variable it does
// nothing. A message that cannot be sent is dropped: then the service manager's own
// timeouts apply.
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

// extend asks the service manager for the time until exit, in steps that must be renewed.
func (n notifier) extend(now, exit time.Time) {
	by := extendBy
	if !exit.IsZero() {
		by = min(by, exit.Sub(now)+time.Second)
	}
	if by > 0 {
		n.send("EXTEND_TIMEOUT_USEC=" + strconv.FormatInt(by.Microseconds(), 10))
	}
}

// personAtStdin reports whether the input is a terminal: a character device, but not /dev/null,
// which a service manager gives.
func personAtStdin() bool {
	in, err := os.Stdin.Stat()
	if err != nil || in.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(in, null)
}

const (
	defaultTerminationLog = "/dev/termination-log"
	terminationLogSize    = 4096 // what the kubelet reads
)

// terminationLog returns the file of Config.TerminationLog, or "" if there is
// none. The file is never created: if it does not exist, no platform reads it.
func terminationLog(configured string) string {
	path := configured
	switch path {
	case "-":
		return ""
	case "":
		path = defaultTerminationLog
	}
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	return path
}

// writeTerminationLog replaces the content of the file. It truncates the file after the
// write, so that it is never empty: the watchdog may end the process at any moment.
func writeTerminationLog(path, text string) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return
	}
	defer f.Close()
	if _, err := f.WriteString(text); err == nil {
		_ = f.Truncate(int64(len(text)))
	}
}

// shorten cuts a text between lines, and adds a line that says so.
func shorten(text string, size int) string {
	if len(text) <= size {
		return text
	}
	const more = "... the log has the rest\n"
	text = text[:size-len(more)]
	if i := strings.LastIndexByte(text, '\n'); i >= 0 {
		text = text[:i+1]
	}
	return text + more
}

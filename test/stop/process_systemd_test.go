//go:build unix

package stop_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/internal/stopwatch"
)

// serviceManager is the socket on which systemd would listen.
type serviceManager struct {
	t        *testing.T
	conn     *net.UnixConn
	address  string
	messages [][]string // the lines of each datagram so far
}

// manage opens a notification socket, at a path or in Linux's abstract namespace.
func manage(t *testing.T, address string) *serviceManager {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &serviceManager{t: t, conn: conn, address: address}
}

func (m *serviceManager) environment(cmd *exec.Cmd) {
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+m.address)
}

// hears reads datagrams until one has a line that begins with prefix, and returns the rest of that
// line.
func (m *serviceManager) hears(prefix string) string {
	m.t.Helper()
	_ = m.conn.SetReadDeadline(time.Now().Add(patience))
	for {
		buffer := make([]byte, 4096)
		n, err := m.conn.Read(buffer)
		if err != nil {
			m.t.Fatalf("no notification %s: %v; the others were %q", prefix, err, m.messages)
		}
		lines := strings.Split(string(buffer[:n]), "\n")
		m.messages = append(m.messages, lines)
		for _, line := range lines {
			if rest, ok := strings.CutPrefix(line, prefix); ok {
				return rest
			}
		}
	}
}

func TestSystemd_HearsEveryPhaseAndIsAskedForTimeAgainAndAgain(t *testing.T) {
	t.Parallel()
	addresses := map[string]string{"path": filepath.Join(directory(t), "notify")}
	if runtime.GOOS == "linux" {
		addresses["abstract"] = fmt.Sprintf("@lastcall-test-%d", os.Getpid())
	}
	for name, address := range addresses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			program := func() int { return drainer(config(20 * time.Second)) }
			if os.Getenv(programVariable) != "" {
				start(t, program)
			}
			m := manage(t, address)
			p := start(t, program, m.environment)
			m.hears("READY=1")
			p.says("working")
			p.signal(stopSignal)
			m.hears("STOPPING=1")
			m.hears("STATUS=stopping: drain")
			for range 2 {
				var microseconds int
				scan(t, m.hears("EXTEND_TIMEOUT_USEC="), "%d", &microseconds)
				// An extension must expire later than the next one arrives. It must hold for seconds, not for
				// ever, in case the program hangs.
				if d := time.Duration(microseconds) * time.Microsecond; d < 2*time.Second || d > 10*time.Second {
					t.Errorf("asked for %v more", d)
				}
			}
			p.tell("finish")
			m.hears("STATUS=stopping: close")
			m.hears("STATUS=stopped")
			p.exits(0)
			if ready := slices.IndexFunc(m.messages, func(l []string) bool { return slices.Contains(l, "READY=1") }); ready != 0 {
				t.Errorf("READY=1 was notification %d, want the first: %q", ready, m.messages)
			}
		})
	}
}

func TestSystemd_IsNotToldReadyWhenSetupFails(t *testing.T) {
	t.Parallel()
	program := func() int {
		return lastcall.Main(config(time.Minute), func(context.Context, *lastcall.Group) error { return errors.New("no database") })
	}
	if os.Getenv(programVariable) != "" {
		start(t, program)
	}
	m := manage(t, filepath.Join(t.TempDir(), "notify"))
	p := start(t, program, m.environment)
	m.hears("STATUS=stopped")
	p.exits(1)
	p.reports("failed      setup: no database")
	for _, lines := range m.messages {
		if slices.Contains(lines, "READY=1") {
			t.Errorf("READY=1 in %q", m.messages)
		}
	}
}

func TestSystemd_ANotificationSocketThatNobodyReadsHoldsUpNoStop(t *testing.T) {
	t.Parallel()
	program := func() int {
		return waiter(4*time.Second, nothing)
	}
	if os.Getenv(programVariable) != "" {
		start(t, program)
	}
	m := manage(t, filepath.Join(t.TempDir(), "notify"))
	fill(t, m.address)
	p := start(t, program, m.environment)
	p.says("working")
	watch := stopwatch.Start(t)
	p.signal(stopSignal)
	p.exits(0)
	watch.AtMost(6*time.Second, "the stop, whose grace is 4 s,")
}

// fill sends datagrams until the socket accepts no more.
func fill(t *testing.T, address string) {
	t.Helper()
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	for err == nil {
		_, err = conn.Write([]byte("STATUS=full"))
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, syscall.ENOBUFS) {
		t.Fatal(err)
	}
}

//go:build linux

package stop_test

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asPID1 makes the program the init of a PID namespace of its own, as in a container without an
// init.
func asPID1(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
	}
}

// needNamespaces skips the test where the kernel does not let this user create a PID namespace.
func needNamespaces(t *testing.T) {
	t.Helper()
	if os.Getenv(programVariable) != "" {
		return
	}
	cmd := exec.Command("true")
	asPID1(cmd)
	if err := cmd.Run(); err != nil {
		t.Skipf("PID namespaces: run as root, or allow unprivileged user namespaces (%v)", err)
	}
}

func TestPID1_DrainsOnSIGTERMAndExitsWithZero(t *testing.T) {
	t.Parallel()
	needNamespaces(t)
	p := start(t, func() int {
		say("pid %d", os.Getpid())
		return drainer(config(time.Minute))
	}, asPID1)
	p.says("pid 1")
	p.says("working")
	p.signal(syscall.SIGTERM)
	p.says("heard the last call")
	p.tell("finish")
	p.exits(0)
	p.reports("stopped by SIGTERM")
}

func TestPID1_WithAnUnresponsiveGoroutineExitsWith3(t *testing.T) {
	t.Parallel()
	needNamespaces(t)
	p := start(t, func() int { return unresponsiveProgram(4 * time.Second) }, asPID1)
	p.says("working")
	p.signal(syscall.SIGTERM)
	p.exits(3)
	p.reports("abandoned   go unresponsive")
}

func TestPID1_ForcedByAThirdSIGTERMExitsWith143(t *testing.T) {
	t.Parallel()
	needNamespaces(t)
	p := start(t, func() int { return unresponsiveProgram(10 * time.Minute) }, asPID1)
	p.says("working")
	p.signal(syscall.SIGTERM)
	p.logs("phase=drain")
	p.signal(syscall.SIGTERM)
	p.logs("phase=interrupt")
	p.signal(syscall.SIGTERM)
	p.exits(143)
}

// For comparison: the kernel does not kill an init by a default action, so the runtime of a plain
// Go program falls through to its exit code, which was 2 up to Go 1.26. Nothing is drained either
// way.
func TestPlainGo_ProgramAsPID1ExitsByItsRuntime(t *testing.T) {
	t.Parallel()
	needNamespaces(t)
	p := start(t, func() int {
		say("working")
		time.Sleep(patience)
		return 0
	}, asPID1)
	p.says("working")
	p.signal(syscall.SIGTERM)
	code := 143
	if strings.HasPrefix(runtime.Version(), "go1.26") {
		code = 2
	}
	p.exits(code)
}

func TestPlainGo_ProgramThatIsNotPID1ExitsWith143(t *testing.T) {
	t.Parallel()
	p := start(t, func() int {
		say("working")
		time.Sleep(patience)
		return 0
	})
	p.says("working")
	p.signal(syscall.SIGTERM)
	p.exits(143)
}

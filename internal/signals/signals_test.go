package signals

import (
	"strings"
	"syscall"
	"testing"
)

func TestName_IsThatOfKill(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGKILL, syscall.SIGTERM} {
		if name := Name(s); !strings.HasPrefix(name, "SIG") {
			t.Errorf("%v is named %q", s, name)
		}
	}
	if name := Name(syscall.Signal(63)); !strings.Contains(name, "63") {
		t.Errorf("signal 63 is named %q", name)
	}
	if n := Number(syscall.SIGINT); n != 2 {
		t.Errorf("SIGINT is %d", n)
	}
}

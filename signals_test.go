package lastcall

import (
	"context"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestSignals_ThatNobodyCanCatchAreRefusedByName(t *testing.T) {
	plainEnvironment(t)
	for _, c := range []struct {
		signal os.Signal
		want   string
	}{{os.Kill, "SIGKILL"}, {stopSignal, "SIGSTOP"}, {nil, "nil signal"}} {
		if c.signal == nil && c.want == "SIGSTOP" {
			continue // this system does not have the signal
		}
		log := &written{}
		cfg := Config{StopSignals: []os.Signal{syscall.SIGTERM, c.signal}, Logger: log.logger()}
		code := Main(cfg, func(context.Context, *Group) error { t.Error("setup was called"); return nil })
		if code != 1 || len(log.lines("level=ERROR", c.want)) != 1 {
			t.Errorf("%v: code %d, log %q", c.signal, code, log)
		}
	}
}

func TestSignals_AreNamedAsKillNamesThem(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGKILL, syscall.SIGTERM} {
		if name := signalName(s); !strings.HasPrefix(name, "SIG") {
			t.Errorf("%v is named %q", s, name)
		}
	}
	if name := signalName(syscall.Signal(63)); !strings.Contains(name, "63") {
		t.Errorf("signal 63 is named %q", name)
	}
	if n := signalNumber(syscall.SIGINT); n != 2 {
		t.Errorf("SIGINT is %d", n)
	}
}

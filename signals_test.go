package lastcall

import (
	"context"
	"os"
	"syscall"
	"testing"

	"github.com/lastcall-go/lastcall/internal/signals"
)

func TestSignals_ThatNobodyCanCatchAreRefusedByName(t *testing.T) {
	plainEnvironment(t)
	for _, c := range []struct {
		signal os.Signal
		want   string
	}{{os.Kill, "SIGKILL"}, {signals.Stop, "SIGSTOP"}, {nil, "nil signal"}} {
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

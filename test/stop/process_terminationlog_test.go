//go:build unix

package stop_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall"
)

// crowd is a program with many unresponsive goroutines, each with a long name. Its reserve has
// enough time for two hundred lines on a busy machine.
func crowd() int {
	cfg := config(6 * time.Second)
	cfg.Reserve = 5 * time.Second
	return lastcall.Main(cfg, func(_ context.Context, g *lastcall.Group) error {
		for i := range 200 {
			name := fmt.Sprintf("import-%03d-%s", i, strings.Repeat("x", 60))
			if err := g.Go(name, func(context.Context) error { select {} }); err != nil {
				return err
			}
		}
		say("working")
		return nil
	})
}

func TestTerminationLog_HoldsWhatTheKubeletReadsCutBetweenLines(t *testing.T) {
	t.Parallel()
	p := start(t, crowd)
	if err := os.WriteFile(p.logFile, []byte(strings.Repeat("from an earlier run\n", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	p.says("working")
	p.signal(stopSignal)
	p.exits(3)
	report := p.report()
	if len(report) > 4096 || len(report) < 3500 {
		t.Errorf("the termination log has %d bytes, want nearly 4096 of them and no more", len(report))
	}
	if !strings.HasPrefix(report, "stopped by SIGTERM in ") || !strings.HasSuffix(report, "\n... the log has the rest\n") {
		t.Errorf("the termination log begins or ends unlike a report that was cut:\n%s", report)
	}
	lines := strings.Split(strings.TrimSpace(report), "\n")
	if strings.HasPrefix(lines[1], "the process was frozen for about ") { // on a busy machine
		lines = slices.Delete(lines, 1, 2)
	}
	for _, line := range lines[1 : len(lines)-1] {
		if !strings.HasPrefix(line, "abandoned   go import-") || !strings.Contains(line, "process_terminationlog_test.go:") {
			t.Errorf("a line was cut: %q", line)
		}
	}
	// The log has all of them.
	if n := strings.Count(p.log.String(), "msg=abandoned"); n != 200 {
		t.Errorf("the log names %d, want 200", n)
	}
}

func TestTerminationLog_IsNeverCreatedAndNeverAReasonToFail(t *testing.T) {
	t.Parallel()
	dir := directory(t)
	target := filepath.Join(dir, "target")
	link := filepath.Join(dir, "link")
	if dir != "" {
		if err := errors.Join(os.WriteFile(target, nil, 0o600), os.Symlink(target, link)); err != nil {
			t.Fatal(err)
		}
	}
	for name, tc := range map[string]struct {
		path  string
		check func() error
	}{
		"missing": {filepath.Join(dir, "missing"), func() error {
			if _, err := os.Stat(filepath.Join(dir, "missing")); !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("the file was created (%w)", err)
			}
			return nil
		}},
		"directory": {dir, func() error { return nil }},
		"none":      {"-", func() error { return nil }},
		"link": {link, func() error {
			if text, _ := os.ReadFile(target); !strings.HasPrefix(string(text), "stopped in ") {
				return fmt.Errorf("the file behind the link has %q", text)
			}
			return nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, func() int {
				return lastcall.Main(config(time.Minute), func(context.Context, *lastcall.Group) error { return nil })
			}, func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, logVariable+"="+tc.path) })
			p.exits(0)
			if err := tc.check(); err != nil {
				t.Error(err)
			}
		})
	}
}

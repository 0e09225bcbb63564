//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/lastcall-go/lastcall/test/chaos/history"
	"github.com/lastcall-go/lastcall/test/chaos/wire"
)

// programSlot returns a slot in which the real server runs tasks whose handlers are programs.
func (r *run) programSlot(name string) (*slot, error) {
	config := filepath.Join(r.scratch, "lastcall.yaml")
	kind := map[string]any{
		"exec":      []string{r.opt.driver, programCommand},
		"env":       map[string]any{"inherit": []string{"PATH", "HOME", wire.EnvSocket, wire.EnvName, wire.EnvHostile}},
		"killAfter": "2s", "maxCrashes": -1,
		"retry": map[string]any{"maxAttempts": 5, "backoff": "200ms"},
	}
	// JSON is YAML.
	text, err := json.Marshal(map[string]any{"version": 1, "kinds": map[string]any{history.KindProgram: kind}})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(config, text, 0o600); err != nil {
		return nil, err
	}
	s := newSlot(name, func(process string) (*exec.Cmd, error) {
		address, err := r.store.address(name)
		if err != nil {
			return nil, err
		}
		// It ends with the run, not with a context.
		cmd := exec.CommandContext(context.Background(), r.opt.program, "serve", "--config", config, "--store", address,
			"--listen", "127.0.0.1:0", "--grace", grace.String(), "--concurrency", "8", "--log-format", "text")
		cmd.Env = r.environment(process, address)
		return cmd, nil
	})
	s.says = "lastcall serves "
	return s, nil
}

// hears waits until a process that does not talk to the harness has printed the text that reports
// that it is ready.
func (r *run) hears(ctx context.Context, p *process, text string) {
	for p.alive() && wire.Pause(ctx, 20*time.Millisecond) {
		b, err := os.ReadFile(r.logFile(p.name))
		if err != nil {
			r.fail(fmt.Errorf("the log of %s: %w", p.name, err))
			return
		}
		if bytes.Contains(b, []byte(text)) {
			r.hub.ready(p.peer)
			return
		}
	}
}

func (r *run) logFile(process string) string { return filepath.Join(r.dir, "logs", process+".log") }

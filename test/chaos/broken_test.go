//go:build linux

package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/lastcall-go/lastcall/test/chaos/checker"
)

// breakages are the rules that the service can break on purpose, with the run that detects it.
var breakages = []struct{ rule, store, duration, faults string }{
	{"ended", sqlite, "3s", "kill"},
	{"kept", sqlite, "4s", "kill"},
	{"handover", sqlite, "6s", "term"},
	{"invented", sqlite, "3s", "kill"},
	{"keys", sqlite, "4s", "kill"},
	{"paused", sqlite, "12s", "kill-client"},
	{"stale", sqlite, "3s", "kill"},
	{"overlap", sqlite, "10s", "kill-client"},
	{"once", postgres, "3s", "kill"},
	{"order", sqlite, "5s", "kill"},
	{"steps", sqlite, "5s", "kill"},
	{"each", sqlite, "5s", "term"},
	{"ticks", sqlite, "6s", "kill-client"},
	{"expired", sqlite, "4s", "kill"},
	{"all", sqlite, "10s", "kill-client"},
	{"crashes", sqlite, "6s", "term"},
	{"alive", sqlite, "10s", "kill-client"},
	{"counters", sqlite, "3s", "kill"},
	{"residue", sqlite, "3s", "kill"},
	{"grace", sqlite, "3s", "kill"},
	{"growth", sqlite, "30s", "kill-client"},
}

func TestChaos_NamesTheRuleThatTheServiceBreaks(t *testing.T) {
	driver, some := built(t, driverOf), breakages
	if testing.Short() {
		t.Log("make test-full: a run for each rule instead of one")
		some = some[:1]
	}
	for _, b := range some {
		t.Run(b.rule, func(t *testing.T) {
			if testing.Short() {
				t.Parallel()
			}
			dir := t.TempDir()
			code, out := exitCode(t, "-driver", driver, "-dir", dir, "-store", b.store, "-duration", b.duration, "-faults", b.faults,
				"-workers", "3", "-rate", "200", "-break", b.rule)
			var v verdict
			text, err := os.ReadFile(filepath.Join(dir, "verdict.json"))
			if err == nil {
				err = json.Unmarshal(text, &v)
			}
			named := func(x checker.Breach) bool { return x.Rule == b.rule }
			if err != nil || code != codeBroken || !slices.ContainsFunc(v.Breaches, named) {
				t.Errorf("exit code %d, %v, and nothing about it in\n%s", code, err, out)
			}
		})
	}
}

func TestChaos_EveryRuleIsBrokenByTheService(t *testing.T) {
	rules := make(map[string]bool)
	for _, r := range checker.Rules() {
		rules[r.Name] = true
	}
	for _, b := range breakages {
		if !rules[b.rule] {
			t.Errorf("%s is no rule, or has two runs", b.rule)
		}
		delete(rules, b.rule)
	}
	for name := range maps.Keys(rules) {
		t.Errorf("no run breaks %s", name)
	}
}

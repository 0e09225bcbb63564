//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lastcall-go/lastcall/test/chaos/checker"
	"github.com/lastcall-go/lastcall/test/chaos/history"
)

// verdict is the result of a run, and the content of verdict.json.
type verdict struct {
	Seed     uint64
	Store    string
	Duration span
	Breaches []checker.Breach
	Figures  checker.Figures
	Skipped  map[string]string // kinds of faults that could not be made here, and why
}

// judge checks the history, and writes the verdict and the state next to it.
func (r *run) judge(h history.History) (verdict, error) {
	v := verdict{Seed: r.opt.seed, Store: r.opt.store, Duration: span(r.opt.duration), Breaches: checker.Check(h), Figures: checker.Summary(h), Skipped: r.skipped}
	for name, what := range map[string]any{"verdict.json": v, "state.json": h.State} {
		b, err := json.MarshalIndent(what, "", "\t")
		if err == nil {
			err = os.WriteFile(filepath.Join(r.dir, name), b, 0o600)
		}
		if err != nil {
			return v, err
		}
	}
	return v, nil
}

const stories = 3 // of tasks, in a report

// tell prints the report.
func (r *run) tell(h history.History, v verdict) {
	fmt.Fprintf(r.out, "\n%s\n", v.Figures)
	for _, name := range slices.Sorted(maps.Keys(v.Skipped)) {
		fmt.Fprintf(r.out, "not made here: %s: %s\n", name, v.Skipped[name])
	}
	if len(v.Breaches) == 0 {
		fmt.Fprintf(r.out, "seed %d: every rule was kept\n", v.Seed)
		return
	}
	byRule := make(map[string]int)
	var told []int
	for _, b := range v.Breaches {
		byRule[b.Rule]++
		if b.Seq != 0 && byRule[b.Rule] == 1 && len(told) < stories && !slices.Contains(told, b.Seq) {
			told = append(told, b.Seq)
		}
		if byRule[b.Rule] <= 10 {
			fmt.Fprintln(r.out, b)
		}
	}
	for _, seq := range told {
		fmt.Fprintf(r.out, "\n%s", checker.Story(h, seq))
	}
	fmt.Fprintf(r.out, "\nseed %d: broken: %v\nthe history is in %s; once more, ten times, with the same faults:\n  %s\n", v.Seed, byRule, r.dir, r.repeatLine())
}

// repeatLine returns the command that makes the same faults again.
func (r *run) repeatLine() string {
	line := []string{"chaos", "-store", r.opt.store, "-duration", r.opt.duration.String(), "-seed", fmt.Sprint(r.opt.seed),
		"-workers", fmt.Sprint(r.opt.workers), "-clients", fmt.Sprint(r.opt.clients), "-rate", fmt.Sprint(r.opt.rate), "-retention", r.opt.retention.String(),
		"-driver", r.opt.driver, "-schedule", r.scheduleFile(), "-dir", r.dir + "-again", "-again", "10"}
	if r.opt.program != "" {
		line = append(line, "-program", r.opt.program)
	}
	if r.opt.pooler != "" {
		line = append(line, "-pooler", r.opt.pooler)
	}
	if r.opt.schema != "lastcall" {
		line = append(line, "-schema", r.opt.schema)
	}
	if r.opt.clock {
		line = append(line, "-clock")
	}
	if len(r.opt.faults) > 0 {
		line = append(line, "-faults", strings.Join(r.opt.faults, ","))
	}
	return strings.Join(line, " ")
}

package checker

import (
	"maps"
	"slices"

	"github.com/lastcall-go/lastcall/test/chaos/history"
)

// checkCounters checks the rule "counters".
func checkCounters(f *facts, breach breach) {
	counts := make(map[string]int64)
	for _, r := range f.state.Tasks {
		if r.Pruned.IsZero() {
			counts[r.Status]++
		}
	}
	both := maps.Clone(counts)
	maps.Copy(both, f.state.Counts)
	for _, status := range slices.Sorted(maps.Keys(both)) {
		if counted := f.state.Counts[status]; counted != counts[status] {
			breach(0, "the store counts %d tasks as %s, and has %d", counted, status, counts[status])
		}
	}
	for _, t := range f.tasks {
		for _, r := range t.records {
			t.checkCounters(f, r, func(format string, args ...any) { breach(t.seq, format, args...) })
		}
	}
}

// checkCounters compares a task's counters with its runs. A run that was ended by a cancel may
// still count as what it would have been otherwise, and so may the run that used up the last
// interruption.
func (t *task) checkCounters(f *facts, r history.Task, say say) {
	var attempts, interruptions, crashes, unclear, refused int
	for _, run := range r.Runs {
		switch {
		case run.Reason == "released": // no handler was called
		case run.Crashed:
			crashes++
		case run.Status == interrupted:
			interruptions++
		case run.Status == queued && run.Error != "":
			attempts++
			if t.outlived(f, run) {
				refused++
			}
		case run.Status == failed, run.Status == cancelled:
			unclear++
		}
	}
	full := len(r.Runs) >= keptRuns // there may have been more runs
	if r.Crashes < crashes || r.Crashes > crashes && !full {
		say("it counts %d crashes, and its history has %d", r.Crashes, crashes)
	}
	if r.Interruptions < interruptions || r.Interruptions > interruptions+unclear && !full {
		say("it counts %d interruptions, and its history has %d", r.Interruptions, interruptions)
	}
	retried := len(t.may(history.Retry)) > 0 // a retry resets the attempts to zero
	if r.Attempts < attempts && !retried || r.Attempts > attempts+unclear && !full {
		say("it counts %d attempts, and its history has %d", r.Attempts, attempts)
	}
	if attempts > refused && t.plan.Fail == 0 && t.plan.Exit == 0 && !t.plan.InTx {
		say("%d of its runs count as failed attempts, and nothing in its plan fails", attempts-refused)
	}
}

// outlived reports whether a run may have continued after a newer run had begun that the store has
// lost. Its effects are then refused and it fails, although the store knows no reason for that.
func (t *task) outlived(f *facts, run history.Run) bool {
	return slices.ContainsFunc(t.effects, func(e effect) bool { return e.Fence == run.Run && e.Stale }) &&
		slices.ContainsFunc(t.effects, func(e effect) bool { return e.Fence > run.Run && f.lossy(e.at.At) })
}

// checkResidue checks the rule "residue".
func checkResidue(f *facts, breach breach) {
	for _, table := range slices.Sorted(maps.Keys(f.state.Residue)) {
		if n := f.state.Residue[table]; n != 0 {
			breach(0, "%d rows of %s belong to nothing", n, table)
		}
	}
	for _, what := range f.state.Left {
		breach(0, "left at the end: %s", what)
	}
	for _, p := range f.processes {
		for _, what := range p.left {
			breach(0, "%s has left %s", p.name, what)
		}
	}
}

// What may grow: a process by half of its size and a little more, a table by what its tasks need.
const (
	minSamples   = 20 // of a process or a table, before it is judged
	memorySlack  = 32 << 20
	filesSlack   = 42
	tableSlack   = 16 << 20
	bytesPerTask = 16 << 10
	bytesPerLine = 400
	resultFactor = 3
)

// checkGrowth checks the rule "growth". It compares the second quarter of a life with the last one,
// since the first quarter fills caches. The number of descriptors depends on the tasks of a
// process, which may be idle first and busy later. For descriptors the last quarter is therefore
// compared with the maximum of the first half.
func checkGrowth(f *facts, breach breach) {
	for _, p := range f.processes {
		if len(p.samples) < minSamples {
			continue
		}
		rss := func(e *history.Event) int64 { return e.Sample.RSS }
		files := func(e *history.Event) int64 { return int64(e.Sample.Files) }
		if early, late := medians(p.samples, rss); late > early+early/2+memorySlack {
			breach(0, "%s grew from %d to %d MiB", p.name, early>>20, late>>20)
		}
		early, late := most(p.samples[:len(p.samples)/2], files), median(p.samples[len(p.samples)*3/4:], files)
		if late > early+filesSlack {
			breach(0, "%s had %d descriptors and later %d", p.name, early, late)
		}
	}
	if len(f.tables) < minSamples {
		return
	}
	names := make(map[string]bool)
	for _, e := range f.tables {
		for name := range e.Sample.Tables {
			names[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		early, late := medians(f.tables, func(e *history.Event) int64 { return e.Sample.Tables[name] })
		if need := f.need(); late > early+need+tableSlack {
			breach(0, "table %s grew from %d to %d MiB, and the tasks of that time need %d at most", name, early>>20, late>>20, need>>20)
		}
	}
}

// medians returns the medians of the second and of the last quarter.
func medians(samples []*history.Event, value func(*history.Event) int64) (early, late int64) {
	n := len(samples)
	return median(samples[n/4:n/2], value), median(samples[n-n/4:], value)
}

func most(samples []*history.Event, value func(*history.Event) int64) (n int64) {
	for _, s := range samples {
		n = max(n, value(s))
	}
	return n
}

func median(samples []*history.Event, value func(*history.Event) int64) int64 {
	all := make([]int64, len(samples))
	for i, s := range samples {
		all[i] = value(s)
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// need returns an upper bound of the space for the tasks that were enqueued between the two
// quarters.
func (f *facts) need() (bytes int64) {
	from, to := f.tables[len(f.tables)/4].N, f.tables[len(f.tables)-1].N
	for _, t := range f.tasks {
		if len(t.adds) > 0 && t.adds[0].asked.N >= from && t.adds[0].asked.N <= to {
			bytes += int64(bytesPerTask + bytesPerLine*t.plan.Log + resultFactor*t.plan.Result)
		}
	}
	return bytes
}

package pgstore

import "github.com/lastcall-go/lastcall/task"

// applyArrays are the columns of a batch of changes.
type applyArrays struct {
	tasks                              [][16]byte
	runs, delays                       []int64
	workers, statuses, reasons, errors []string
	counterArrays
	checkpoints, results, logs [][]byte
	fractions                  []*float64
	messages                   []*string
	crashed, taken, known      []bool
}

func newApplyArrays(items []item) applyArrays {
	n := len(items)
	a := applyArrays{
		tasks: make([][16]byte, n), runs: make([]int64, n), delays: make([]int64, n),
		workers: make([]string, n), statuses: make([]string, n), reasons: make([]string, n), errors: make([]string, n),
		counterArrays: newCounterArrays(items),
		checkpoints:   make([][]byte, n), results: make([][]byte, n), logs: make([][]byte, n), fractions: make([]*float64, n), messages: make([]*string, n),
		crashed: make([]bool, n), taken: make([]bool, n), known: make([]bool, n),
	}
	for i, it := range items {
		a.tasks[i], a.runs[i], a.delays[i] = it.key, it.Run, it.Delay.Microseconds()
		a.workers[i], a.statuses[i], a.reasons[i], a.errors[i] = it.Worker, string(it.Status), string(it.Reason), it.Error
		a.checkpoints[i] = it.Checkpoint // a nil one is a null, which leaves what is there
		a.results[i] = it.Result
		if len(it.Log) > 0 {
			a.logs[i] = it.Log[max(0, len(it.Log)-task.MaxLog):]
		}
		if p := it.Progress; p != nil {
			a.fractions[i], a.messages[i] = &p.Fraction, &p.Message
		}
		a.crashed[i], a.taken[i], a.known[i] = it.Crashed, it.Taken, it.known
	}
	return a
}

// counterArrays are the columns of the counters.
type counterArrays struct {
	attempts, interruptions, crashes, crashStreaks, interruptStreaks []int32
}

func newCounterArrays(items []item) counterArrays {
	n := len(items)
	all := make([]int32, 5*n)
	c := counterArrays{attempts: all[:n], interruptions: all[n : 2*n], crashes: all[2*n : 3*n], crashStreaks: all[3*n : 4*n], interruptStreaks: all[4*n:]}
	for i, it := range items {
		c.attempts[i], c.interruptions[i], c.crashes[i] = small(it.Counters.Attempts), small(it.Counters.Interruptions), small(it.Counters.Crashes)
		c.crashStreaks[i], c.interruptStreaks[i] = small(it.Counters.CrashStreak), small(it.Counters.InterruptStreak)
	}
	return c
}

// applyArgs are the arguments of applySQL.
func applyArgs(of sort, items []item) []any {
	switch of {
	case plainSuccess:
		return plainArgs(items)
	}
	a := newApplyArrays(items)
	if of == within {
		return []any{a.tasks, a.runs, a.workers, a.attempts, a.interruptions, a.crashes, a.crashStreaks, a.interruptStreaks,
			a.checkpoints, a.fractions, a.messages, a.logs, a.known}
	}
	return []any{a.tasks, a.runs, a.workers, a.statuses, a.reasons, a.errors, a.delays,
		a.attempts, a.interruptions, a.crashes, a.crashStreaks, a.interruptStreaks,
		a.checkpoints, a.fractions, a.messages, a.crashed, a.taken, a.results, a.logs, a.known}
}

// plainArgs are those of the short statement, for the runs of one worker.
func plainArgs(items []item) []any {
	tasks, runs := make([][16]byte, len(items)), make([]int64, len(items))
	for i, it := range items {
		tasks[i], runs[i] = it.key, it.Run
	}
	return []any{tasks, runs, items[0].Worker}
}

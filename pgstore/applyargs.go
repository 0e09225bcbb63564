package pgstore

import "github.com/lastcall-go/lastcall/task"

// applyArrays are the columns of a batch of changes.
type applyArrays struct {
	tasks                              [][16]byte
	runs, delays                       []int64
	workers, statuses, reasons, errors []string
	attempts, interruptions, crashes   []int32
	crashStreaks, interruptStreaks     []int32
	checkpoints, results, logs         [][]byte
	fractions                          []*float64
	messages                           []*string
	crashed, taken                     []bool
}

func newApplyArrays(items []item) applyArrays {
	n := len(items)
	a := applyArrays{
		tasks: make([][16]byte, n), runs: make([]int64, n), delays: make([]int64, n),
		workers: make([]string, n), statuses: make([]string, n), reasons: make([]string, n), errors: make([]string, n),
		attempts: make([]int32, n), interruptions: make([]int32, n), crashes: make([]int32, n),
		crashStreaks: make([]int32, n), interruptStreaks: make([]int32, n),
		checkpoints: make([][]byte, n), results: make([][]byte, n), logs: make([][]byte, n), fractions: make([]*float64, n), messages: make([]*string, n),
		crashed: make([]bool, n), taken: make([]bool, n),
	}
	for i, it := range items {
		a.tasks[i], a.runs[i], a.delays[i] = it.key, it.Run, it.Delay.Microseconds()
		a.workers[i], a.statuses[i], a.reasons[i], a.errors[i] = it.Worker, string(it.Status), string(it.Reason), it.Error
		a.attempts[i], a.interruptions[i] = small(it.Counters.Attempts), small(it.Counters.Interruptions)
		a.crashes[i] = small(it.Counters.Crashes)
		a.crashStreaks[i], a.interruptStreaks[i] = small(it.Counters.CrashStreak), small(it.Counters.InterruptStreak)
		a.checkpoints[i] = it.Checkpoint // a nil one is a null, which leaves what is there
		a.results[i] = it.Result
		if len(it.Log) > 0 {
			a.logs[i] = it.Log[max(0, len(it.Log)-task.MaxLog):]
		}
		if p := it.Progress; p != nil {
			a.fractions[i], a.messages[i] = &p.Fraction, &p.Message
		}
		a.crashed[i], a.taken[i] = it.Crashed, it.Taken
	}
	return a
}

// applyArgs are the arguments of applySQL.
func applyArgs(items []item) []any {
	if isPlain(items[0].Change) {
		tasks, runs := make([][16]byte, len(items)), make([]int64, len(items))
		for i, it := range items {
			tasks[i], runs[i] = it.key, it.Run
		}
		return []any{tasks, runs, items[0].Worker}
	}
	a := newApplyArrays(items)
	if items[0].Status == task.Running {
		return []any{a.tasks, a.runs, a.workers, a.attempts, a.interruptions, a.crashes, a.crashStreaks, a.interruptStreaks,
			a.checkpoints, a.fractions, a.messages, a.logs}
	}
	return []any{a.tasks, a.runs, a.workers, a.statuses, a.reasons, a.errors, a.delays,
		a.attempts, a.interruptions, a.crashes, a.crashStreaks, a.interruptStreaks,
		a.checkpoints, a.fractions, a.messages, a.crashed, a.taken, a.results, a.logs}
}
